"""TLBI: which entries of the TLBs and of the walk cache an operation names (Arm ARM D8.14, C5.5)."""

from caches.kernels.codes import (
    TLBI_ALLE1,
    TLBI_ALLE1IS,
    TLBI_ALLE2,
    TLBI_ALLE2IS,
    TLBI_ASIDE1,
    TLBI_OTHER,
    TLBI_VAALE1,
    TLBI_VAE1,
    TLBI_VAE2,
    TLBI_VALE1,
    TLBI_VALE2,
    TLBI_VMALLE1,
    TLBI_VMALLE1IS,
    TLBI_VMALLS12E1,
    TLBI_VMALLS12E1IS,
)
from caches.kernels.layout import ANY, ASID, LEAF, REGIME, SHIFT, TAG, WALK_REGIME
from caches.views import inlined

EVERY_EL1 = -2
"""Instead of a regime: EL1's under every VMID. They are even."""

# An operand's page is VA[55:12], its ASID the upper 16 bits.
PAGE_BITS = 44
PAGE_MASK = (1 << PAGE_BITS) - 1


@inlined
def is_of(held, regime):
    """Whether an entry's regime is meant."""
    return regime in (ANY, held) or (regime == EVERY_EL1 and held & 1 == 0)


@inlined
def is_named(s, index, regime, page, asid, with_global):
    """Whether an entry lies within what is named: a regime, a page or ANY, an ASID or ANY."""
    if not is_of(s["tlb"][index, REGIME], regime):
        return False
    if page != ANY:
        # Any page of a leaf names the whole leaf, in however many pieces the TLB keeps it.
        upper = s["tlb"][index, LEAF] - 12
        held = (s["tlb"][index, TAG] << s["tlb"][index, SHIFT]) >> 12
        if ((held ^ page) & PAGE_MASK) >> upper != 0:
            return False
    tag = s["tlb"][index, ASID]
    if asid in (ANY, tag):
        return True
    return tag < 0 and with_global == 1


@inlined
def drop(s, regime, page, asid, with_global, tables):
    """Drop the entries named, and with `tables` what the walk cache holds of their regime.

    By what VA a walk cache could find its entries no manual says: they all go.
    """
    for index in range(s["tlb_rows"]):
        if s["tlb"][index, SHIFT] != 0 and is_named(s, index, regime, page, asid, with_global):
            s["tlb"][index, SHIFT] = 0
    if tables == 0:
        return
    for at in range(s["walk_entries"]):
        if is_of(s["walk_cache"][at, WALK_REGIME], regime):
            s["walk_cache"][at, 0] = 0
            s["walk_cache"][at, 1] = 0


@inlined
def invalidate_tlbs(s, kind, operand):
    """Do what a TLBI of that kind does. `clock.el1_named` is the regime that names ending in E1 mean now."""
    page = operand & PAGE_MASK
    asid = (operand >> 48) & s["asid_mask"]
    tables = 1
    if kind in (TLBI_VALE1, TLBI_VAALE1, TLBI_VALE2):
        tables = 0
    if kind in (TLBI_VMALLE1, TLBI_VMALLE1IS):
        drop(s, s["el1_named"], ANY, ANY, 1, tables)
    elif kind in (TLBI_VMALLS12E1, TLBI_VMALLS12E1IS):
        drop(s, s["vm_regime"], ANY, ANY, 1, tables)
    elif kind in (TLBI_ALLE1, TLBI_ALLE1IS):
        drop(s, EVERY_EL1, ANY, ANY, 1, tables)
    elif kind in (TLBI_ALLE2, TLBI_ALLE2IS):
        drop(s, s["el2_regime"], ANY, ANY, 1, tables)
    elif kind == TLBI_OTHER:
        drop(s, ANY, ANY, ANY, 1, tables)
    elif kind == TLBI_ASIDE1:
        drop(s, s["el1_named"], ANY, asid, 0, tables)
    elif kind in (TLBI_VAE1, TLBI_VALE1):
        drop(s, s["el1_named"], page, asid, 1, tables)
    elif kind in (TLBI_VAE2, TLBI_VALE2):
        # EL2's own regime has no ASIDs; EL2&0 has.
        drop(s, s["el2_regime"], page, ANY if s["el2_regime"] == 1 else asid, 1, tables)
    else:
        drop(s, s["el1_named"], page, ANY, 1, tables)
