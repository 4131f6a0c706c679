"""Kernels with 52-bit VAs, which Unicorn's own MMU cannot serve: the merged relocation from end to end."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from old_kernels import scenario
from test_emu_machine_cases import natively, unfolded

from asm.assemble import assemble
from asm.routines import Routine, routine
from emu.layout import default_layout
from emu.scenario import Boot, Scenario, TableStyle, prepare
from emu.spans import Span
from traces.check import check
from traces.errors import InputError
from traces.schema import Role

PAGES = 12
GRANULE_BYTES = 65536

# What such a kernel's build makes of `msr ttbr1_el1, xN`: phys_to_ttbr of a 52-bit PA, then offset_ttbr1, which shifts
# a table for 52 bits so that a PE with 48 uses its end. It asks for FEAT_LVA: the ID register, or (older and newer
# kernels) T1SZ.
_TO_TTBR = """
        orr     x1, {0}, {0}, lsr #46
        movz    x2, #0xfffc
        movk    x2, #0xffff, lsl #16
        movk    x2, #0xffff, lsl #32
        and     x1, x1, x2
"""
_ASK_ID_REGISTER = """
        mrs     x2, s3_0_c0_c7_2
        and     x2, x2, #0xf0000
        cbnz    x2, {1}
        orr     x1, x1, #0x1e00
{1}:
"""
_ASK_T1SZ = """
        mrs     x2, tcr_el1
        and     x2, x2, #0x3f0000
        orr     x3, x1, #0x1e00
        movz    x4, #0x10, lsl #16
        cmp     x2, x4
        csel    x1, x3, x1, eq
"""
ASKS = {"id-register": _ASK_ID_REGISTER, "t1sz": _ASK_T1SZ}


@cache
def relocate(asks: str) -> Routine:
    """Build relocate-v5.17 as CONFIG_ARM64_64K_PAGES, _VA_BITS_52 and _PA_BITS_52 make it."""
    plain = routine("relocate-v5.17", GRANULE_BYTES)
    text = plain.text
    for register in ("x18", "x17"):
        written = f"msr     ttbr1_el1, {register}\n"
        assert text.count(written) == 1
        switch = (_TO_TTBR + (ASKS[asks] if register == "x17" else "")).format(register, "is_52_bits")
        text = text.replace(written, f"{switch}        msr     ttbr1_el1, x1\n")
    assembly = assemble(text, name="relocate-v5.17-52")
    return replace(plain, name="relocate-v5.17-52", code=assembly.code, symbols=assembly.symbols, text=text)


def wide(boot: str, ram_pa: int = 0x8000_0000, pages: int = PAGES, asks: str = "id-register", **changes) -> Scenario:
    """A 52-bit kernel on a machine whose RAM begins at `ram_pa`."""
    crash = bool(changes.get("kdump"))
    layout = default_layout(pages * GRANULE_BYTES, page_bytes=GRANULE_BYTES, ram=Span(ram_pa, 2 << 30), crash=crash)
    usual = {
        "va_bits": 52,
        "granule_bytes": GRANULE_BYTES,
        "relocate": relocate(asks),
        "memory_map": layout.memory_map,
        "segments": layout.segments,
        "start": layout.start,
    }
    return scenario(f"v5.17-{boot}", pages, **(usual | changes))


@pytest.mark.parametrize("boot", Boot)
@pytest.mark.parametrize("asks", ASKS)
@pytest.mark.parametrize("ram_pa", [0x8000_0000, 1 << 47, 1 << 51])
def test_the_merged_relocation_of_a_52_bit_kernel(boot, asks, ram_pa):
    found = prepare(wide(boot, ram_pa, asks=asks)).run()
    assert check(found.trace) == []
    assert (found.outcome, found.image_ok, found.fault) == ("completed", True, None)
    regime = found.trace.epochs[found.copy.epoch]
    tcr = int(regime["tcr"])
    # T1SZ = 12; the idmap's T0SZ is 12 only where its page has any of bits 48..51. TG1 = 64K, IPS = 52 bits.
    assert (tcr & 63, tcr >> 16 & 63, tcr >> 30 & 3, tcr >> 32 & 7) == (12 if ram_pa >> 48 else 16, 12, 3, 6)
    assert int(regime["el"]) == (2 if boot == "vhe" else 1)
    table = found.trace.translations[found.trace.translations["epoch"] == found.copy.epoch]
    linear = table["page"] >= np.uint64(0xFFF0_0000_0000_0000 >> 12)
    assert linear.sum() > 2 * 16 * PAGES - 16 * 4
    assert set(table["walk_count"][linear].tolist()) <= {2, 3}
    assert set(table["leaf_log2"][linear].tolist()) <= {16, 29}
    assert found.entry.el == (1 if boot == "el1" else 2)
    assert (found.entry.pc, found.entry.mmu) == (found.destination[0][0], False)


@pytest.mark.parametrize("boot", Boot)
@pytest.mark.parametrize("ram_pa", [0x8000_0000, 1 << 51])
def test_every_access_is_where_unicorn_makes_it(boot, ram_pa):
    trace = prepare(wide(boot, ram_pa)).run().trace
    expected = natively(prepare(wide(boot, ram_pa)))
    assert len(expected) >= PAGES * GRANULE_BYTES // 8 * 2
    assert np.array_equal(unfolded(trace), expected)


def test_the_guest_is_told_of_lva():
    """So the routine leaves TTBR1 as it is. (Shifted, it would work as well: those bits lie below the table's size.)"""
    trace = prepare(wide("nvhe")).run().trace
    ttbr1 = [int(row["ttbr1"]) for row in trace.epochs if row["el"] == 1]
    assert len(set(ttbr1)) == 3  # the kernel's, none, the copy
    assert all(ttbr & 0x1E00 == 0 for ttbr in ttbr1)


@pytest.mark.parametrize("boot", ["el1", "nvhe", "vhe"])
def test_a_crash_kernel_of_a_52_bit_kernel(boot):
    for ram_pa, t0sz in ((0x8000_0000, 16), (1 << 51, 12)):
        found = prepare(wide(boot, ram_pa, kdump=True)).run()
        assert (found.outcome, found.image_ok, found.entry.pc) == ("completed", True, found.destination[0][0])
        assert int(found.trace.epochs[0]["tcr"]) & 63 == t0sz


@pytest.mark.parametrize("boot", ["el1", "nvhe", "vhe"])
def test_a_routine_with_its_mmu_off(boot):
    """Kernels 5.4 to 5.15 with 52 bits: the soft restart is translated, the copy is not."""
    found = prepare(
        wide(
            boot,
            1 << 51,
            relocate=routine("relocate-v5.12", GRANULE_BYTES),
            tables=TableStyle.NONE,
            kexec_vectors=None,
        )
    ).run()
    assert (found.outcome, found.image_ok) == ("completed", True)
    assert not found.trace.epochs[found.copy.epoch]["stage1"]


def test_pages_that_must_survive_lie_outside_every_destination():
    ranges = prepare(wide("nvhe", 1 << 51)).run().trace.ranges
    code = ranges[ranges["role"] == Role.CODE]
    assert (code["pa"] >> np.uint64(48) == 8).all()


def test_the_kernel_hands_over_addresses_and_lies_where_48_bits_reach():
    """Of PAs above 48 bits a TTBR's spelling differs; the linear map alone uses the 52 bits (PAGE_OFFSET)."""
    guest = prepare(wide("nvhe", 1 << 51))
    kimage = next(int(row["pa"]) for row in guest.ranges if row["role"] == Role.KIMAGE)
    offsets = guest.scenario.relocate.kimage_offsets
    assert guest.memory.read_u64(kimage + offsets["ttbr1"]) == guest.table_roots["kexec-linear"] > 1 << 51
    assert guest.handover.sysreg["TTBR1_EL1"] == guest.table_roots["swapper"] - (1 << 51) | 8 << 2
    assert guest.handover.sysreg["VBAR_EL1"] >> 47 == 0x1FFFF
    assert guest.handover.x[0] >> 48 == 0xFFF0


def test_what_52_bits_go_with():
    with pytest.raises(InputError, match="va_bits: 52 needs a granule of 65536"):
        scenario("v5.17-nvhe", va_bits=52)
    with pytest.raises(InputError, match="tables 'rfc-v2' are of"):
        scenario("rfc-v2-nvhe", 8, va_bits=52, granule_bytes=GRANULE_BYTES)
    beyond = default_layout(PAGES * GRANULE_BYTES, page_bytes=GRANULE_BYTES, ram=Span((1 << 48) - (1 << 30), 2 << 30))
    with pytest.raises(InputError, match="44-bit"):
        prepare(
            scenario(
                "v5.17-nvhe",
                PAGES,
                granule_bytes=GRANULE_BYTES,
                memory_map=beyond.memory_map,
                segments=beyond.segments,
                start=None,
            )
        )
