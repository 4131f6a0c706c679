"""What a Linux program that Qiling emulates would cost on a core: python in_qiling.py ROOTFS PROGRAM [CORE].

Needs `pip install 'relocscope[qiling]'`. ROOTFS is a directory that the program sees as /; an empty one does for a
static program.
"""

import sys

from qiling import Qiling
from qiling.const import QL_VERBOSE

import relocscope

rootfs, program, *rest = sys.argv[1:]
machine = Qiling([program], rootfs, verbose=QL_VERBOSE.OFF)
# A program without its kernel: nobody has mapped memory for it, and all of it is Normal Write-Back.
with relocscope.attach(machine.uc, core=rest[0] if rest else "rpi4", untranslated="Normal-WB") as model:
    machine.run()
outcome = model.outcome()
sys.stdout.write(f"{outcome.instructions:,} instructions, {outcome.cycles:,} cycles, {outcome.seconds * 1e6:.2f} us\n")
for cause, cycles in sorted(outcome.cycle_stack.items(), key=lambda each: -each[1]):
    if cycles:
        sys.stdout.write(f"  {cause:16} {cycles:,}\n")
