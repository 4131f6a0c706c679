"""System registers by field name, as Arm names the fields (Arm ARM D19.2; facts/kernel.md 3.3 and 3.4)."""

from collections.abc import Mapping

from traces.errors import InputError
from traces.schema import MemoryType

Layout = dict[str, tuple[int, int]]
"""Field name -> (lowest bit, width)."""

_SCTLR_COMMON: Layout = {
    "M": (0, 1),
    "A": (1, 1),
    "C": (2, 1),
    "SA": (3, 1),
    "nAA": (6, 1),
    "EOS": (11, 1),
    "I": (12, 1),
    "WXN": (19, 1),
    "IESB": (21, 1),
    "EIS": (22, 1),
    "EE": (25, 1),
}
_SCTLR_EL0: Layout = {
    "SA0": (4, 1),
    "CP15BEN": (5, 1),
    "ITD": (7, 1),
    "SED": (8, 1),
    "UMA": (9, 1),
    "DZE": (14, 1),
    "UCT": (15, 1),
    "nTWI": (16, 1),
    "nTWE": (18, 1),
    "SPAN": (23, 1),
    "E0E": (24, 1),
    "UCI": (26, 1),
}
_TCR_TWO_RANGES: Layout = {
    "T0SZ": (0, 6),
    "EPD0": (7, 1),
    "IRGN0": (8, 2),
    "ORGN0": (10, 2),
    "SH0": (12, 2),
    "TG0": (14, 2),
    "T1SZ": (16, 6),
    "A1": (22, 1),
    "EPD1": (23, 1),
    "IRGN1": (24, 2),
    "ORGN1": (26, 2),
    "SH1": (28, 2),
    "TG1": (30, 2),
    "IPS": (32, 3),
    "AS": (36, 1),
    "TBI0": (37, 1),
    "TBI1": (38, 1),
    "HA": (39, 1),
    "HD": (40, 1),
    "HPD0": (41, 1),
    "HPD1": (42, 1),
}
_TCR_ONE_RANGE: Layout = {
    "T0SZ": (0, 6),
    "IRGN0": (8, 2),
    "ORGN0": (10, 2),
    "SH0": (12, 2),
    "TG0": (14, 2),
    "PS": (16, 3),
    "TBI": (20, 1),
    "HA": (21, 1),
    "HD": (22, 1),
    "HPD": (24, 1),
}
_VTCR: Layout = {
    "T0SZ": (0, 6),
    "SL0": (6, 2),
    "IRGN0": (8, 2),
    "ORGN0": (10, 2),
    "SH0": (12, 2),
    "TG0": (14, 2),
    "PS": (16, 3),
    "VS": (19, 1),
    "HA": (21, 1),
    "HD": (22, 1),
}
_HCR: Layout = {
    "VM": (0, 1),
    "SWIO": (1, 1),
    "PTW": (2, 1),
    "FMO": (3, 1),
    "IMO": (4, 1),
    "AMO": (5, 1),
    "FB": (9, 1),
    "BSU": (10, 2),
    "DC": (12, 1),
    "TWI": (13, 1),
    "TWE": (14, 1),
    "TSC": (19, 1),
    "TSW": (22, 1),
    "TPC": (23, 1),
    "TPU": (24, 1),
    "TTLB": (25, 1),
    "TVM": (26, 1),
    "TGE": (27, 1),
    "TDZ": (28, 1),
    "HCD": (29, 1),
    "TRVM": (30, 1),
    "RW": (31, 1),
    "CD": (32, 1),
    "ID": (33, 1),
    "E2H": (34, 1),
}
_MAIR: Layout = {f"Attr{index}": (8 * index, 8) for index in range(8)}

_LAYOUTS: Mapping[str, Layout] = {
    "SCTLR_EL1": _SCTLR_COMMON | _SCTLR_EL0,
    "SCTLR_EL2": _SCTLR_COMMON,
    "TCR_EL1": _TCR_TWO_RANGES,
    "TCR_EL2": _TCR_ONE_RANGE,
    "MAIR_EL1": _MAIR,
    "MAIR_EL2": _MAIR,
    "HCR_EL2": _HCR,
    "VTCR_EL2": _VTCR,
    "TTBR0_EL1": {"CnP": (0, 1), "BADDR": (1, 47), "ASID": (48, 16)},
    "TTBR1_EL1": {"CnP": (0, 1), "BADDR": (1, 47), "ASID": (48, 16)},
    "TTBR0_EL2": {"CnP": (0, 1), "BADDR": (1, 47), "ASID": (48, 16)},
    "TTBR1_EL2": {"CnP": (0, 1), "BADDR": (1, 47), "ASID": (48, 16)},
    "VTTBR_EL2": {"CnP": (0, 1), "BADDR": (1, 47), "VMID": (48, 16)},
}
_WITH_E2H: Mapping[str, str] = {"SCTLR_EL2": "SCTLR_EL1", "TCR_EL2": "TCR_EL1"}
"""Registers of EL2 that take the two-range layout of EL1 while HCR_EL2.E2H is 1."""


def layout(register: str, *, e2h: bool = False) -> Layout:
    """Return the fields of `register` ("SCTLR_EL1", "TCR_EL2", ...); `e2h` picks what HCR_EL2.E2H = 1 gives."""
    name = _WITH_E2H.get(register, register) if e2h else register
    if name not in _LAYOUTS:
        raise InputError(f"register {register!r}: its fields are not known; known: {', '.join(_LAYOUTS)}")
    return _LAYOUTS[name]


def fields(register: str, value: int, *, e2h: bool = False) -> dict[str, int]:
    """Every field of `register` by Arm's name, from the lowest bit up."""
    return {name: value >> lsb & (1 << width) - 1 for name, (lsb, width) in layout(register, e2h=e2h).items()}


def field(register: str, value: int, name: str) -> int:
    """Return one field of `register`, in the layout without E2H."""
    lsb, width = _LAYOUTS[register][name]
    return value >> lsb & (1 << width) - 1


def with_fields(register: str, value: int, *, e2h: bool = False, **changes: int) -> int:
    """`value` with the named fields of `register` replaced."""
    bits = layout(register, e2h=e2h)
    for name, field_value in changes.items():
        if name not in bits:
            raise InputError(f"register {register}: no field {name!r}; fields: {', '.join(bits)}")
        lsb, width = bits[name]
        if not 0 <= field_value < 1 << width:
            raise InputError(f"register {register}.{name}: {field_value} does not fit its {width} bits")
        value = value & ~((1 << width) - 1 << lsb) | field_value << lsb
    return value


def attribute_type(attribute: int) -> MemoryType:
    """Return the memory type of one byte of MAIR, inner and outer combined to the weaker.

    Write-Back only if both are; 0xf0 (Tagged Normal, FEAT_MTE) is Write-Back. Encodings that Arm leaves UNPREDICTABLE
    are Non-cacheable. Transient and allocation hints are left to the timing model.
    """
    if attribute == 0xF0:
        return MemoryType.NORMAL_WB
    if attribute >> 4 == 0:
        return MemoryType(attribute >> 2 & 3)
    return min(_nibble_type(attribute >> 4), _nibble_type(attribute & 15))


def walk_cacheability(irgn: int, orgn: int) -> MemoryType:
    """Return the memory type of descriptor reads that TCR's IRGN and ORGN ask for, the weaker of the two."""
    return min(_RGN_TYPES[irgn & 3], _RGN_TYPES[orgn & 3])


def _nibble_type(nibble: int) -> MemoryType:
    """One half of a Normal attribute (Arm ARM, MAIR_EL1, Attr<n>)."""
    if nibble in (0, 4):
        return MemoryType.NORMAL_NC
    return MemoryType.NORMAL_WB if nibble & 4 else MemoryType.NORMAL_WT


_RGN_TYPES = (MemoryType.NORMAL_NC, MemoryType.NORMAL_WB, MemoryType.NORMAL_WT, MemoryType.NORMAL_WB)
