"""Hypervisor: what a guest's machine has below it, as far as a relocation sees it: stage 2, and HCR_EL2."""

from emu.fields import with_fields
from emu.kernel_registers import HCR_RW
from emu.memory import PhysicalMemory
from emu.memory_map import MemoryMap
from emu.scenario import Stage2
from emu.spans import Span
from emu.tables import AF, S2_NORMAL_WB, S2_READ, S2_WRITE, SH_INNER, TableBuilder

_GIB, _BLOCK_BYTES = 1 << 30, 2 << 20
_TABLES_BYTES = 1 << 20
_HCR_VM, _HCR_DC = 1 << 0, 1 << 12
_IPA_BITS, _WBWA, _INNER, _PS_44_BITS = 44, 1, 3, 4


def hypervisor_span(memory_map: MemoryMap) -> Span:
    """Where the hypervisor has its tables: in memory of its own, which the guest's map does not show."""
    end = max(span.end for span in (*memory_map.ram, *memory_map.nomap))
    return Span((end // _GIB + 1) * _GIB, _TABLES_BYTES)


def map_guest(memory: PhysicalMemory, memory_map: MemoryMap, stage2: Stage2) -> dict[str, int]:
    """Map all of the guest's memory, IPA = PA, in blocks of 2 MiB as KVM has them; return the registers that say so.

    HCR_EL2 has VM or DC set beside RW; DC alone acts as VM (Arm ARM, HCR_EL2), so both need the tables.
    """
    if stage2 is Stage2.NONE:
        return {}
    span = hypervisor_span(memory_map)
    memory.add(span.pa, span.size)
    taken = span.pa

    def allocate(size: int) -> int:
        nonlocal taken
        pa = -(-taken // size) * size
        taken = pa + size
        return pa

    tables = TableBuilder(memory, allocate, va_bits=_IPA_BITS, stage=2)
    attributes = S2_NORMAL_WB | S2_READ | S2_WRITE | SH_INNER | AF
    for ram in memory_map.ram:
        first = ram.pa // _BLOCK_BYTES * _BLOCK_BYTES
        last = -(-ram.end // _BLOCK_BYTES) * _BLOCK_BYTES
        tables.map(first, first, last - first, attributes, _BLOCK_BYTES)
    vtcr = with_fields(
        "VTCR_EL2",
        1 << 31,
        T0SZ=64 - _IPA_BITS,
        SL0=tables.sl0,
        IRGN0=_WBWA,
        ORGN0=_WBWA,
        SH0=_INNER,
        PS=_PS_44_BITS,
    )
    hcr = HCR_RW | (_HCR_VM if stage2 is Stage2.VM else _HCR_DC)
    return {"VTCR_EL2": vtcr, "VTTBR_EL2": tables.ttbr, "HCR_EL2": hcr}
