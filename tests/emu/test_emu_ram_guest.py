"""A machine that comes from a dump does what the machine does that the dump is of."""

from dataclasses import replace
from pathlib import Path

import dumped
import numpy as np
import pytest
from old_kernels import scenario

from emu.layout import default_layout
from emu.ram_files import RamFile
from emu.ram_guest import RamFiles, RamGuest
from emu.scenario import Boot, prepare
from emu.spans import Span
from traces.check import check
from traces.errors import InputError
from traces.schema import Role

RAM = Span(0x8000_0000, 96 << 20)
SAME = ("executions", "values", "blocks", "insns", "epochs", "marks", "exceptions", "translations", "walk_reads")


def small(case: str, **changes: object):
    """Make a scenario in 96 MiB that begins at the routine, as dumps do."""
    page = int(changes.get("granule_bytes", 4096))
    layout = default_layout(64 * page, ram=RAM, page_bytes=page)
    where = {"memory_map": layout.memory_map, "segments": layout.segments, "start": layout.start}
    return scenario(case, 64, **where, soft_restart=None, **changes)


def on_disk(guest, folder, edit=lambda text: text, **files: object) -> RamFiles:
    path, _, base = dumped.raw(guest.memory, folder / "ram").rpartition("@")
    registers = dumped.registers(guest, folder / "registers")
    registers.write_text(edit(registers.read_text()))
    return RamFiles(ram=(RamFile(Path(path), int(base, 16)),), registers=registers, **files)


@pytest.mark.parametrize("boot", Boot)
@pytest.mark.parametrize("era", ["v4.19", "v5.12", "v5.17"])
def test_a_dump_runs_as_the_machine_that_it_is_of(era, boot, tmp_path):
    original = prepare(small(f"{era}-{boot}"))
    guest = RamGuest(on_disk(original, tmp_path))
    assert (guest.boot, guest.entry_pa) == (boot, original.scenario.entry_pa)
    found, expected = guest.run(), original.run()
    assert check(found.trace) == []
    assert (found.outcome, found.entry, found.image_ok) == ("completed", expected.entry, True)
    assert (found.image_bytes, found.pages) == (expected.image_bytes, expected.pages)
    assert found.trace.meta["routine"]["sha256"] == expected.trace.meta["routine"]["sha256"]
    for name in SAME:
        assert np.array_equal(getattr(found.trace, name), getattr(expected.trace, name)), name
    [after], [wanted] = guest.memory.regions, original.memory.regions
    assert np.array_equal(after.data, wanted.data)


@pytest.mark.parametrize("case", ["v4.19-vhe", "v5.17-nvhe"])
@pytest.mark.parametrize("granule_bytes", [16384, 65536])
def test_other_granules(case, granule_bytes, tmp_path):
    guest = RamGuest(on_disk(prepare(small(case, granule_bytes=granule_bytes)), tmp_path))
    assert guest.page_bytes == granule_bytes
    found = guest.run()
    assert (found.outcome, found.image_ok) == ("completed", True)


@pytest.mark.parametrize("case", ["v4.19-nvhe", "v5.17-el1", "v5.17-vhe"])
def test_what_lies_where_is_found_in_memory(case, tmp_path):
    original = prepare(small(case))
    found = RamGuest(on_disk(original, tmp_path)).run().trace
    for role in (Role.SOURCE, Role.DESTINATION, Role.LIST, Role.CODE):
        assert bytes_of(found.ranges, role) == bytes_of(original.ranges, role), role
    tables = bytes_of(found.ranges, Role.TABLE)
    if case == "v4.19-nvhe":
        assert not tables  # at EL2, which translates nothing
    else:
        assert tables == bytes_of(original.ranges, Role.TABLE)
        assert len(tables) > 4
        assert bytes_of(found.ranges, Role.ZERO_PAGE) == bytes_of(original.ranges, Role.ZERO_PAGE) != set()
        assert bytes_of(found.ranges, Role.KIMAGE) == bytes_of(original.ranges, Role.KIMAGE) != set()


def bytes_of(ranges, role) -> set[int]:
    """Every page that a role touches."""
    rows = ranges[ranges["role"] == role]
    return {pa >> 12 for row in rows for pa in range(int(row["pa"]) & ~0xFFF, int(row["pa"] + row["size"]), 4096)}


def test_the_files_are_left_as_they_are_and_a_wrong_copy_is_seen(tmp_path):
    files = on_disk(prepare(small("v5.17-el1")), tmp_path)
    before = files.ram[0].path.read_bytes()
    guest = RamGuest(files)
    run = guest.machine.run

    def and_one_bit_flips(**options):
        result = run(**options)
        last = int(guest.kimage.destinations[-1]) + 4088
        guest.memory.write_u64(last, guest.memory.read_u64(last) ^ 1)
        return result

    guest.machine.run = and_one_bit_flips
    assert not guest.run().image_ok
    assert files.ram[0].path.read_bytes() == before


def test_forced_bits_and_a_budget(tmp_path):
    files = on_disk(prepare(small("v5.17-el1")), tmp_path)
    found = RamGuest(files, forced_ci=(0, None)).run()
    copy = found.trace.epochs[found.copy.epoch]
    assert (copy["dcache"], copy["icache"], found.image_ok) == (0, 1, True)
    assert RamGuest(files, budget=5000).run().outcome == "budget"


def line(name: str, value: int | None):
    """Return an edit that changes or removes one register."""

    def edit(text: str) -> str:
        kept = [row for row in text.splitlines() if row.split()[0] != name]
        return "\n".join([*kept, *([] if value is None else [f"{name} {value:#x}"])])

    return edit


@pytest.mark.parametrize(
    ("case", "edit", "complaint"),
    [
        ("v5.17-el1", line("pc", None), "PC: missing"),
        ("v5.17-el1", line("cpsr", None), "PSTATE: missing"),
        ("v5.17-el1", line("cpsr", 0x3CD), "PSTATE: 0x3cd must be of AArch64 at EL1 or EL2"),
        ("v5.17-el1", line("cpsr", 0x1D3), "PSTATE: 0x1d3 must be of AArch64"),
        ("v5.17-el1", line("x0", None), "X0: missing; struct kimage is at it"),
        (
            "v5.17-el1",
            line("x0", 0xFFFF_F000_0000_0000),
            "X0: kimage's head at 0xfffff00000000000 is not in the memory",
        ),
        ("v5.17-el1", line("SCTLR_EL1", None), "SCTLR_EL1: missing; the PE is at EL1"),
        ("v5.17-el1", line("MAIR_EL1", None), "MAIR_EL1: missing; the MMU is on"),
        ("v5.17-el1", line("TTBR1_EL1", None), "TTBR1_EL1: missing"),
        ("v5.17-el1", line("TTBR0_EL1", 0x1000), "PC: 0x85ffb000 cannot be fetched from"),
        ("v5.17-el1", line("TCR_EL1", 1 << 59 | 0x34B5503510), "has DS set: 52-bit addresses"),
        ("v5.17-nvhe", line("VBAR_EL2", None), "VBAR_EL2: missing; the routine leaves by hvc"),
        ("v5.17-vhe", line("HCR_EL2", None), "HCR_EL2: missing"),
        ("v4.19-nvhe", line("pc", 0x7000_0000), "PC: 0x70000000 is at 0x70000000, outside the memory given"),
        ("v4.19-nvhe", line("pc", 0x8000_0000), "no arm64 relocation routine in the page of PC"),
        ("v4.19-nvhe", line("x2", None), "X2: missing; kimage's dtb is in it"),
        (
            "v4.19-nvhe",
            line("x1", 0x7000_0000),
            "kimage's start 0x70000000 must be a multiple of 4 in the memory given",
        ),
        ("v4.19-nvhe", line("x1", 0x8000_0002), "kimage's start 0x80000002 must be a multiple of 4"),
        ("v4.19-nvhe", line("x0", 0x7000_0002), "kimage list: head is 0x70000002: a list page outside RAM"),
    ],
)
def test_what_is_missing_or_wrong_is_named(case, edit, complaint, tmp_path):
    files = on_disk(prepare(small(case)), tmp_path, edit)
    with pytest.raises(InputError) as refused:
        RamGuest(files)
    assert complaint in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_dump_taken_too_late_says_where_it_should_have_been_taken(tmp_path):
    original = prepare(small("v4.19-el1"))
    entry = original.handover.pc
    files = on_disk(original, tmp_path, line("pc", entry + 8))
    with pytest.raises(InputError, match=rf"PC is at {entry + 8:#x}; the relocation routine .* begins at {entry:#x}"):
        RamGuest(files)


@pytest.mark.parametrize(
    ("case", "asked", "complaint"),
    [("v5.17-vhe", Boot.NVHE, "booted vhe"), ("v4.19-el1", Boot.VHE, "booted el1"), ("v4.19-nvhe", Boot.EL1, "nvhe")],
)
def test_a_boot_path_that_the_registers_contradict(case, asked, complaint, tmp_path):
    files = on_disk(prepare(small(case)), tmp_path, boot=asked)
    with pytest.raises(InputError, match=rf"--boot: {asked.value} contradicts .*{complaint}"):
        RamGuest(files)


def test_a_kernel_with_a_stub_may_stay_at_el1(tmp_path):
    files = on_disk(prepare(small("v4.19-el1")), tmp_path)
    assert RamGuest(replace(files, boot=Boot.NVHE)).boot is Boot.NVHE
