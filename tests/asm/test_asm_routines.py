"""Our routines: what is in them, and that each does its work on a bare core."""

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from bare import (
    CODE,
    DESTINATION,
    DONE,
    ELR_EL2,
    HVC,
    INDIRECTION,
    MAIR_EL1,
    MAIR_EL2,
    RAM,
    SCTLR_EL1,
    SCTLR_EL2,
    SOURCE,
    SPSR_EL2,
    TCR_EL1,
    TCR_EL2,
    TTBR0_EL2,
    VBAR_EL2,
    Bare,
)

from asm.decode import Insn, decode
from asm.routines import LARGEST_BYTES, Protocol, Routine, routine, routine_names
from traces.errors import InputError
from traces.schema import Access, InsnClass, InsnFlag, Maintenance

RELOCATE = [name for name in routine_names() if name.startswith("relocate-")]
WALKS_A_LIST = [name for name in RELOCATE if name != "relocate-v11"]
SLOT_BYTES = 128
GNU_AS = "aarch64-linux-gnu-as"


def insns(own: Routine, start: str | None = None, end: str | None = None) -> list[Insn]:
    first = own.symbols[start] if start else 0
    last = own.symbols[end] if end else len(own.code)
    return decode(own.code[first:last], first)


@pytest.mark.parametrize("name", routine_names())
def test_every_routine_fits_its_page_and_says_what_it_is(name: str) -> None:
    own = routine(name)
    # A purgatory is a segment; everything else is copied to one control page, or fits the kernel's own text.
    assert 0 < len(own.code) <= (2 * LARGEST_BYTES if name.startswith("purgatory") else LARGEST_BYTES)
    assert len(own.code) % 4 == 0
    assert own.source == ("own: purgatory.S, WITH_DCACHE = 1" if name == "purgatory-dcache" else f"own: {name}.S")
    for word in ("Entry:", "Exit:", "Differs:", "Linux" if "rfc" not in name else "RFC"):
        assert word in own.text.split("\n\n")[0]
    assert len(own.sha256) == 64
    assert (own.protocol is not None) == name.startswith("relocate-")


@pytest.mark.parametrize("name", routine_names())
def test_gnu_as_makes_the_same_bytes(name: str, tmp_path: Path) -> None:
    if shutil.which(GNU_AS) is None:
        pytest.skip(f"{GNU_AS} is not installed")
    made, flat = tmp_path / "routine.o", tmp_path / "routine.bin"
    subprocess.run([GNU_AS, "-o", made, "-"], input=routine(name).text, text=True, check=True)
    subprocess.run([GNU_AS.replace("-as", "-objcopy"), "-O", "binary", "-j", ".text", made, flat], check=True)
    assert flat.read_bytes() == routine(name).code


def test_unknown_names_are_refused_in_one_line() -> None:
    with pytest.raises(InputError, match=r"routine 'relocate-v9': must be one of relocate-v4\.19, ") as caught:
        routine("relocate-v9")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", RELOCATE)
def test_the_copy_loop_moves_64_bytes_in_12_instructions(name: str) -> None:
    own = routine(name)
    loop = insns(own, "copy_line")[:12]
    assert loop[-1].cls is InsnClass.BRANCH_CONDITIONAL
    assert loop[-1].target == own.symbols["copy_line"]
    loads = [insn for insn in loop if insn.access is Access.LOAD]
    stores = [insn for insn in loop if insn.access is Access.STORE]
    assert [insn.memory.offset for insn in loads if insn.memory] == [0, 16, 32, 48]
    assert [insn.memory.offset for insn in stores if insn.memory] == [0, 16, 32, 48]
    assert all(insn.size == 16 and InsnFlag.PAIR in insn.flags for insn in loads + stores)
    assert all(InsnFlag.NON_TEMPORAL in insn.flags for insn in stores)
    assert not any(InsnFlag.NON_TEMPORAL in insn.flags for insn in loads)
    assert not any(insn.access is Access.PREFETCH for insn in insns(own))


@pytest.mark.parametrize("name", WALKS_A_LIST)
def test_the_list_walk_is_what_tells_these_routines_apart_from_other_code(name: str) -> None:
    own = routine(name)
    load, test = insns(own, "next_entry", "done")
    assert load.memory is not None
    assert (load.size, load.memory.offset, load.memory.writeback) == (8, 0, 8)
    assert test.cls is InsnClass.BRANCH_CONDITIONAL
    assert test.target == own.symbols["each_entry"] < test.va
    if name != "relocate-rfc-v2":
        assert (load.dst, load.memory.base) == ((14, 16), 14)


MAINTENANCE = {
    "relocate-v4.19": [Maintenance.DC_IVAC],
    "relocate-v5.12": [Maintenance.DC_IVAC],
    "relocate-rfc-v1": [Maintenance.DC_IVAC],
    "relocate-rfc-v2": [Maintenance.DC_CISW, Maintenance.DC_CISW],
    "relocate-v11": [Maintenance.DC_CVAU],
    "relocate-v12": [Maintenance.DC_IVAC],
    "relocate-v15": [Maintenance.DC_CIVAC],
    "relocate-v5.16": [Maintenance.DC_CIVAC],
    "relocate-v5.17": [Maintenance.DC_CIVAC],
}


@pytest.mark.parametrize("name", RELOCATE)
def test_maintenance_is_that_of_the_version(name: str) -> None:
    kinds = [insn.maintenance for insn in insns(routine(name)) if insn.maintenance]
    assert [kind for kind in kinds if kind.name.startswith("DC")] == MAINTENANCE[name]
    assert (Maintenance.TLBI_ALLE2 in kinds) == (name == "relocate-rfc-v2")
    assert Maintenance.IC_IALLU in kinds


def sctlr_writes(name: str) -> list[tuple[str, int]]:
    """Return (level, offset) of the writes of SCTLR."""
    levels = {(3, 0, 1, 0, 0): "el1", (3, 4, 1, 0, 0): "el2"}
    found = [(levels.get(insn.sysreg or (0,) * 5), insn.va, insn.cls) for insn in insns(routine(name))]
    return [(level, va) for level, va, cls in found if level and cls is InsnClass.SYSTEM_WRITE]


def test_where_translation_is_turned_off_is_what_the_versions_differ_in() -> None:
    loop = {name: routine(name).symbols["copy_line"] for name in RELOCATE}
    assert [(el, at < loop["relocate-v4.19"]) for el, at in sctlr_writes("relocate-v4.19")] == [("el2", True)]
    assert sctlr_writes("relocate-v5.12") == []
    assert [(el, at > loop["relocate-rfc-v1"]) for el, at in sctlr_writes("relocate-rfc-v1")] == [
        ("el1", True),
        ("el2", True),
    ]
    assert [el for el, at in sctlr_writes("relocate-rfc-v2")] == ["el1", "el2", "el2", "el1", "el1", "el2"]
    for name in ("relocate-v12", "relocate-v15", "relocate-v5.16", "relocate-v5.17"):
        assert [(el, at > loop[name]) for el, at in sctlr_writes(name)] == [("el1", True)]
    assert [(el, at < loop["relocate-v11"]) for el, at in sctlr_writes("relocate-v11")] == [
        ("el2", True),
        ("el1", True),
        ("el1", False),
    ]
    assert [el for el, _ in sctlr_writes("soft-restart-v4.19")] == ["el1"]
    assert sctlr_writes("soft-restart-rfc-v1") == []
    assert [el for el, _ in sctlr_writes("soft-restart-v5.17")] == ["el1"]


@pytest.mark.parametrize("name", ["hyp-stub-v4.19", "hyp-stub-v5.17", "kexec-vectors-v11", "kexec-vectors-v5.17"])
def test_every_slot_but_one_waits_for_ever(name: str) -> None:
    own = routine(name)
    for slot in range(16):
        [first] = decode(own.code[slot * SLOT_BYTES :][:4], slot * SLOT_BYTES)
        if slot == 8:
            assert first.target != first.va
        else:
            assert first.cls is InsnClass.BRANCH
            assert first.target == first.va


def test_the_copied_vectors_never_branch_out_of_themselves() -> None:
    own = routine("kexec-vectors-v5.17")
    assert len(own.code) == 0x800
    assert all(insn.target is None or 0 <= insn.target < 0x800 for insn in insns(own))


# ---- On a bare core -------------------------------------------------------------------------------

LIST = RAM + 0x10_0000
SOURCES = RAM + 0x20_0000
TARGET = RAM + 0x80_0000
START = RAM + 0x3000
DTB = 0x4123_0000
KIMAGE = RAM + 0x5000
ARGUMENT = RAM + 0x6000
TABLE = RAM + 0x7000
PAGE = 4096
PAGES = 5


def lay_list(bare: Bare) -> bytes:
    """Put PAGES scattered sources and two list pages in memory; return what the destination should hold."""
    rng = random.Random(7)
    sources = [SOURCES + 2 * PAGE * rng.randrange(40) for _ in range(PAGES)]
    expected = b""
    entries = [TARGET | DESTINATION]
    for number, source in enumerate(sources):
        content = os.urandom(PAGE)
        bare.uc.mem_write(source, content)
        if number == 2:
            entries += [(LIST + PAGE) | INDIRECTION]
        entries += [source | SOURCE]
    bare.write(LIST, *entries[:4])
    bare.write(LIST + PAGE, *entries[4:], DONE)
    for source in sources:
        expected += bytes(bare.uc.mem_read(source, PAGE))
    return expected


def copied(bare: Bare) -> bytes:
    return bytes(bare.uc.mem_read(TARGET, PAGES * PAGE))


@pytest.mark.parametrize("el", [1, 2])
@pytest.mark.parametrize("name", ["relocate-v4.19", "relocate-v5.12", "relocate-rfc-v1"])
def test_routines_that_are_entered_untranslated_copy_the_list(name: str, el: int) -> None:
    own = routine(name)
    bare = Bare(own.code, el)
    expected = lay_list(bare)
    assert bare.run(CODE, START, LIST | INDIRECTION, START, DTB) == START
    assert copied(bare) == expected
    assert [bare.x(number) for number in range(4)] == [DTB, 0, 0, 0]
    assert bare.exceptions == []


@pytest.mark.parametrize("name", ["relocate-v4.19", "relocate-v5.12", "relocate-rfc-v1"])
def test_a_list_that_is_done_copies_nothing(name: str) -> None:
    bare = Bare(routine(name).code, 1)
    lay_list(bare)
    assert bare.run(CODE, START, DONE, START, DTB) == START
    assert copied(bare) == bytes(PAGES * PAGE)


def kimage_bare(vectors: int, name: str) -> Bare:
    own = routine(name)
    bare = Bare(own.code, 1)
    offsets = own.kimage_offsets
    for field, value in {"head": LIST | INDIRECTION, "start": START, "dtb": DTB, "el2_vectors": vectors}.items():
        bare.write(KIMAGE + offsets[field], value)
    return bare


@pytest.mark.parametrize("vectors", [0, 0x4000_2000])
@pytest.mark.parametrize("name", ["relocate-v12", "relocate-v15", "relocate-v5.16", "relocate-v5.17"])
def test_the_merged_routine_copies_the_list_and_leaves_by_the_vectors(name: str, vectors: int) -> None:
    """Run with phys_offset 0 and translation off, where its virtual addresses are the physical ones."""
    bare = kimage_bare(vectors, name)
    bare.set(SCTLR_EL1, 0x30D0_190E)
    expected = lay_list(bare)
    end = bare.run(CODE, START, KIMAGE)
    assert copied(bare) == expected
    assert bare.get(SCTLR_EL1) == (0x30D0_0900 if name == "relocate-v12" else 0x30500800)
    if vectors:
        assert bare.exceptions == [HVC]
        assert [bare.x(number) for number in range(5)] == [1, START, DTB, 0, 0]
    else:
        assert end == START
        assert [bare.x(number) for number in range(4)] == [DTB, 0, 0, 0]


@pytest.mark.parametrize("el", [1, 2])
def test_rfc_v2_turns_translation_on_where_it_runs_and_off_again(el: int) -> None:
    own = routine("relocate-rfc-v2")
    bare = Bare(own.code, el)
    expected = lay_list(bare)
    offsets = own.kimage_offsets
    argument = {
        "head": LIST | INDIRECTION,
        "entry": START,
        "arg0": DTB,
        "arg1": 1,
        "arg2": 2,
        "arg3": 3,
        "ttbr0": TABLE,
    }
    for field, value in argument.items():
        bare.write(ARGUMENT + offsets[field], value)
    bare.write(TABLE, (TABLE + PAGE) | 3)
    bare.write(TABLE + PAGE, 0, RAM | 0x711)  # one 1 GiB block, AttrIndx 4, without bit 54
    bare.set(MAIR_EL1, 0xBBFF440C0400)
    bare.set(TCR_EL1, 16 | 1 << 8 | 1 << 10 | 3 << 12)
    bare.set(SCTLR_EL2, 0x30C50830)
    seen = []
    if el == 2:
        site = CODE + own.symbols["each_entry"]
        bare.uc.hook_add(4, lambda *_: seen.append(bare.get(SCTLR_EL2)), begin=site, end=site)
    assert bare.run(CODE, START, ARGUMENT) == START
    assert copied(bare) == expected
    assert [bare.x(number) for number in range(4)] == [DTB, 1, 2, 3]
    if el == 2:  # the values that Pavel Tatashin printed with RFC v2
        assert bare.get(TCR_EL2) == 0x80843510
        assert bare.get(MAIR_EL2) == 0xBBFF440C0400
        assert bare.get(TTBR0_EL2) == TABLE
        assert set(seen) == {0x30E5183F}
        assert bare.get(SCTLR_EL2) == 0x30C50830


@pytest.mark.parametrize("name", ["soft-restart-v4.19", "soft-restart-rfc-v1", "soft-restart-v5.17"])
def test_soft_restart_branches_or_calls(name: str) -> None:
    own = routine(name)
    before = 0x30D0199D & ~1
    after = {"soft-restart-v4.19": before & ~0x20100F, "soft-restart-rfc-v1": before, "soft-restart-v5.17": 0x30500800}
    bare = Bare(own.code, 1)
    bare.set(SCTLR_EL1, before)
    assert bare.run(CODE, START, 0, START, 11, 12, 13) == START
    assert [bare.x(number) for number in range(3)] == [11, 12, 13]
    assert bare.get(SCTLR_EL1) == after[name]
    bare = Bare(own.code, 1)
    bare.run(CODE, START, 1, START, 11, 12, 13)
    assert bare.exceptions == [HVC]
    assert [bare.x(number) for number in range(5)] == [1, START, 11, 12, 13]


STUBS = ["hyp-stub-v4.19", "hyp-stub-v5.17", "kexec-vectors-v5.17"]


@pytest.mark.parametrize("name", STUBS)
@pytest.mark.parametrize("call", [0, 1, 2, 3, 77])
def test_el2_vectors_answer_their_calls(name: str, call: int) -> None:
    bare = Bare(routine(name).code, 2)
    back = RAM + 0x4000
    bare.set(ELR_EL2, back)
    bare.set(SPSR_EL2, 0x3C5)
    bare.set(VBAR_EL2, CODE)
    if call == 1:
        assert bare.run(CODE + 0x400, START, call, START, 11, 12, 13) == START
        assert [bare.x(number) for number in range(3)] == [11, 12, 13]
        assert bare.get(VBAR_EL2) == CODE
        return
    assert bare.run(CODE + 0x400, back, call, RAM + 0x8000, 11, 12, 13) == back
    assert bare.x(0) == (0 if call in (0, 2) else 0xBADCA11)
    assert bare.get(VBAR_EL2) == (RAM + 0x8000 if call == 0 else CODE)


def test_what_is_read_of_kimage_after_the_copy_is_what_5_18_reads_before_it() -> None:
    late = {}
    for name in ("relocate-v12", "relocate-v15", "relocate-v5.16", "relocate-v5.17"):
        own = routine(name)
        rows = [insn for insn in insns(own, "done") if insn.memory and insn.memory.base == 0]
        late[name] = [insn.memory.offset for insn in rows if insn.memory]
    fields = [routine("relocate-v5.17").kimage_offsets[field] for field in ("start", "el2_vectors", "dtb")]
    assert late == dict.fromkeys(("relocate-v12", "relocate-v15", "relocate-v5.16"), fields) | {"relocate-v5.17": []}


def test_the_vectors_of_v11_start_the_new_kernel_and_nothing_else() -> None:
    own = routine("kexec-vectors-v11")
    assert len(own.code) == 0x800
    bare = Bare(own.code, 2)
    assert bare.run(CODE + 0x400, START, 11, 12, 13, 14, START) == START
    assert [bare.x(number) for number in range(4)] == [11, 12, 13, 14]


def test_the_dcache_patch_changes_nothing_of_the_purgatory_but_what_is_round_it() -> None:
    plain, patched = routine("purgatory"), routine("purgatory-dcache")
    bodies = [own.code[own.symbols["compress"] : own.symbols["sha256_initial"] + 32] for own in (plain, patched)]
    assert bodies[0] == bodies[1]
    kinds = [{insn.maintenance for insn in insns(own) if insn.maintenance} for own in (plain, patched)]
    assert kinds[0] == set()
    assert Maintenance.DC_CIVAC in kinds[1]


def test_protocols_name_what_the_old_kernel_must_prepare() -> None:
    assert routine("relocate-v4.19").protocol is Protocol.MMU_OFF
    assert routine("relocate-rfc-v2").protocol is Protocol.ARGUMENT_PAGE
    merged = routine("relocate-v5.17")
    assert merged.protocol is Protocol.KIMAGE
    leading = [insn for insn in insns(merged)[:7] if insn.memory and insn.memory.base == 0]
    read = {insn.memory.offset for insn in leading if insn.memory}
    assert read == {merged.kimage_offsets[field] for field in merged.kimage_offsets} - {672, 704}
