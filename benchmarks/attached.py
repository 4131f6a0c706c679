"""`make bench-attach`: what attaching the model costs an engine while it runs, as a ratio to the same run without."""

import argparse
import sys
import time

from unicorn import UC_ARCH_ARM64, UC_MODE_ARM, Uc, arm64_const

from asm.assemble import assemble
from traces.sizes import parse_size

CODE, SOURCE, DESTINATION = 0x1_0000, 0x1000_0000, 0x4000_0000
PROGRAMS = {
    "copy": """
        again:
            ldp x4, x5, [x0], #16
            ldp x6, x7, [x0], #16
            ldp x8, x9, [x0], #16
            ldp x10, x11, [x0], #16
            stp x4, x5, [x1], #16
            stp x6, x7, [x1], #16
            stp x8, x9, [x1], #16
            stp x10, x11, [x1], #16
            subs x3, x3, #64
            b.ne again
    """,
    "pointer chase": """
            mov x2, x0
        again:
            ldr x2, [x2]
            ldr x4, [x2, #8]
            subs x3, x3, #64
            b.ne again
    """,
}
"""A copy, whose addresses are known where a block begins, and loads that give the next one its address."""


def seconds(program: str, size: int, *, attached: bool) -> float:
    """Run the program over so many bytes; processor time of `emu_start`."""
    from emu.attached import Attachment

    code = assemble(PROGRAMS[program], name=program, va=CODE).code
    uc = Uc(UC_ARCH_ARM64, UC_MODE_ARM)
    uc.mem_map(CODE, 0x1000)
    uc.mem_write(CODE, code)
    for base in (SOURCE, DESTINATION):
        uc.mem_map(base, -(-size // (1 << 20)) << 20)
    uc.mem_write(SOURCE, SOURCE.to_bytes(8, "little"))
    for register, value in (("X0", SOURCE), ("X1", DESTINATION), ("X3", size)):
        uc.reg_write(getattr(arm64_const, f"UC_ARM64_REG_{register}"), value)
    if attached:
        Attachment(uc)
    started = time.process_time()
    uc.emu_start(CODE, CODE + len(code))
    return time.process_time() - started


def main() -> int:
    """Print the ratios, the best of some rounds taken in turn."""
    parser = argparse.ArgumentParser(prog="benchmarks.attached")
    parser.add_argument("--size", default="200MiB")
    size = parse_size(parser.parse_args().size, "--size")
    for program in PROGRAMS:
        seconds(program, 1 << 16, attached=True)
        rounds = [[seconds(program, size, attached=attached) for attached in (False, True)] for _ in range(5)]
        bare, attached = (min(column) for column in zip(*rounds, strict=True))
        sys.stdout.write(f"{program}: attached {attached / bare:.2f} times as long as without\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
