"""The purgatory's digest, in AArch64 instructions, is hashlib's; one wrong byte keeps the new kernel from starting."""

import hashlib

import pytest
from old_kernels import scenario

from asm.routines import routine
from emu.layout import default_layout
from emu.purgatory import SEGMENT_BYTES
from emu.scenario import Scenario, prepare
from traces.errors import InputError
from traces.expand import accesses
from traces.schema import Access, Mark, MemoryType, Phase, Role

PAGES = 48


def with_purgatory(
    name: str = "purgatory", case: str = "v4.19-nvhe", pages: int = PAGES, **changes: object
) -> Scenario:
    layout = default_layout(pages * 4096, purgatory_bytes=SEGMENT_BYTES)
    place = {"memory_map": layout.memory_map, "segments": layout.segments, "start": layout.start}
    return scenario(case, pages, **{"purgatory": routine(name), **place, **changes})


def found_digest(guest) -> bytes:
    """The digest that the guest left behind its schedule."""
    segment = guest.scenario.purgatory_segment
    at = guest.memory.read_u64(segment.pa + guest.scenario.purgatory.symbols["sha256_schedule"])
    words = guest.memory.read(at + 256, 32)
    return b"".join(words[place : place + 4][::-1] for place in range(0, 32, 4))


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("purgatory", "v4.19-nvhe"),
        ("purgatory", "v4.19-el1"),
        ("purgatory", "v5.17-vhe"),
        ("purgatory-dcache", "v4.19-nvhe"),
        ("purgatory-dcache", "v5.17-el1"),
    ],
)
def test_the_digest_is_hashlibs_and_the_new_kernel_starts(name, case):
    guest = prepare(with_purgatory(name, case))
    found = guest.run()
    image = guest.scenario
    expected = hashlib.sha256()
    for segment in image.segments:
        if segment.name != "purgatory":
            expected.update(guest.memory.read(segment.pa, segment.memsz))
    assert found_digest(guest) == expected.digest()
    assert (found.outcome, found.fault, found.image_ok) == ("completed", None, True)
    dtb = next(segment.pa for segment in image.segments if segment.name == "dtb")
    assert (found.entry.pc, found.entry.x0, found.entry.x1) == (image.end_pa, dtb, 0)
    assert image.entry_pa == image.purgatory_segment.pa != image.end_pa
    assert not found.entry.mmu


def test_one_wrong_bit_of_the_image_is_found():
    guest = prepare(with_purgatory())
    victim = int(guest.kimage.sources[3])
    guest.memory.write(victim + 77, bytes([guest.memory.read(victim + 77, 1)[0] ^ 1]))
    found = guest.run()
    assert (found.outcome, found.entry, found.image_ok) == ("hang", None, False)


def test_a_wrong_byte_of_the_purgatory_itself_is_a_wrong_image_unless_it_writes_there():
    for page, right in ((0, False), (2, True)):
        guest = prepare(with_purgatory())
        segment = guest.scenario.purgatory_segment
        number = next(i for i, pa in enumerate(guest.kimage.destinations) if pa == segment.pa + page * 4096)
        guest.memory.write(int(guest.kimage.sources[number]) + 4000, b"\x55")
        assert guest.run().image_ok is right


def test_its_stores_are_no_part_of_the_copy_and_have_the_type_of_its_own_regime():
    for name, kind in (("purgatory", MemoryType.DEVICE_NGNRNE), ("purgatory-dcache", MemoryType.NORMAL_WB)):
        found = prepare(with_purgatory(name)).run()
        trace = found.trace
        begun = [int(mark["at"]) for mark in trace.marks if mark["kind"] == Mark.PHASE and mark["a"] == Phase.PURGATORY]
        assert len(begun) == 1
        assert found.copy.last < begun[0]
        assert found.copy.stored_bytes == found.image_bytes
        stores = accesses(trace, begun[0])
        stores = stores[stores["access"] == Access.STORE]
        assert set(stores["memory_type"].tolist()) == {kind}
        destination = trace.ranges[trace.ranges["role"] == Role.DESTINATION]
        last = destination[-1]
        assert ((stores["pa"] >= last["pa"]) & (stores["pa"] < last["pa"] + last["size"])).all()


def test_an_image_without_that_segment_is_refused():
    with pytest.raises(InputError, match="no segment has that name"):
        with_purgatory(pages=8)


def test_a_segment_too_small_for_tables_is_refused():
    layout = default_layout(PAGES * 4096)
    with pytest.raises(InputError, match="too small for its tables"):
        prepare(scenario("v4.19-nvhe", PAGES, purgatory=routine("purgatory"), segments=layout.segments))
