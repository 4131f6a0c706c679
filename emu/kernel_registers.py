"""Register values of a running arm64 kernel, as it hands over (facts: docs/history.md, "SCTLR, TCR, ID registers")."""

from dataclasses import dataclass

from emu.fields import fields, with_fields
from traces.errors import InputError

SCTLR_EL1_RUNNING = 0x34D5_D91D
"""M, C, I, SA and SA0 on, A off, RES1, EL0's SED, DZE, UCT, UCI, nTWI, nTWE, and SPAN: what an oops prints."""

SCTLR_EL1_MMU_OFF = 0x3050_0800
SCTLR_EL2_MMU_OFF = 0x30C5_0830
"""RES1 alone: what head.S leaves at EL2, and KVM's reset puts back."""

HCR_RW = 1 << 31
HCR_VHE = 1 << 34 | HCR_RW | 1 << 27
"""E2H, RW, TGE."""

_TG0 = {4096: 0, 65536: 1, 16384: 2}
_TG1 = {4096: 2, 65536: 3, 16384: 1}
_WBWA, _INNER = 1, 3
_NORMAL_WB = 0xFF
_IPS = {32: 0, 36: 1, 40: 2, 42: 3, 44: 4, 48: 5, 52: 6}


@dataclass(frozen=True, kw_only=True, slots=True)
class WalkAttributes:
    """IRGN, ORGN and SH of TCR, the same for both ranges."""

    irgn: int
    orgn: int
    sh: int


LINUX_WALKS = WalkAttributes(irgn=_WBWA, orgn=_WBWA, sh=_INNER)


def tcr_el1(
    *, va_bits: int, granule_bytes: int, pa_bits: int, t0sz: int | None = None, walks: WalkAttributes = LINUX_WALKS
) -> int:
    """TCR_EL1 as __cpu_setup makes it: both ranges walked Write-Back inner-shareable, 16-bit ASIDs from TTBR1, TBI0.

    With 48 bits, 4K pages and a 44-bit PE it is 0x34b5503510. `t0sz` is the idmap's where that differs.
    """
    return with_fields(
        "TCR_EL1",
        0,
        T0SZ=64 - va_bits if t0sz is None else t0sz,
        T1SZ=64 - va_bits,
        IRGN0=walks.irgn,
        ORGN0=walks.orgn,
        SH0=walks.sh,
        TG0=_TG0[granule_bytes],
        A1=1,
        IRGN1=walks.irgn,
        ORGN1=walks.orgn,
        SH1=walks.sh,
        TG1=_TG1[granule_bytes],
        IPS=_IPS[pa_bits],
        AS=1,
        TBI0=1,
    )


def write_back_index(mair: int) -> int:
    """Return the AttrIndx that `mair` gives Normal Write-Back: 4 before 5.10, 0 since."""
    for index, attribute in enumerate(fields("MAIR_EL1", mair).values()):
        if attribute == _NORMAL_WB:
            return index
    raise InputError(
        f"mair: {mair:#018x} has no byte 0xff (Normal Write-Back), which every kernel maps its memory with"
    )
