"""Every hazard by its id: how bad it is, what it means, the rule that is broken, and who says so."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SEVERITIES = ("error", "warning", "info")
"""error: image or machine are at risk. warning: it depends on what else holds. info: worth knowing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hazard:
    """One way for a relocation to go wrong."""

    id: str
    severity: str
    title: str
    """What is wrong, in one sentence without its end."""
    rule: str
    """When it is raised."""
    source: str
    """The review, commit or section of the Arm ARM (DDI 0487) that the rule is from."""
    example: str
    """What raises it, and what nearly does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A hazard in one run."""

    id: str
    where: str
    """Address, symbol or range."""
    evidence: str

    def to_json(self) -> dict[str, Any]:
        """Return it as `run --json` carries it."""
        hazard = REGISTRY[self.id]
        return {
            "id": self.id,
            "severity": hazard.severity,
            "title": hazard.title,
            "where": self.where,
            "evidence": self.evidence,
        }


_ALL = (
    Hazard(
        id="xn-at-el2",
        severity="error",
        title="code mapped with bit 54 set cannot be executed at EL2: where E2H is 0, UXN is XN",
        rule="a fetch at EL2 with HCR_EL2.E2H=0 and SCTLR_EL2.WXN=0 ends in a permission fault",
        source="Arm ARM D8.4 (bit 54 is XN in a regime without EL0, bit 53 is ignored); the freeze of RFC v2",
        example="`relocscope check rfc-v2-nvhe`; not `rfc-v2-nvhe-xn-clear`",
    ),
    Hazard(
        id="idmap-out-of-reach",
        severity="error",
        title="an identity mapping lies beyond what TCR.T0SZ lets TTBR0 translate",
        rule="a TTBR0 table maps a PA of 1 << (64-T0SZ) or more at that PA's low bits; or an address of RAM "
        "beyond that, or beyond the kernel's own VA size (T1SZ), faults in translation",
        source="James Morse, 17 July 2019 (J7; AMD Seattle has no RAM below 1 << 39); commit dd006da21646f",
        example="`rfc-v1-el1` with `map.va_bits=39` and all RAM above 1 << 39; not with 48 bits",
    ),
    Hazard(
        id="kimage-overwritten",
        severity="error",
        title="what the routine still had to read was overwritten by the copy itself",
        rule="a load from struct kimage, its list or the argument page reads a line that the run has stored to, as a "
        "destination, before",
        source="Mark Rutland, 16 May 2022 (eb3d8ea3e1f0, fixed in 5.18)",
        example="struct kimage inside a destination and a routine that reads `start` after its loop; not one "
        "that reads it first",
    ),
    Hazard(
        id="code-overwritten",
        severity="error",
        title="code or vectors were overwritten by the copy, and then run",
        rule="instructions are executed, before purgatory, out of a destination that the run has stored to before",
        source="control pages are allocated outside every destination for this (kernel/kexec_core.c, "
        "kimage_alloc_normal_control_pages); Marc Zyngier, review of v14 (a copied vector must not leave its page)",
        example="a vector table inside a destination, called after the copy; not one called before it",
    ),
    Hazard(
        id="live-tables-overwritten",
        severity="error",
        title="page tables that are in use are overwritten by the copy",
        rule="a destination covers memory of the tables that TTBR0 or TTBR1 reach under the regime of the copy",
        source="James Morse, 17 July 2019 (J6): a walker reads junk, touches what is no memory, and may cache it",
        example="`relocscope check rfc-v1-el1`, whose TTBR1 stays at the old kernel's tables; not `v5.17-el1`",
    ),
    Hazard(
        id="invalidate-lost-dirty",
        severity="error",
        title="lines of the image lose their newest data: invalidated while dirty, or overwritten by older dirty ones",
        rule="DC IVAC (not upgraded by HCR_EL2.VM or DC) of a line last stored as Normal-WB; or a store past the "
        "caches to a line that the old kernel may have left dirty and nothing invalidated",
        source="Arm ARM, DC IVAC; Pingfan Liu and others, 2021: v12 hung on ThunderX2, v13 has civac",
        example="`str`, `dc ivac`; not `str`, `dc cvac`, `dc ivac`",
    ),
    Hazard(
        id="dirty-at-entry",
        severity="error",
        title="the new kernel starts uncached while lines of its image may be only in caches",
        rule="lines of a destination were stored as Normal-WB, not cleaned to the PoC by address afterwards, and the "
        "new kernel is entered with SCTLR.M=0",
        source="Documentation/arch/arm64/booting.rst: the image must be clean to the PoC; Arm ARM, point of coherency",
        example="`relocscope check rfc-v1-el1`; not `v5.17-el1`",
    ),
    Hazard(
        id="partial-page-maintenance",
        severity="error",
        title="only some lines of a page of the image were maintained by address",
        rule="of a destination page that the run stored to, some lines were cleaned or invalidated to the PoC and "
        "others never",
        source="the line macro took (start, size) until 5.13 and takes (start, end) from 5.14: v13..v15 with newer "
        "headers clean one line a page",
        example="`dc civac` of the first line of each page; not of all 64",
    ),
    Hazard(
        id="break-before-make",
        severity="error",
        title="a valid translation was replaced by another one without break-before-make",
        rule="tables come into force that map a VA to another PA, type, block size or scope than tables in force since "
        "the last TLBI of that regime did",
        source="Arm ARM, break-before-make; the kernel's break_before_make_ttbr_switch cites DDI 0487A.i D4.7.1",
        example="TTBR1 from one table to another; not by way of an empty one and `tlbi vmalle1`",
    ),
    Hazard(
        id="mair-index-mismatch",
        severity="error",
        title="memory of the relocation is mapped with an AttrIndx that this MAIR makes Device memory",
        rule="a valid leaf over RAM that holds code, list, sources or destinations selects a Device attribute",
        source="MAIR_EL1 was reordered in 5.10: index 4 is Normal-WB in 5.3 and Device-nGnRE in 5.17",
        example="`relocscope check rfc-v1-el1 --set map.mair=0x40044ffff`; not with its own MAIR",
    ),
    Hazard(
        id="destination-outside-ram",
        severity="error",
        title="a segment is to be copied to where there is no usable RAM",
        rule="a destination is not contained in RAM less nomap and no-access regions",
        source="James Morse, 17 July 2019 (J5)",
        example="a segment where /proc/iomem has no System RAM, or a top-level reserved",
    ),
    Hazard(
        id="nomap-cacheable",
        severity="error",
        title="a nomap region has a cacheable mapping",
        rule="a valid leaf of Normal-WB or Normal-WT memory, of tables in force, covers memory that is marked nomap",
        source="James Morse, 17 July 2019 (J1); Arm ARM B2.7: any cacheable mapping may be read speculatively",
        example="`rfc-v1-el1` on a machine with a nomap region; not `v5.17-el1` there",
    ),
    Hazard(
        id="no-access-mapped",
        severity="error",
        title="memory that aborts when it is touched is mapped",
        rule="a valid leaf, of any type, of tables in force covers memory that must not be accessed",
        source="James Morse, 17 July 2019 (J2; the bottom page of AMD Seattle)",
        example="`rfc-v1-el1` on a machine whose first page aborts; not `v5.17-el1` there",
    ),
    Hazard(
        id="unaligned-device",
        severity="error",
        title="an access to Device memory is not aligned",
        rule="a load or store that is not aligned to its element faults, and not for SCTLR.A",
        source="Arm ARM B2.7.2: Device memory has no unaligned access",
        example="`ldr x0, [x1]` with x1 odd and the MMU off; not with it on",
    ),
    Hazard(
        id="zva-on-device",
        severity="error",
        title="DC ZVA to Device memory, which faults",
        rule="DC ZVA ends in an alignment fault",
        source="Arm ARM, DC ZVA: an alignment fault for any type of Device memory",
        example="`dc zva` with the MMU off; not with it on",
    ),
    Hazard(
        id="mismatched-attributes",
        severity="warning",
        title="one location has two memory types at once",
        rule="tables in force map a PA with two memory types, or twice cacheable with different shareability; or a "
        "line is stored past the caches straight after a store through them",
        source="Arm ARM B2.8 (mismatched memory attributes): coherency is lost until the line is maintained",
        example="a page through TTBR0 as Normal-WB and through TTBR1 as Normal-NC; not twice as Normal-WB",
    ),
    Hazard(
        id="unknown-region-mapped",
        severity="warning",
        title="memory that nobody declared is mapped cacheable",
        rule="a valid cacheable leaf, of tables in force, has no RAM under it at all, nor nomap or no-access memory",
        source="James Morse, 17 July 2019 (J3)",
        example="a cacheable block at 0x80000000 where RAM is at 0x40000000 alone",
    ),
    Hazard(
        id="leaf-rounding",
        severity="warning",
        title="a block is larger than the RAM that it is for, and maps what lies beside it",
        rule="a valid cacheable leaf, of tables in force, covers both RAM and something else",
        source="James Morse, 17 July 2019 (J4)",
        example="`rfc-v1-el1` on a machine whose RAM ends inside 2 MiB; not where it ends at a multiple",
    ),
    Hazard(
        id="copy-el-differs",
        severity="warning",
        title="the copy runs at another exception level than the one whose translation is on",
        rule="the regime of the copy does not translate, and that of another level, as its code left it, does",
        source="James Morse, 17 and 26 July 2019 (J8)",
        example="`relocscope check rfc-v1-nvhe`, the founding question; not `v4.19-nvhe`",
    ),
    Hazard(
        id="entry-el-differs",
        severity="warning",
        title="the machine booted at EL2 and the new kernel is entered below it: it has no hypervisor any more",
        rule="booted at EL2, entered at EL1",
        source="James Morse, 17 July 2019 (J9)",
        example="`relocscope check rfc-v2-el1`; not `rfc-v2-nvhe-xn-clear`",
    ),
    Hazard(
        id="kdump-built-tables",
        severity="warning",
        title="tables were built for a crash kernel, for which nothing is copied",
        rule="there is no list (head is IND_DONE) and there are tables outside the old kernel's image",
        source="James Morse, 17 July 2019 (J10)",
        example="`relocscope check rfc-v1-nvhe --set kdump=1`; not `rfc-v2-nvhe` with it",
    ),
    Hazard(
        id="clean-to-pou-only",
        severity="warning",
        title="the image is cleaned to the PoU; an uncached reader needs the PoC",
        rule="lines stored as Normal-WB were cleaned by DC CVAU, and none by an operation to the PoC",
        source="Arm ARM, points of coherency and unification; PATCH v1..v11",
        example="`str`, `dc cvau`; not with a `dc cvac` after it",
    ),
    Hazard(
        id="set-way-maintenance",
        severity="warning",
        title="maintenance by set and way reaches this core's own level only, and no system cache",
        rule="DC ISW, CSW or CISW is executed",
        source="Mark Rutland, 31 July 2019 (review of RFC v2); Arm ARM, maintenance by set/way",
        example="`relocscope check rfc-v2-nvhe-xn-clear`; not `v5.17-nvhe`",
    ),
    Hazard(
        id="self-copy-invalidated",
        severity="warning",
        title="a page that is in place already is invalidated before it is read: only a clean by its loader saves it",
        rule="a page that is its own destination is invalidated by DC IVAC with nothing cleaning it in this run before",
        source="the routine up to 5.15, which relies on kexec_list_flush() having cleaned every source to the PoC",
        example="`relocscope check v4.19-nvhe`; not with `--set image.self_copies=0`",
    ),
)

REGISTRY: Mapping[str, Hazard] = {hazard.id: hazard for hazard in _ALL}
"""Worst first, within a severity by how surely it ends the reboot."""
