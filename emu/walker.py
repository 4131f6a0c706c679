"""The page-table walker for Python: what `emu.kernels.walk.walk` finds, by name."""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from emu.kernels import walk_words
from emu.kernels.walk import walk
from emu.memory import PhysicalMemory
from emu.regime import Regime, words
from traces.schema import MemoryType, Shareability


class WalkAccess(IntEnum):
    """What is done to the address; decides the permission that it needs."""

    LOAD = walk_words.LOAD
    STORE = walk_words.STORE
    FETCH = walk_words.FETCH
    MAINTAIN = walk_words.MAINTAIN
    """DC or IC by VA that only needs a translation, at EL1 and above."""
    MAINTAIN_WRITE = walk_words.MAINTAIN_WRITE
    """DC IVAC."""


class FaultKind(IntEnum):
    """Why a walk ends without an address."""

    TRANSLATION = walk_words.FAULT_TRANSLATION
    ACCESS_FLAG = walk_words.FAULT_ACCESS_FLAG
    PERMISSION = walk_words.FAULT_PERMISSION
    ADDRESS_SIZE = walk_words.FAULT_ADDRESS_SIZE
    EXTERNAL = walk_words.FAULT_EXTERNAL


_FSC_BASE = {
    FaultKind.ADDRESS_SIZE: 0b000000,
    FaultKind.TRANSLATION: 0b000100,
    FaultKind.ACCESS_FLAG: 0b001000,
    FaultKind.PERMISSION: 0b001100,
    FaultKind.EXTERNAL: 0b010100,
}


class DescriptorRead(NamedTuple):
    """One descriptor that a walk reads."""

    pa: int
    level: int
    stage: int


@dataclass(frozen=True, slots=True)
class WalkFault:
    """A walk that ends in a fault."""

    kind: FaultKind
    level: int
    stage: int
    on_walk: bool = False
    """Stage 2 refused the address of a stage 1 descriptor (ISS.S1PTW)."""
    ipa: int = 0
    """What stage 2 refused (HPFAR_EL2)."""

    @property
    def fsc(self) -> int:
        """The fault status code: ISS.IFSC or DFSC, PAR_EL1.FST (Arm ARM D17.2.37)."""
        return _FSC_BASE[self.kind] + self.level


@dataclass(frozen=True, slots=True)
class Translation:
    """Where an address leads, or why not. With a `fault`, only `va`, `fault` and `reads` mean anything."""

    va: int
    fault: WalkFault | None
    pa: int
    ipa: int
    level: int
    """Of the stage 1 leaf."""
    leaf_log2: int
    """Bytes the stage 1 leaf maps, as a power of two; with stage 1 off, the whole PA space."""
    leaf2_log2: int
    """The same of stage 2; 0 without."""
    memory_type: MemoryType
    fetch_type: MemoryType
    shareability: Shareability
    contiguous: bool
    is_global: bool
    reads: tuple[DescriptorRead, ...]


def translate(
    memory: PhysicalMemory, regime: Regime, va: int, access: WalkAccess = WalkAccess.LOAD, *, privileged: bool = True
) -> Translation:
    """Translate one access under `regime` with the tables in `memory`; changes nothing.

    `privileged=False` is an access from EL0, or by LDTR and STTR.
    """
    result = np.zeros(walk_words.RESULT_WORDS, np.int64)
    signed_va = np.int64((va + (1 << 63)) % (1 << 64) - (1 << 63))
    flags = 0 if privileged else walk_words.UNPRIVILEGED
    walk(words(regime), memory.region_table, signed_va, int(access) | flags, result)
    found = [int(word) for word in result]
    return Translation(
        va=va,
        fault=_fault(found),
        pa=found[walk_words.R_PA],
        ipa=found[walk_words.R_IPA],
        level=found[walk_words.R_LEVEL],
        leaf_log2=found[walk_words.R_LEAF_LOG2],
        leaf2_log2=found[walk_words.R_LEAF2_LOG2],
        memory_type=MemoryType(found[walk_words.R_MEMORY_TYPE]),
        fetch_type=MemoryType(found[walk_words.R_FETCH_TYPE]),
        # 1 is reserved; it acts as Non-shareable here.
        shareability=Shareability(0 if found[walk_words.R_SHAREABILITY] == 1 else found[walk_words.R_SHAREABILITY]),
        contiguous=bool(found[walk_words.R_CONTIGUOUS]),
        is_global=bool(found[walk_words.R_GLOBAL]),
        reads=_reads(found),
    )


def _fault(found: list[int]) -> WalkFault | None:
    """Read the fault out of the words of `walk`."""
    if not found[walk_words.R_FAULT]:
        return None
    return WalkFault(
        kind=FaultKind(found[walk_words.R_FAULT]),
        level=found[walk_words.R_LEVEL],
        stage=found[walk_words.R_STAGE],
        on_walk=bool(found[walk_words.R_ON_WALK]),
        ipa=found[walk_words.R_IPA] if found[walk_words.R_STAGE] == 2 else 0,
    )


def _reads(found: list[int]) -> tuple[DescriptorRead, ...]:
    """Read the descriptor reads out of the words of `walk`."""
    places = range(walk_words.R_READ, walk_words.R_READ + 3 * found[walk_words.R_READS], 3)
    return tuple(DescriptorRead(*found[place : place + 3]) for place in places)
