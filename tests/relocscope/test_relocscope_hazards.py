"""Every hazard: something that raises it, and a near miss that does not. Cases of history, and hand-written guests."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import guests
import numpy as np
import pytest
from guests import DATA, MORE, NORMAL, NORMAL_NC, RAM, RAM_BYTES, Guest
from synthetic import copy_trace

from emu.tables import SH_OUTER, TableBuilder
from relocscope.emulate import emulate_untimed
from relocscope.hazards import REGISTRY, hazards
from relocscope.operand import operand, with_settings
from traces.schema import RANGE, Role
from traces.trace import Trace

PAGE = 4096
FLAT, IMAGE = "br x30\n", {Role.DESTINATION: (DATA, PAGE), Role.RAM: (RAM, RAM_BYTES)}

Made = Callable[[Any], Trace]


def case(name: str, *, memory: str = "", segments: str = "", **settings: object) -> Made:
    """A case of history, small; `memory` and `segments` as text of such files."""

    def make(directory: Any) -> Trace:
        files = {}
        for key, text in (("image.memory_map", memory), ("image.segments", segments)):
            if text:
                path = directory / f"{key}.toml"
                path.write_text(text)
                files[key] = str(path)
        given = {key.replace("__", "."): value for key, value in settings.items()}
        subject = with_settings(operand(name), {"size": "1MiB", **files, **given})
        assert subject.case is not None
        return emulate_untimed(subject.case)

    return make


def guest(source: str, *, ranges: dict[Role, tuple[int, int]] | None = None, **options: Any) -> Made:
    """A guest of tests/emu/guests.py that ends at END, with ranges: by default DATA's page is the image."""

    def make(_directory: Any) -> Trace:
        rows = np.zeros(len(ranges or IMAGE), RANGE)
        for row, (role, (pa, size)) in zip(rows, (ranges or IMAGE).items(), strict=True):
            row["role"], row["pa"], row["size"] = role, pa, size
        trace = Guest(source, **options).run().trace
        entry = {"el": 1, "pc": guests.END, "mmu": False, "x0": 0, "x1": 0, "x2": 0, "x3": 0}
        return replace(trace, ranges=rows, meta={**trace.meta, "entry": entry})

    return make


def cached(guest: Guest) -> None:
    """EL1 translates, everything Normal-WB."""
    guest.translate_el1(guest.identity())
    guest.cpu.x[1] = DATA


def flat(guest: Guest) -> None:
    guest.cpu.x[1] = DATA


def every_line(operation: str, lines: range = range(64)) -> str:
    """The operation upon X3, line by line, written out."""
    return "mov x3, x1\n" + "".join(f"{operation}\n add x3, x3, #{64 * lines.step}\n" for _ in lines)


CACHES_OFF = "mrs x2, sctlr_el1\n bic x2, x2, #1\n bic x2, x2, #4\n msr sctlr_el1, x2\n isb\n"
STORE_PAGE = every_line("stp xzr, xzr, [x3]")
EVENLY = "add x1, x1, #64\n".join(every_line(f"dc {each}, x3", range(0, 64, 2)) for each in ("civac", "cvac"))


def kimage(*order: str) -> str:
    """Read from struct kimage at DATA, and copy over it, in this order."""
    return "".join({"read": "ldr x5, [x1, #24]\n", "copy": "str x1, [x1, #16]\n"}[each] for each in order) + FLAT


def subroutine(*order: str) -> str:
    """Call code at DATA, and copy over it (the same instruction, so that it still runs), in this order."""
    words = {"call": "mov x9, x30\n blr x1\n mov x30, x9\n", "copy": "ldr x5, [x1]\n str x5, [x1]\n dsb sy\n isb\n"}
    return "".join(words[each] for each in order) + FLAT


def has_code(guest: Guest) -> None:
    guest.cpu.x[1] = DATA
    guest.place(DATA, "nop\n ret\n")


def two_upper(attributes: int = NORMAL, page: int = MORE) -> Callable[[Guest], None]:
    """X1, X2: TTBR1 tables that map one VA, the second as told; X3: one that maps nothing."""

    def prepare(guest: Guest) -> None:
        def upper(*maps: tuple[int, int, int, int]) -> TableBuilder:
            tables = guest.tables()
            for each in maps:
                tables.map(*each)
            return tables

        va = 0xFFFF_0000_0000_0000
        first = upper((va, MORE, PAGE, NORMAL))
        guest.cpu.x[1], guest.cpu.x[2] = first.ttbr, upper((va, page, PAGE, attributes)).ttbr
        guest.cpu.x[3] = upper().ttbr
        guest.translate_el1(guest.identity(), first)

    return prepare


SWITCH = "msr ttbr1_el1, x2\n isb\n" + FLAT
BREAK_BEFORE_MAKE = "msr ttbr1_el1, x3\n isb\n tlbi vmalle1\n dsb nsh\n" + SWITCH
TOO_EARLY = "tlbi vmalle1\n dsb nsh\n" + SWITCH


def aliased(attributes: int) -> Callable[[Guest], None]:
    """DATA through TTBR0 as Normal-WB, inner shareable, and through TTBR1 as told."""

    def prepare(guest: Guest) -> None:
        upper = guest.tables()
        upper.map(0xFFFF_0000_0000_0000, DATA, PAGE, attributes)
        guest.translate_el1(guest.identity(), upper)

    return prepare


def reaching(first: int, size: int) -> Callable[[Guest], None]:
    """RAM in pages, and one 2 MiB block (or page) more."""

    def prepare(guest: Guest) -> None:
        tables = guest.identity()
        tables.map(first, first, size, NORMAL)
        guest.translate_el1(tables)

    return prepare


def memory_map(ram: str = "1GiB", base: int = 0x8000_0000, extra: str = "") -> str:
    return f"""
        [[memory]]
        kind = "ram"
        pa = {base:#x}
        size = "{ram}"
        [[memory]]
        kind = "kernel-code"
        pa = {base + 0x80000:#x}
        size = "1MiB"
        [[memory]]
        kind = "kernel-data"
        pa = {base + 0x180000:#x}
        size = "1MiB"
        {extra}
    """


def region(kind: str, pa: int, size: str = "2MiB") -> str:
    return f'[[memory]]\nkind = "{kind}"\npa = {pa:#x}\nsize = "{size}"\n'


def segments(*pas: int, size: str = "64KiB") -> str:
    return "".join(f'[[segment]]\nname = "s{pa:x}"\npa = {pa:#x}\nsize = "{size}"\n' for pa in pas)


NOMAP = {"memory": memory_map(extra=region("nomap", 0xA000_0000)), "segments": segments(0x8008_0000)}
NO_ACCESS = {"memory": memory_map(extra=region("no-access", 0xA000_0000)), "segments": segments(0x8008_0000)}
OUTSIDE = {"memory": memory_map(), "segments": segments(0x8008_0000, 0x1_0000_0000)}
INSIDE = {"memory": memory_map(), "segments": segments(0x8008_0000, 0xB000_0000)}
SEATTLE = {"memory": memory_map(base=0x80_0000_0000), "segments": segments(0x80_0008_0000)}
ROUNDED = {"memory": memory_map(ram="1049MiB"), "segments": segments(0x8008_0000)}

HERE = (RAM, RAM_BYTES)
TABLE: dict[str, tuple[Made, Made]] = {
    "xn-at-el2": (case("rfc-v2-nvhe"), case("rfc-v2-nvhe-xn-clear")),
    "idmap-out-of-reach": (
        case("rfc-v2-el1", **SEATTLE, map__va_bits=39),
        case("rfc-v2-el1", **SEATTLE),
    ),
    "kimage-overwritten": (
        guest(kimage("copy", "read"), prepare=flat, ranges={**IMAGE, Role.KIMAGE: (DATA, 64)}),
        guest(kimage("read", "copy"), prepare=flat, ranges={**IMAGE, Role.KIMAGE: (DATA, 64)}),
    ),
    "code-overwritten": (
        guest(subroutine("copy", "call"), prepare=has_code),
        guest(subroutine("call", "copy"), prepare=has_code),
    ),
    "live-tables-overwritten": (case("rfc-v1-el1"), case("v5.17-el1")),
    "invalidate-lost-dirty": (
        guest("str x1, [x1]\n dc ivac, x1\n" + FLAT, prepare=cached),
        guest("str x1, [x1]\n dc cvac, x1\n dc ivac, x1\n" + FLAT, prepare=cached),
    ),
    "dirty-at-entry": (case("rfc-v1-el1"), case("v5.17-el1")),
    "partial-page-maintenance": (
        guest(STORE_PAGE + "dc civac, x1\n" + FLAT, prepare=cached),
        guest(STORE_PAGE + every_line("dc civac, x3") + FLAT, prepare=cached),
    ),
    "break-before-make": (
        guest(SWITCH, prepare=two_upper(page=DATA)),
        guest(BREAK_BEFORE_MAKE, prepare=two_upper(page=DATA)),
    ),
    "mair-index-mismatch": (case("rfc-v1-el1", map__mair=0x4_0044_FFFF), case("rfc-v1-el1")),
    "destination-outside-ram": (case("v4.19-nvhe", **OUTSIDE), case("v4.19-nvhe", **INSIDE)),
    "nomap-cacheable": (case("rfc-v1-el1", **NOMAP), case("v5.17-el1", **NOMAP)),
    "no-access-mapped": (case("rfc-v1-el1", **NO_ACCESS), case("v5.17-el1", **NO_ACCESS)),
    "unaligned-device": (
        guest("add x1, x1, #1\n ldr x2, [x1]\n" + FLAT, prepare=flat),
        guest("add x1, x1, #1\n ldr x2, [x1]\n" + FLAT, prepare=cached),
    ),
    "zva-on-device": (guest("dc zva, x1\n" + FLAT, prepare=flat), guest("dc zva, x1\n" + FLAT, prepare=cached)),
    "mismatched-attributes": (
        guest(FLAT, prepare=aliased(NORMAL_NC)),
        guest(FLAT, prepare=aliased(NORMAL)),
    ),
    "unknown-region-mapped": (
        guest(FLAT, prepare=reaching(RAM + (1 << 30), 2 << 20)),
        guest(FLAT, prepare=reaching(RAM + (1 << 30), 2 << 20), ranges={Role.RAM: (RAM, 2 << 30)}),
    ),
    "leaf-rounding": (case("rfc-v1-el1", **ROUNDED), case("v5.17-el1", **ROUNDED)),
    "copy-el-differs": (case("rfc-v1-nvhe"), case("v4.19-nvhe")),
    "entry-el-differs": (case("rfc-v2-el1"), case("rfc-v2-nvhe-xn-clear")),
    "kdump-built-tables": (case("rfc-v1-nvhe", kdump=1), case("rfc-v2-nvhe", kdump=1)),
    "clean-to-pou-only": (
        guest("str x1, [x1]\n dc cvau, x1\n" + FLAT, prepare=cached),
        guest("str x1, [x1]\n dc cvau, x1\n dc cvac, x1\n" + FLAT, prepare=cached),
    ),
    "set-way-maintenance": (case("rfc-v2-nvhe-xn-clear"), case("v5.17-nvhe")),
    "self-copy-invalidated": (case("v4.19-nvhe"), case("v4.19-nvhe", image__self_copies=0)),
}


def test_the_table_has_every_hazard_and_no_other():
    assert set(TABLE) == set(REGISTRY)
    assert len(REGISTRY) == 24


@pytest.mark.parametrize("name", TABLE)
def test_it_is_raised_and_a_near_miss_is_not(name, tmp_path):
    raises, near_miss = TABLE[name]
    found = {each["id"]: each for each in hazards(raises(tmp_path))}
    assert name in found
    assert found[name]["severity"] == REGISTRY[name].severity
    assert all(found[name][key] for key in ("title", "where", "evidence"))
    assert name not in [each["id"] for each in hazards(near_miss(tmp_path))]


def narrow(guest: Guest) -> None:
    """TTBR0 with 36 bits."""
    tables = guest.tables(va_bits=36)
    tables.map(RAM, RAM, RAM_BYTES, NORMAL, PAGE)
    guest.translate_el1(tables)
    guest.cpu.sysreg["TCR_EL1"] = guests.TCR_EL1 & ~63 | 28


def folded(by: int) -> Callable[[Guest], None]:
    """TTBR0 with 36 bits that maps one page of its own to itself plus `by`: p?d_index() masks what it is given."""

    def prepare(guest: Guest) -> None:
        tables = guest.tables(va_bits=36)
        tables.map(RAM, RAM, RAM_BYTES, NORMAL, PAGE)
        tables.map(0x2_0000_0000, 0x2_0000_0000 + by, PAGE, NORMAL, PAGE)
        guest.translate_el1(tables)
        guest.cpu.sysreg["TCR_EL1"] = guests.TCR_EL1 & ~63 | 28

    return prepare


def over_tables(guest: Guest) -> None:
    """As `two_upper`, with X1 at the second table's first page and the first TTBR1 in X2, the second in X3."""
    two_upper(page=DATA)(guest)
    first, second = guest.cpu.x[1], guest.cpu.x[2]
    guest.cpu.x[1], guest.cpu.x[2], guest.cpu.x[3] = second, first, second


THERE = "msr ttbr1_el1, x3\n isb\n tlbi vmalle1\n dsb nsh\n"
BACK = "msr ttbr1_el1, x2\n isb\n tlbi vmalle1\n dsb nsh\n"


def only_second(source: str) -> Made:
    """The source, with all the memory of the second TTBR1 table as the image."""

    def make(directory: Any) -> Trace:
        trace = guest(source, prepare=over_tables)(directory)
        # Both tables are known; the second is the one whose rows came later.
        pages = trace.table_pages[(trace.table_pages["ttbr"] == 1) & (trace.table_pages["epoch"] > 0)][:1]
        rows = trace.ranges.copy()
        row = rows[rows["role"] == Role.DESTINATION]
        row["pa"], row["size"] = pages["pa"], PAGE
        rows[rows["role"] == Role.DESTINATION] = row
        return replace(trace, ranges=rows)

    return make


MORE_THAT_RAISE: dict[str, tuple[str, Made]] = {
    "a shareability alone": ("mismatched-attributes", guest(FLAT, prepare=aliased(NORMAL & ~(3 << 8) | SH_OUTER))),
    "a store past the caches after one through them": (
        "mismatched-attributes",
        guest(f"str x1, [x1]\n{CACHES_OFF} str x1, [x1]\n" + FLAT, prepare=cached),
    ),
    "a type alone": ("break-before-make", guest(SWITCH, prepare=two_upper(NORMAL_NC))),
    "a TLBI before the switch": ("break-before-make", guest(TOO_EARLY, prepare=two_upper(page=DATA))),
    "stored past the caches unprepared": ("invalidate-lost-dirty", guest("str x1, [x1]\n" + FLAT, prepare=flat)),
    "the list": (
        "kimage-overwritten",
        guest(kimage("copy", "read"), prepare=flat, ranges={**IMAGE, Role.LIST: (DATA, PAGE)}),
    ),
    "the argument page": (
        "kimage-overwritten",
        guest(kimage("copy", "read"), prepare=flat, ranges={**IMAGE, Role.ARGUMENT: (DATA, PAGE)}),
    ),
    "a destination in nomap memory": (
        "destination-outside-ram",
        case("v4.19-nvhe", memory=NOMAP["memory"], segments=segments(0x8008_0000, 0xA000_0000)),
    ),
    "a nomap piece of a block": (
        "leaf-rounding",
        case("rfc-v1-el1", memory=memory_map(extra=region("nomap", 0xA000_0000, "64KiB")),
             segments=segments(0x8008_0000)),
    ),
    "a leaf that wraps around, touched by nothing": (
        "idmap-out-of-reach",
        guest(FLAT, prepare=folded(1 << 36)),
    ),
    "tables that came back into force": ("live-tables-overwritten", only_second(THERE + "str xzr, [x1]\n" + FLAT)),
    "tables of 39 bits with T0SZ alone": (
        "idmap-out-of-reach",
        case("rfc-v1-el1", **SEATTLE, map__va_bits=39),
    ),
    "an address that TTBR0 cannot reach": (
        "idmap-out-of-reach",
        guest("mov x2, #0x2100000000\n ldr x3, [x2]\n" + FLAT, prepare=narrow,
              ranges={**IMAGE, Role.RAM: (RAM, 1 << 40)}),
    ),
}  # fmt: skip

MORE_THAT_DO_NOT: dict[str, tuple[str, Made]] = {
    "the same page and type": ("break-before-make", guest(SWITCH, prepare=two_upper())),
    "prepared by an invalidate": ("invalidate-lost-dirty", guest("dc ivac, x1\n str x1, [x1]\n" + FLAT, prepare=flat)),
    "other bytes of the same page": (
        "kimage-overwritten",
        guest(kimage("copy", "read"), prepare=flat, ranges={**IMAGE, Role.KIMAGE: (DATA + 64, 64)}),
    ),
    "unaligned, and SCTLR.A asks for it": (
        "unaligned-device",
        guest("mrs x2, sctlr_el1\n orr x2, x2, #2\n msr sctlr_el1, x2\n isb\n add x1, x1, #1\n ldr x2, [x1]\n" + FLAT,
              prepare=cached),
    ),
    "a leaf that leads elsewhere": ("idmap-out-of-reach", guest(FLAT, prepare=folded(1 << 37 | PAGE))),
    "tables that are no longer in force": (
        "live-tables-overwritten",
        only_second(THERE + BACK + "str xzr, [x1]\n" + FLAT),
    ),
    "tables of a regime that is off by then": (
        "live-tables-overwritten",
        only_second(THERE + CACHES_OFF + "str xzr, [x1]\n" + FLAT),
    ),
    "code that runs before its turn to be overwritten": (
        "code-overwritten",
        guest("str xzr, [x1, #2048]\n" + subroutine("call", "copy"), prepare=has_code),
    ),
    "tables for a copy that there is": ("kdump-built-tables", case("v5.17-nvhe")),
    "an abort that is no alignment fault": (
        "unaligned-device",
        guest("mov x2, #0x2100000000\n ldr x3, [x2]\n" + FLAT, prepare=cached),
    ),
    "a nomap region": ("unknown-region-mapped", case("rfc-v1-el1", **NOMAP)),
    "flat, with tables elsewhere": ("live-tables-overwritten", case("rfc-v1-nvhe")),
    "a nomap region that is Device": (
        "nomap-cacheable",
        guest(FLAT, prepare=lambda g: g.translate_el1(g.identity(guests.DEVICE)),
              ranges={**IMAGE, Role.NOMAP: (MORE, PAGE)}),
    ),
    "an abort at an address that is no RAM": (
        "idmap-out-of-reach",
        guest("mov x2, #0x2100000000\n ldr x3, [x2]\n" + FLAT, prepare=narrow),
    ),
    "all lines by two instructions": (
        "partial-page-maintenance",
        guest(STORE_PAGE + EVENLY + FLAT, prepare=cached),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MORE_THAT_RAISE)
def test_other_ways_to_raise_one(name, tmp_path):
    hazard, make = MORE_THAT_RAISE[name]
    assert hazard in [each["id"] for each in hazards(make(tmp_path))]


@pytest.mark.parametrize("name", MORE_THAT_DO_NOT)
def test_other_near_misses(name, tmp_path):
    hazard, make = MORE_THAT_DO_NOT[name]
    assert hazard not in [each["id"] for each in hazards(make(tmp_path))]


def test_evidence_counts_the_pages_in_place_and_no_others(tmp_path):
    found = {each["id"]: each for each in hazards(case("v4.19-nvhe")(tmp_path))}
    assert found["self-copy-invalidated"]["evidence"].startswith("4 pages")


def test_under_stage_2_an_invalidate_at_el1_cleans():
    trace = guest("str x1, [x1]\n dc ivac, x1\n" + FLAT, prepare=cached)(None)
    epochs = trace.epochs.copy()
    epochs["stage2"] = 1
    assert "invalidate-lost-dirty" not in [each["id"] for each in hazards(replace(trace, epochs=epochs))]


def test_errors_come_first_and_each_once(tmp_path):
    found = hazards(case("rfc-v1-el1", **NOMAP)(tmp_path))
    severities = [each["severity"] for each in found]
    assert severities == sorted(severities, key=("error", "warning", "info").index)
    assert len({each["id"] for each in found}) == len(found)


def test_what_no_map_says_is_not_judged_by_it():
    """A trace without RAM ranges (an ELF guest, a synthetic one) has nothing that its tables could lie outside of."""
    bare = copy_trace(pages=1, el=1, on=True)
    ids = [each["id"] for each in hazards(bare)]
    assert not {"unknown-region-mapped", "leaf-rounding", "destination-outside-ram"} & set(ids)


def test_a_trace_file_has_the_same_hazards_as_the_run(tmp_path):
    from traces.files import load, save

    for name in ("rfc-v1-el1", "rfc-v2-nvhe", "v4.19-nvhe"):
        trace = case(name)(tmp_path)
        save(trace, tmp_path / "run.trace")
        assert hazards(load(tmp_path / "run.trace")) == hazards(trace)


def test_code_beyond_the_end_of_the_relocation_may_lie_in_the_image():
    from traces.schema import MARK, Mark, Phase

    trace = guest(subroutine("copy", "call"), prepare=has_code)(None)
    marks = np.concatenate([trace.marks, np.zeros(1, MARK)])
    marks[-1]["kind"], marks[-1]["a"], marks[-1]["at"] = Mark.PHASE, Phase.PURGATORY, 1
    assert "code-overwritten" not in [each["id"] for each in hazards(replace(trace, marks=np.sort(marks, order="at")))]
