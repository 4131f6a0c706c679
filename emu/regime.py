"""Regime: the registers that govern an access, and what they mean together."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emu.fields import field, fields, walk_cacheability
from traces.errors import InputError
from traces.schema import EPOCH, EpochCause, MemoryType, Shareability

_TG0_LOG2 = (12, 16, 14, 12)
_TG1_LOG2 = (12, 14, 12, 16)
"""Granules by TG0 and TG1 (reserved encodings act as 4K: Arm ARM lets an implementation choose)."""
_PS_BITS = (32, 36, 40, 42, 44, 48, 52, 48)
_NO_LEVEL = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class RangeControls:
    """What TCR says of one VA range; for stage 2, what VTCR says of the IPA range."""

    ttbr: int
    granule_log2: int
    tsz: int
    disabled: bool
    tbi: bool
    hpd: bool
    walk_type: MemoryType
    """Of descriptor reads, before SCTLR.C or HCR_EL2.CD force them Non-cacheable."""
    shareability: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Regime:
    """The translation regime that an access at `el` goes through (Arm ARM D8.1), from raw register values.

    `sctlr`, `tcr`, `mair`, `ttbr0`, `ttbr1`, `vbar` are those of the regime's own level: EL2's at EL2 (and at EL0 under
    E2H and TGE), else EL1's. `ttbr1` means nothing at EL2 without `e2h`. `pa_bits` and `lva` are the PE's: the physical
    address size it implements (44 is Cortex-A72) and FEAT_LVA. Non-secure, little-endian walks, without FEAT_LPA2,
    FEAT_TTST, FEAT_S2FWB, FEAT_NV and PAN: RAM that Linux maps for itself never has AP[1] set, where PAN would tell.
    """

    el: int
    e2h: bool = False
    sctlr: int = 0
    tcr: int = 0
    mair: int = 0
    ttbr0: int = 0
    ttbr1: int = 0
    hcr: int = 0
    vtcr: int = 0
    vttbr: int = 0
    vbar: int = 0
    pa_bits: int = 44
    lva: bool = False
    flat_cacheable: bool = False
    """Not architecture: what stage 1 does not translate is Normal-WB, whatever SCTLR says. For programs without the
    kernel that would translate for them."""

    def __post_init__(self) -> None:
        if self.el not in (0, 1, 2):
            raise InputError(f"regime: el {self.el} must be 0, 1 or 2")
        if self.pa_bits not in _PS_BITS:
            raise InputError(f"regime: pa_bits {self.pa_bits} must be one of {sorted(set(_PS_BITS))}")

    def _hcr(self, name: str) -> bool:
        return bool(field("HCR_EL2", self.hcr, name))

    def _sctlr(self, name: str) -> bool:
        return bool(field("SCTLR_EL1", self.sctlr, name))

    def _tcr(self, name: str) -> int:
        register = "TCR_EL1" if self.two_ranges else "TCR_EL2"
        return field(register, self.tcr, name)

    @property
    def at_el2(self) -> bool:
        """Whether this is EL2 or EL2&0, so that EL2's registers hold and stage 2 does not."""
        return self.el == 2 or (self.el == 0 and self.e2h and self._hcr("TGE"))

    @property
    def two_ranges(self) -> bool:
        """Whether there is a TTBR1, and PXN apart from UXN: EL1&0 and EL2&0."""
        return not self.at_el2 or self.e2h

    @property
    def name(self) -> str:
        """`EL1&0`, `EL2` or `EL2&0`."""
        if not self.at_el2:
            return "EL1&0"
        return "EL2&0" if self.e2h else "EL2"

    @property
    def default_cacheable(self) -> bool:
        """HCR_EL2.DC where it counts: EL1&0, and not while TGE routes EL0 to EL2. Or `flat_cacheable`."""
        if self.flat_cacheable and not self.stage1:
            return True
        return self._hcr("DC") and not self.at_el2 and not self._hcr("TGE")

    @property
    def stage1(self) -> bool:
        """Whether stage 1 translates. HCR_EL2.DC and TGE (without E2H) make SCTLR_EL1.M act as 0."""
        if not self.at_el2 and (self._hcr("DC") or self._hcr("TGE")):
            return False
        return self._sctlr("M")

    @property
    def stage2(self) -> bool:
        """Whether stage 2 translates: HCR_EL2.VM or DC, in EL1&0, and not with TGE."""
        return not self.at_el2 and not self._hcr("TGE") and (self._hcr("VM") or self._hcr("DC"))

    @property
    def hardware_af(self) -> bool:
        """Whether a stage that translates has the access flag set by hardware: TCR.HA, VTCR_EL2.HA."""
        second = self.stage2 and field("VTCR_EL2", self.vtcr, "HA")
        return bool(second or (self.stage1 and self._tcr("HA")))

    @property
    def hardware_dirty(self) -> bool:
        """Whether stage 1 leaves with DBM are writable whatever AP[2] says: TCR.HA and HD."""
        return bool(self._tcr("HA") and self._tcr("HD"))

    @property
    def dcache(self) -> bool:
        """SCTLR.C of the regime."""
        return self._sctlr("C") or (self.flat_cacheable and not self.stage1)

    @property
    def icache(self) -> bool:
        """SCTLR.I of the regime."""
        return self._sctlr("I") or (self.flat_cacheable and not self.stage1)

    @property
    def flat_type(self) -> MemoryType:
        """Memory type of data that stage 1 does not translate (facts/kernel.md 3.5)."""
        return MemoryType.NORMAL_WB if self.default_cacheable else MemoryType.DEVICE_NGNRNE

    @property
    def flat_fetch_type(self) -> MemoryType:
        """Memory type of fetches that stage 1 does not translate: I picks Write-Through or Non-cacheable."""
        if self.default_cacheable:
            return MemoryType.NORMAL_WB
        return MemoryType.NORMAL_WT if self.icache else MemoryType.NORMAL_NC

    @property
    def flat_shareability(self) -> Shareability:
        """Shareability of what stage 1 does not translate."""
        return Shareability.NON if self.default_cacheable else Shareability.OUTER

    @property
    def ranges(self) -> tuple[RangeControls, ...]:
        """The VA ranges: of TTBR0, and of TTBR1 where there is one."""
        if self.two_ranges:
            return (self._range("0", "TBI0", "HPD0", self.ttbr0), self._range("1", "TBI1", "HPD1", self.ttbr1))
        return (self._range("0", "TBI", "HPD", self.ttbr0),)

    def _range(self, digit: str, tbi: str, hpd: str, ttbr: int) -> RangeControls:
        granules = _TG1_LOG2 if digit == "1" else _TG0_LOG2
        return RangeControls(
            ttbr=ttbr,
            granule_log2=granules[self._tcr("TG" + digit)],
            tsz=self._tcr(f"T{digit}SZ"),
            disabled=self.two_ranges and bool(self._tcr("EPD" + digit)),
            tbi=bool(self._tcr(tbi)),
            hpd=bool(self._tcr(hpd)),
            walk_type=walk_cacheability(self._tcr("IRGN" + digit), self._tcr("ORGN" + digit)),
            shareability=self._tcr("SH" + digit),
        )

    @property
    def t0sz(self) -> int:
        """TCR.T0SZ: TTBR0 covers 64 - t0sz bits."""
        return self._tcr("T0SZ")

    @property
    def t1sz(self) -> int:
        """TCR.T1SZ; 0 where there is no TTBR1."""
        return self._tcr("T1SZ") if self.two_ranges else 0

    @property
    def walk_type(self) -> MemoryType:
        """Memory type of stage 1 descriptor reads of the TTBR0 range; Non-cacheable with SCTLR.C = 0."""
        return self.ranges[0].walk_type if self.dcache else MemoryType.NORMAL_NC

    @property
    def walk1_type(self) -> MemoryType:
        """The same of the TTBR1 range; that of TTBR0 where there is no TTBR1."""
        return self.ranges[-1].walk_type if self.dcache else MemoryType.NORMAL_NC

    @property
    def walk2_type(self) -> MemoryType:
        """Memory type of stage 2 descriptor reads; Non-cacheable with HCR_EL2.CD = 1."""
        return MemoryType.NORMAL_NC if self._hcr("CD") else self.stage2_range.walk_type

    @property
    def stage2_range(self) -> RangeControls:
        """What VTCR_EL2 and VTTBR_EL2 say, whether or not stage 2 is on."""
        vtcr = fields("VTCR_EL2", self.vtcr)
        return RangeControls(
            ttbr=self.vttbr,
            granule_log2=_TG0_LOG2[vtcr["TG0"]],
            tsz=vtcr["T0SZ"],
            disabled=False,
            tbi=False,
            hpd=True,
            walk_type=walk_cacheability(vtcr["IRGN0"], vtcr["ORGN0"]),
            shareability=vtcr["SH0"],
        )

    @property
    def stage2_start_level(self) -> int:
        """Level of the first stage 2 lookup by SL0; -1 if SL0, T0SZ and the PA size contradict (Arm ARM D8.2.2)."""
        vtcr = fields("VTCR_EL2", self.vtcr)
        granule_log2 = _TG0_LOG2[vtcr["TG0"]]
        sl0, input_bits, stride = vtcr["SL0"], 64 - vtcr["T0SZ"], granule_log2 - 3
        if sl0 == 3 or input_bits > self.output_bits_of(granule_log2, 6):
            return _NO_LEVEL
        level = (2 if granule_log2 == 12 else 3) - sl0
        least_pa_bits = {(12, 0): 43, (14, 1): 41, (16, 1): 43}.get((granule_log2, level), 0)
        # One to 16 concatenated tables at the first level: up to four more bits than a table resolves.
        first_bits = input_bits - (granule_log2 + stride * (3 - level))
        if self.pa_bits < least_pa_bits or not 1 <= first_bits <= stride + 4:
            return _NO_LEVEL
        return level

    def output_bits_of(self, granule_log2: int, ps: int) -> int:
        """Output address bits that a PS field gives with a granule: 52 only with 64K, never more than the PE has."""
        return min(_PS_BITS[ps], self.pa_bits, 52 if granule_log2 == 16 else 48)

    @property
    def output_bits(self) -> tuple[int, ...]:
        """Bits of a stage 1 output address, by range; more is an address size fault."""
        ps = self._tcr("IPS" if self.two_ranges else "PS")
        return tuple(self.output_bits_of(each.granule_log2, ps) for each in self.ranges)

    @property
    def output2_bits(self) -> int:
        """Bits of a stage 2 output address."""
        return self.output_bits_of(self.stage2_range.granule_log2, field("VTCR_EL2", self.vtcr, "PS"))

    @property
    def asid(self) -> int:
        """The current ASID: of TTBR1 with TCR.A1, of TTBR0 without; 0 at EL2 without E2H."""
        if not self.two_ranges:
            return 0
        asid = (self.ttbr1 if self._tcr("A1") else self.ttbr0) >> 48
        return asid & (0xFFFF if self._tcr("AS") else 0xFF)

    @property
    def vmid(self) -> int:
        """The VMID; 0 where there is no stage 2."""
        return self.vttbr >> 48 & (0xFFFF if field("VTCR_EL2", self.vtcr, "VS") else 0xFF) if self.stage2 else 0

    def to_record(self, cause: EpochCause = EpochCause.START) -> np.void:
        """Return the row of EPOCH that says all this."""
        row = np.zeros(1, EPOCH)
        for name in ("el", "e2h", "stage1", "stage2", "dcache", "icache", "flat_type", "flat_fetch_type", "walk_type"):
            row[name] = getattr(self, name)
        for name in ("sctlr", "tcr", "mair", "ttbr0", "ttbr1", "hcr", "vtcr", "vttbr", "vbar", "asid", "vmid"):
            row[name] = getattr(self, name)
        row["walk2_type"] = self.walk2_type if self.stage2 else MemoryType.DEVICE_NGNRNE
        row["granule_log2"] = self.ranges[0].granule_log2
        row["cause"] = cause
        record: np.void = row[0]
        return record


WORDS = (
    "stage1",
    "stage2",
    "two_ranges",
    "wxn",
    "data_nc",
    "fetch_nc",
    "flat_type",
    "flat_fetch_type",
    "flat_shareability",
    "mair",
    "pa_bits",
    "hardware_af",
    "hardware_dirty",
    "lva",
    *(f"{name}_{digit}" for digit in "01" for name in ("ttbr", "granule_log2", "tsz", "disabled", "tbi", "hpd", "out")),
    "vttbr",
    "granule2_log2",
    "t0sz2",
    "start_level2",
    "out2",
    "hardware_af2",
    "hardware_dirty2",
    "data_nc2",
    "fetch_nc2",
    "protected_walk",
    "unprivileged",
)
"""Order of `words`; `emu.kernels.walk_words` names the same places."""


def words(regime: Regime) -> NDArray[np.int64]:
    """Put the regime as the compiled walker takes it: one signed word (two's complement) for each name of WORDS."""
    spoken = {
        "stage1": regime.stage1,
        "stage2": regime.stage2,
        "two_ranges": regime.two_ranges,
        "wxn": regime._sctlr("WXN"),
        # With HCR_EL2.DC = 1 the PE ignores SCTLR_EL1.C and I (Arm ARM, SCTLR_EL1).
        "data_nc": not regime.dcache and not regime.default_cacheable,
        "fetch_nc": not regime.icache and not regime.default_cacheable,
        "flat_type": regime.flat_type,
        "flat_fetch_type": regime.flat_fetch_type,
        "flat_shareability": regime.flat_shareability,
        "mair": regime.mair,
        "pa_bits": regime.pa_bits,
        "hardware_af": regime._tcr("HA"),
        "hardware_dirty": regime.hardware_dirty,
        "lva": regime.lva,
        "unprivileged": regime.el == 0,
    }
    for digit, controls, output_bits in zip("01", regime.ranges, regime.output_bits, strict=False):
        for name in ("ttbr", "granule_log2", "tsz", "disabled", "tbi", "hpd"):
            spoken[f"{name}_{digit}"] = getattr(controls, name)
        spoken[f"out_{digit}"] = output_bits
    spoken |= _stage2_words(regime)
    unsigned = [int(spoken.get(name, 0)) % (1 << 64) for name in WORDS]
    return np.array(unsigned, np.uint64).view(np.int64)


def _stage2_words(regime: Regime) -> dict[str, int]:
    """Put the part of `words` that governs stage 2."""
    vtcr = fields("VTCR_EL2", regime.vtcr)
    return {
        "vttbr": regime.vttbr,
        "granule2_log2": regime.stage2_range.granule_log2,
        "t0sz2": vtcr["T0SZ"],
        "start_level2": regime.stage2_start_level,
        "out2": regime.output2_bits,
        "hardware_af2": vtcr["HA"],
        "hardware_dirty2": vtcr["HA"] and vtcr["HD"],
        "data_nc2": regime._hcr("CD"),
        "fetch_nc2": regime._hcr("ID"),
        "protected_walk": regime._hcr("PTW"),
    }
