"""A second stage of translation around a guest: what a hypervisor adds, without the hypervisor."""

import dataclasses

from emu.guest import Guest
from emu.scenario import Boot
from emu.tables import AF, S2_NORMAL_WB, S2_READ, S2_WRITE, SH_INNER, TableBuilder
from traces.errors import InputError

_IPA_BITS = 44
_TABLE_BYTES = 1 << 24
"""Room for tables: some 20 TiB of memory in blocks of 2 MiB."""

# VTCR_EL2: RES1, PS 44 bits, 4K granule, walks Write-Back and inner shareable; T0SZ and SL0 are the tables'.
_VTCR = 1 << 31 | 4 << 16 | 3 << 12 | 1 << 10 | 1 << 8 | 64 - _IPA_BITS
_HCR_VM = 1


def under_stage2(guest: Guest, leaf_bytes: int) -> Guest:
    """Return the guest with HCR_EL2.VM set over tables that map all of its memory to itself, Normal Write-Back.

    The tables lie behind the guest's memory. Only what runs at EL1 has a second stage: InputError for another boot.
    """
    if guest.scenario.boot is not Boot.EL1:
        raise InputError(f"boot: {guest.scenario.boot.value!r} must be 'el1': a virtual machine has no EL2")
    memory = guest.memory
    seen = [(region.pa, region.size) for region in memory.regions]
    free = -(-max(pa + size for pa, size in seen) // _TABLE_BYTES) * _TABLE_BYTES
    memory.add(free, _TABLE_BYTES)

    def allocate(size: int) -> int:
        nonlocal free
        pa = -(-free // size) * size
        free = pa + size
        return pa

    tables = TableBuilder(memory, allocate, va_bits=_IPA_BITS, stage=2)
    for pa, size in seen:
        first, last = pa // leaf_bytes * leaf_bytes, -(-(pa + size) // leaf_bytes) * leaf_bytes
        tables.map(first, first, last - first, AF | SH_INNER | S2_NORMAL_WB | S2_READ | S2_WRITE, leaf_bytes)
    stage2 = {"VTCR_EL2": _VTCR | tables.sl0 << 6, "VTTBR_EL2": tables.ttbr}
    registers = guest.handover.sysreg
    hcr = {"HCR_EL2": registers.get("HCR_EL2", 0) | _HCR_VM}
    guest.handover = dataclasses.replace(guest.handover, sysreg={**stage2, **registers, **hcr})
    return guest
