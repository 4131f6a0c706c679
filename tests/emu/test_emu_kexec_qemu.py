"""Real kernels really kexec in QEMU; replayed from what was there before, everything is as QEMU has it after."""

from pathlib import Path

import kexec_guest
import numpy as np
import pytest
import qemu
from kernels import image_or_skip

from asm.kernel_image import import_kernel
from emu.ram_files import RamFile
from emu.ram_guest import RamFiles, RamGuest
from emu.register_files import read_registers
from emu.scenario import Boot
from traces.check import check

pytestmark = [*qemu.needs_qemu, pytest.mark.kernel, pytest.mark.slow]

A72 = "cortex-a72"
# FEAT_LPA2 is neither modelled nor survived by 5.10; QEMU's own pointer authentication is quicker than Arm's.
MAX = "max,lpa2=off,pauth-impdef=on"

NOT_REPLAYED = {"MDSCR_EL1", "MDCR_EL2", "VPIDR_EL2", "CTR_EL0", "REVIDR_EL1", "CSSELR_EL1"}
"""Of debuggers and guests, left as Unicorn has them; and what identifies the PE, which only the guest is told."""
OF_MAX = 1 << 24
"""PSTATE.DIT, which Unicorn's PEs do not have."""


@pytest.mark.parametrize(
    ("kernel", "boot", "cpu", "copies_at", "mmu_on"),
    [
        ("5.10", Boot.EL1, A72, 1, False),
        ("5.10", Boot.NVHE, "cortex-a57", 2, False),
        ("5.10", Boot.VHE, MAX, 2, False),
        ("6.12", Boot.EL1, A72, 1, True),
        ("6.12", Boot.NVHE, A72, 1, True),
        ("6.12", Boot.VHE, MAX, 2, True),
        ("6.12-16k", Boot.VHE, MAX, 2, True),
        ("6.1", Boot.NVHE, "cortex-a53", 1, True),
    ],
)
def test_a_real_kexec_replayed_ends_as_it_did(kernel, boot, cpu, copies_at, mmu_on, tmp_path):
    image = image_or_skip(kernel)
    core = tmp_path / "core"
    real = kexec_guest.kexec(image, tmp_path, cpu=cpu, at_el2=boot is not Boot.EL1, elf=core)
    guest = RamGuest(files(tmp_path, real.registers, RamFile(real.before, kexec_guest.RAM)))
    assert guest.boot is boot
    assert guest.routine.code == import_kernel(image).relocate.code
    found = guest.run()
    assert (found.outcome, found.fault, found.image_ok) == ("completed", None, True)
    assert check(found.trace) == []
    copy = found.trace.epochs[found.copy.epoch]
    assert (copy["el"], copy["stage1"], copy["dcache"]) == (copies_at, mmu_on, mmu_on)
    assert found.copy.stored_bytes == found.image_bytes > 16 << 20
    assert_same_memory(guest, real.after)
    assert_same_registers(guest, tmp_path, real.end)
    again = RamGuest(files(tmp_path, real.registers, RamFile(core)))
    assert np.array_equal(again.run().trace.executions, found.trace.executions)
    assert_same_memory(again, real.after)
    (tmp_path / "monitor").write_text(real.monitor)
    given = read_registers(tmp_path / "registers")
    assert {name: given[name] for name in read_registers(tmp_path / "monitor")} == read_registers(tmp_path / "monitor")


def files(folder: Path, registers: str, ram: RamFile) -> RamFiles:
    (folder / "registers").write_text(registers)
    return RamFiles(ram=(ram,), registers=folder / "registers")


def assert_same_memory(guest: RamGuest, after: Path) -> None:
    """Every byte of RAM: no device of that machine writes to it."""
    [region] = guest.memory.regions
    differing = np.flatnonzero(region.data != np.memmap(after, np.uint8, "r"))
    assert [hex(region.pa + int(at)) for at in differing[:8]] == []


def assert_same_registers(guest: RamGuest, folder: Path, text: str) -> None:
    """Every register that both have: also those that nothing has touched."""
    (folder / "end").write_text(text)
    expected = read_registers(folder / "end")
    cpu = guest.machine.cpu
    ours = {f"X{number}": cpu.x[number] for number in range(31)} | {"PC": cpu.pc, "PSTATE": cpu.pstate}
    ours |= {name: cpu.sysreg[name] for name in cpu.sysreg}
    expected = {name: value for name, value in expected.items() if name in ours and not name.startswith("ID_")}
    expected["PSTATE"] &= ~OF_MAX
    assert len(expected) > 55
    wrong = {n: (hex(ours[n]), hex(v)) for n, v in expected.items() if ours[n] != v and n not in NOT_REPLAYED}
    assert wrong == {}
