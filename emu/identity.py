"""Identity: tables that map memory to where it is, and the registers that turn them on, as Linux would set them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emu.tables import AF, SH_INNER, TableBuilder, attr_index

if TYPE_CHECKING:
    from emu.cpu import Cpu
    from emu.memory import PhysicalMemory

# MAIR_EL1 as Linux has it: 0 Device-nGnRnE, 3 Normal-NC, 4 Normal-WB. TCR_EL1 likewise: 48 bits, walks Write-Back and
# inner shareable; TG0 is 0 for the 4K granule and 2 for the 16K one (facts/kernel.md 3.4). TCR_EL2 is RFC v2's.
_MAIR, _TCR_EL1, _TCR_EL2 = 0xBB_FF44_0C04_00, 0x4_B510_3510, 0x8084_3510
_TG0_16K = 2 << 14
_SCTLR_M_C_I = 0x30D0_0800 | 0x1005
ATTRIBUTE_INDEX = {"Device-nGnRnE": 0, "Normal-NC": 3, "Normal-WB": 4}


@dataclass(frozen=True, slots=True)
class Mapped:
    """A stretch of memory to be mapped, in leaves of a size; what sticks out of the last leaf is mapped as well."""

    pa: int
    size: int
    memory_type: str = "Normal-WB"
    leaf_bytes: int = 4096


def map_to_itself(
    cpu: "Cpu",
    memory: "PhysicalMemory",
    parts: Sequence[Mapped],
    allocate: Callable[[int], int],
    *,
    el: int = 1,
    granule_bytes: int = 4096,
) -> None:
    """Build the tables and set MAIR, TTBR0, TCR and SCTLR.M, C and I of that level (1, or 2 without E2H).

    `allocate(size)` gives RAM for tables, aligned to `size`.
    """
    tables = TableBuilder(memory, allocate, granule_bytes=granule_bytes)
    for part in parts:
        leaf = max(part.leaf_bytes, granule_bytes)
        start = part.pa // leaf * leaf
        size = -(-(part.pa + part.size - start) // leaf) * leaf
        tables.map(start, start, size, AF | SH_INNER | attr_index(ATTRIBUTE_INDEX[part.memory_type]), leaf)
    cpu.sysreg[f"MAIR_EL{el}"], cpu.sysreg[f"TTBR0_EL{el}"] = _MAIR, tables.ttbr
    tcr = _TCR_EL1 if el == 1 else _TCR_EL2
    cpu.sysreg[f"TCR_EL{el}"] = tcr | (_TG0_16K if granule_bytes == 16384 else 0)
    cpu.sysreg[f"SCTLR_EL{el}"] = _SCTLR_M_C_I
