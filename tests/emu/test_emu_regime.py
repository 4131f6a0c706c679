import numpy as np
import pytest

from emu.fields import attribute_type, fields, layout, walk_cacheability, with_fields
from emu.kernels import descriptors, walk_words
from emu.regime import WORDS, Regime, words
from traces.errors import InputError
from traces.schema import EpochCause, MemoryType, Shareability

RFC_V2 = {"sctlr": 0x30E5183F, "tcr": 0x80843510, "mair": 0xBBFF440C0400, "ttbr0": 0x1B3069000}
"""The registers Pavel printed for the freeze (facts/kernel.md 1.5)."""
VM, DC, TGE, CD, ID, E2H = 1, 1 << 12, 1 << 27, 1 << 32, 1 << 33, 1 << 34
M, C, I = 1, 1 << 2, 1 << 12  # noqa: E741


def test_the_printed_registers_read_as_the_mail_says():
    sctlr, tcr = fields("SCTLR_EL2", RFC_V2["sctlr"]), fields("TCR_EL2", RFC_V2["tcr"])
    assert (sctlr["M"], sctlr["A"], sctlr["C"], sctlr["I"], sctlr["WXN"], sctlr["IESB"]) == (1, 1, 1, 1, 0, 1)
    assert (tcr["T0SZ"], tcr["TG0"], tcr["PS"], tcr["SH0"], tcr["IRGN0"], tcr["ORGN0"]) == (16, 0, 4, 3, 1, 1)
    assert fields("MAIR_EL2", RFC_V2["mair"])["Attr4"] == 0xFF
    regime = Regime(el=2, **RFC_V2)
    assert (regime.name, regime.stage1, regime.stage2, regime.dcache, regime.icache) == ("EL2", True, False, True, True)
    assert (regime.t0sz, regime.t1sz, regime.walk_type, regime.output_bits) == (16, 0, MemoryType.NORMAL_WB, (44,))


def test_e2h_changes_the_layout_of_el2_registers():
    assert "IPS" in layout("TCR_EL2", e2h=True)
    assert "IPS" not in layout("TCR_EL2")
    regime = Regime(el=2, e2h=True, tcr=5 << 32 | 16 | 25 << 16, sctlr=M)
    assert (regime.name, regime.t0sz, regime.t1sz, len(regime.ranges)) == ("EL2&0", 16, 25, 2)


@pytest.mark.parametrize(
    "register", ["SCTLR_EL1", "SCTLR_EL2", "TCR_EL1", "TCR_EL2", "HCR_EL2", "VTCR_EL2", "MAIR_EL1"]
)
def test_fields_do_not_overlap_and_set_what_they_read(register):
    taken = 0
    for name, (lsb, width) in layout(register).items():
        mask = (1 << width) - 1 << lsb
        assert not taken & mask, name
        taken |= mask
        assert with_fields(register, 0, **{name: (1 << width) - 1}) == mask
        assert fields(register, with_fields(register, 2**64 - 1, **{name: 0}))[name] == 0


def test_unknown_registers_and_fields_are_refused():
    with pytest.raises(InputError, match="SCTLR_EL9"):
        fields("SCTLR_EL9", 0)
    with pytest.raises(InputError, match="no field 'Q'"):
        with_fields("SCTLR_EL1", 0, Q=1)
    with pytest.raises(InputError, match="does not fit its 1 bits"):
        with_fields("SCTLR_EL1", 0, M=2)


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        (0x00, "Device-nGnRnE"), (0x04, "Device-nGnRE"), (0x08, "Device-nGRE"), (0x0C, "Device-GRE"),
        (0x44, "Normal-NC"), (0xFF, "Normal-WB"), (0xBB, "Normal-WT"), (0xF0, "Normal-WB"), (0xF4, "Normal-NC"),
        (0xFB, "Normal-WT"), (0x77, "Normal-WB"), (0x33, "Normal-WT"), (0xEE, "Normal-WB"),
    ],
)  # fmt: skip
def test_mair_bytes(attribute, expected):
    assert attribute_type(attribute).label == expected


def test_the_compiled_mair_decoder_is_the_same():
    for byte in range(256):
        assert int(descriptors.attribute_type(byte)) == attribute_type(byte)


def test_stage_2_memory_attributes():
    names = [MemoryType(int(descriptors.stage2_type(memattr))).label for memattr in (0, 1, 2, 3, 5, 10, 15, 7, 13, 11)]
    assert names[:4] == ["Device-nGnRnE", "Device-nGnRE", "Device-nGRE", "Device-GRE"]
    assert names[4:] == ["Normal-NC", "Normal-WT", "Normal-WB", "Normal-NC", "Normal-NC", "Normal-WT"]


def test_walks_are_as_cacheable_as_the_weaker_of_irgn_and_orgn():
    assert walk_cacheability(1, 3) == MemoryType.NORMAL_WB
    assert walk_cacheability(2, 1) == MemoryType.NORMAL_WT
    assert walk_cacheability(1, 0) == MemoryType.NORMAL_NC


def test_walks_are_non_cacheable_without_the_data_cache():
    tcr = 1 << 8 | 1 << 10
    assert Regime(el=1, sctlr=M | C, tcr=tcr).walk_type == MemoryType.NORMAL_WB
    assert Regime(el=1, sctlr=M, tcr=tcr).walk_type == MemoryType.NORMAL_NC
    assert Regime(el=1, hcr=VM, vtcr=tcr).walk2_type == MemoryType.NORMAL_WB
    assert Regime(el=1, hcr=VM | CD, vtcr=tcr).walk2_type == MemoryType.NORMAL_NC


@pytest.mark.parametrize(
    ("sctlr", "hcr", "data", "fetch"),
    [
        (0, 0, MemoryType.DEVICE_NGNRNE, MemoryType.NORMAL_NC),
        (I, 0, MemoryType.DEVICE_NGNRNE, MemoryType.NORMAL_WT),
        (0, DC, MemoryType.NORMAL_WB, MemoryType.NORMAL_WB),
        (C | I, 0, MemoryType.DEVICE_NGNRNE, MemoryType.NORMAL_WT),
    ],
)
def test_what_an_access_is_with_stage_1_off(sctlr, hcr, data, fetch):
    regime = Regime(el=1, sctlr=sctlr, hcr=hcr)
    assert (regime.flat_type, regime.flat_fetch_type) == (data, fetch)
    assert regime.flat_shareability == (Shareability.NON if hcr else Shareability.OUTER)


def test_default_cacheable_belongs_to_el1_alone():
    assert Regime(el=2, hcr=DC).flat_type == MemoryType.DEVICE_NGNRNE
    assert not Regime(el=2, hcr=DC | VM).stage2
    assert Regime(el=1, hcr=DC, sctlr=M).stage2
    assert not Regime(el=1, hcr=DC, sctlr=M).stage1


def test_tge_leaves_el1_and_0_without_translation_or_hands_el0_to_el2():
    assert not Regime(el=0, hcr=TGE | VM, sctlr=M).stage1
    assert not Regime(el=0, hcr=TGE | VM, sctlr=M).stage2
    host = Regime(el=0, e2h=True, hcr=TGE | E2H | VM, sctlr=M)
    assert (host.name, host.stage1, host.stage2) == ("EL2&0", True, False)


def test_asid_and_vmid():
    tcr = 1 << 22 | 1 << 36
    regime = Regime(el=1, tcr=tcr, ttbr0=1 << 48, ttbr1=0xABCD << 48, hcr=VM, vttbr=0x123 << 48)
    assert (regime.asid, regime.vmid) == (0xABCD, 0x23)
    assert Regime(el=1, ttbr0=0x123 << 48).asid == 0x23
    assert Regime(el=2, ttbr0=0x123 << 48).asid == 0


def test_the_record_says_what_the_regime_says():
    row = Regime(el=2, **RFC_V2).to_record(EpochCause.SYSTEM_WRITE)
    assert (row["el"], row["stage1"], row["sctlr"], row["tcr"]) == (2, 1, RFC_V2["sctlr"], RFC_V2["tcr"])
    assert (row["flat_type"], row["walk_type"], row["cause"], row["granule_log2"]) == (0, 6, 1, 12)


def test_the_kernels_name_the_places_of_words_in_the_same_order():
    names = [name for name in vars(walk_words) if name.startswith("W_")]
    assert [name.removeprefix("W_").lower() for name in names] == list(WORDS)
    assert [getattr(walk_words, name) for name in names] == list(range(len(WORDS)))
    assert words(Regime(el=1)).dtype == np.int64


def test_the_kernels_codes_are_those_of_the_schema():
    for kind in (MemoryType.NORMAL_NC, MemoryType.NORMAL_WT, MemoryType.NORMAL_WB):
        assert getattr(walk_words, kind.name) == kind
    assert (walk_words.SH_NON, walk_words.SH_OUTER, walk_words.SH_INNER) == (0, Shareability.OUTER, Shareability.INNER)


@pytest.mark.parametrize("wrong", [{"el": 3}, {"el": 1, "pa_bits": 43}])
def test_impossible_regimes_are_refused(wrong):
    with pytest.raises(InputError, match="regime:"):
        Regime(**wrong)


@pytest.mark.parametrize(
    ("vtcr", "level"),
    [(24 | 1 << 6, 1), (20 | 2 << 6, 0), (24 | 0 << 6, -1), (33 | 2 << 6, -1), (16 | 2 << 6, -1), (24 | 3 << 6, -1)],
)
def test_where_stage_2_starts(vtcr, level):
    assert Regime(el=1, vtcr=vtcr).stage2_start_level == level
