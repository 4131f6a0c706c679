"""Does a Trace keep the promises of `traces.schema` and `traces.trace`? Everything that reads one may rely on them."""

import json
from collections.abc import Callable, Iterator, Mapping
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traces.expand import NO_TYPE, chunks
from traces.schema import (
    BLOCK,
    EPOCH,
    EXCEPTION,
    INSN,
    MAPPING,
    MARK,
    NO_REGISTER,
    RANGE,
    TABLE_PAGE,
    TRANSLATION,
    WALK_READ,
    Access,
    Barrier,
    EpochCause,
    InsnClass,
    InsnFlag,
    Maintenance,
    Mark,
    MemoryType,
    Phase,
    Role,
    Shareability,
)
from traces.trace import Trace
from traces.translated import doubtful, executed_blocks

ARRAYS: dict[str, np.dtype[np.generic]] = {
    "insns": INSN,
    "blocks": BLOCK,
    "executions": np.dtype("<u4"),
    "values": np.dtype("<u8"),
    "epochs": EPOCH,
    "translations": TRANSLATION,
    "walk_reads": WALK_READ,
    "exceptions": EXCEPTION,
    "marks": MARK,
    "ranges": RANGE,
    "mappings": MAPPING,
    "table_pages": TABLE_PAGE,
}
"""The arrays of a Trace and their record types, in the order in which they are checked and stored."""

_MOVES_DATA = (Access.LOAD, Access.STORE, Access.LOAD_STORE, Access.ZERO)
_VALID_REGISTERS = np.array([*range(33), *range(64, 96), NO_REGISTER], np.uint8)


def check(trace: Trace) -> list[str]:
    """List the promises that this trace breaks, one sentence each; empty when it keeps all.

    Structure first: when a reference points outside its array, only that is reported, since nothing else can be asked.
    """
    for stage in (_shapes, _references, _meanings, _addresses):
        broken = list(stage(trace))
        if broken:
            return broken
    return []


def _first(wrong: NDArray[np.bool_]) -> int:
    return int(np.argmax(wrong))


def _rows(name: str, wrong: Any, promise: str) -> Iterator[str]:
    """One sentence naming the first row that breaks the promise, and how many more do."""
    if len(wrong) and wrong.any():
        more = int(wrong.sum()) - 1
        yield f"{name}[{_first(wrong)}]: {promise}" + (f" (and {more} more rows)" if more else "")


def _in_enum(name: str, values: NDArray[np.generic], field: str, kind: type[IntEnum]) -> Iterator[str]:
    yield from _rows(name, ~np.isin(values, [int(v) for v in kind]), f"{field} must be a value of {kind.__name__}")


def _shapes(trace: Trace) -> Iterator[str]:
    for name, dtype in ARRAYS.items():
        array = getattr(trace, name)
        if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype != dtype:
            yield f"{name}: must be a one-dimensional array of {dtype}"
    try:
        json.dumps(dict(trace.meta), allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        yield "meta: must be JSON-able"
        return
    yield from _meta(trace.meta)


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 64


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool)


def _facts(**kinds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Make a rule for null, or an object that has at least these facts."""
    return lambda value: (
        value is None
        or (isinstance(value, Mapping) and all(key in value and rule(value[key]) for key, rule in kinds.items()))
    )


def _is_symbols(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(_is_number, value.values()))


def _is_geometry(value: Any) -> bool:
    pairs = isinstance(value, list) and len(value) <= 7 and all(isinstance(p, list) and len(p) == 2 for p in value)
    return pairs and all(_is_number(number) and 0 < number <= 1 << 24 for pair in value for number in pair)


_REGISTERS = dict.fromkeys(("pc", "x0", "x1", "x2", "x3"), _is_number)
_META: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "routine": (_facts(name=_is_text, sha256=_is_text, source=_is_text), "name, sha256 and source"),
    "boot": (_is_text, "text"),
    "outcome": (lambda value: value in ("completed", "hang", "fault", "budget"), "completed, hang, fault or budget"),
    "fault": (
        _facts(**dict.fromkeys(("el", "ec", "iss", "esr", "far", "elr"), _is_number), reason=_is_text, where=_is_text),
        "null, or el, ec, iss, esr, far, elr as numbers, and reason and where as text",
    ),
    "entry": (_facts(el=_is_number, mmu=_is_truth, **_REGISTERS), "null, or el, pc, x0..x3 as numbers, and mmu"),
    "image_ok": (_is_truth, "true or false"),
    "image_bytes": (_is_number, "a number"),
    "pages": (_is_number, "a number"),
    "symbols": (_is_symbols, "names with numbers"),
    "timing_dependent": (_is_truth, "true or false"),
    "data_caches": (_is_geometry, "up to seven pairs of sets and ways"),
}
"""What a run's facts must look like where they are given (docs/trace.md); other keys are anybody's."""


def _meta(meta: Mapping[str, Any]) -> Iterator[str]:
    for key, (rule, words) in _META.items():
        if key in meta and not rule(meta[key]):
            yield f"meta: {key}: must be {words}"


def _references(trace: Trace) -> Iterator[str]:
    blocks, marks, insns = trace.blocks, trace.marks, trace.insns
    end = blocks["first"].astype(np.int64) + blocks["count"]
    yield from _rows("blocks", blocks["count"] == 0, "count must be at least 1")
    yield from _rows("blocks", end > len(insns), f"first + count must lie within the {len(insns)} instructions")
    yield from _rows("executions", trace.executions >= len(blocks), f"must be a row of the {len(blocks)} blocks")
    if len(trace.epochs) == 0:
        yield "epochs: row 0 must exist, it holds from the start"
    yield from _rows("insns", insns["slot"] < -1, "slot must be -1 or a captured value of its block")
    table, reads = trace.translations, len(trace.walk_reads)
    yield from _rows("translations", table["epoch"] >= len(trace.epochs), "epoch must be a row of epochs")
    walk_end = table["walk_first"].astype(np.int64) + table["walk_count"]
    yield from _rows("translations", walk_end > reads, f"the walk must lie within the {reads} walk reads")
    yield from _in_enum("marks", marks["kind"], "kind", Mark)
    for name in ("mappings", "table_pages"):
        yield from _rows(name, getattr(trace, name)["epoch"] >= len(trace.epochs), "epoch must be a row of epochs")
    yield from _rows("marks", marks["at"] > len(trace.executions), "at must be an execution or the end of the run")
    yield from _rows("marks", np.r_[False, marks["at"][1:] < marks["at"][:-1]], "marks must be ordered by at")
    limits: list[tuple[Mark, int, str]] = [
        (Mark.EPOCH, len(trace.epochs), "epochs"),
        (Mark.EXCEPTION, len(trace.exceptions), "exceptions"),
        (Mark.PHASE, len(Phase), "Phase"),
    ]
    for kind, rows, where in limits:
        wrong = (marks["kind"] == kind) & (marks["a"] >= rows)
        yield from _rows("marks", wrong, f"a of {kind.name} must be a row of {where}")
    cuts = marks["kind"] == Mark.TRUNCATE
    yield from _rows("marks", cuts & (marks["at"] == 0), "TRUNCATE must follow an execution")
    if len(trace.executions) and not (trace.executions >= len(blocks)).any():
        needed = int(blocks["values"].astype(np.int64)[trace.executions].sum())
        if needed != len(trace.values):
            yield f"values: the executions consume {needed} values, the trace holds {len(trace.values)}"
    elif len(trace.values) and not len(trace.executions):
        yield f"values: no execution consumes the {len(trace.values)} values"


def _meanings(trace: Trace) -> Iterator[str]:
    parts: tuple[Callable[[Trace], Iterator[str]], ...] = (
        _insns,
        _blocks,
        _marks,
        _epochs,
        _translations,
        _exceptions,
        _ranges,
        _mappings,
    )
    for part in parts:
        yield from part(trace)


def _insns(trace: Trace) -> Iterator[str]:
    insns = trace.insns
    yield from _in_enum("insns", insns["cls"], "cls", InsnClass)
    yield from _in_enum("insns", insns["access"], "access", Access)
    yield from _in_enum("insns", insns["maintenance"], "maintenance", Maintenance)
    yield from _in_enum("insns", insns["barrier"], "barrier", Barrier)
    literal = (insns["flags"] & np.uint16(InsnFlag.LITERAL)) != 0
    slotless = insns["slot"] == -1
    forms = insns["access"] != Access.NONE
    yield from _rows("insns", literal & ~slotless, "a LITERAL takes its address from va, so its slot must be -1")
    yield from _rows("insns", forms & slotless & ~literal, "an access must have a slot or be LITERAL")
    moves = np.isin(insns["access"], _MOVES_DATA)
    yield from _rows("insns", moves & (insns["size"] == 0), "an access that moves data must have a size")
    maintains = insns["access"] == Access.MAINTAIN
    yield from _rows("insns", maintains & (insns["size"] != 0), "size of maintenance must be 0")
    aligned = (insns["va"] % 4 == 0) & (insns["pa"] % 4 == 0)
    yield from _rows("insns", ~aligned, "va and pa must be multiples of 4")
    for field in ("dst", "src"):
        wrong = ~np.isin(insns[field], _VALID_REGISTERS).all(axis=1)
        yield from _rows("insns", wrong, f"{field} must hold registers of the schema or {NO_REGISTER}")


def _blocks(trace: Trace) -> Iterator[str]:
    insns, blocks = trace.insns, trace.blocks
    counts = blocks["count"].astype(np.int64)
    first = blocks["first"].astype(np.int64)
    owner = np.repeat(np.arange(len(blocks)), counts)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    rows = insns[first[owner] + within]
    for field in ("va", "pa"):
        wrong = rows[field] != blocks[field][owner] + 4 * within.astype(np.uint64)
        broken = np.bincount(owner[wrong], minlength=len(blocks)) > 0
        yield from _rows("blocks", broken, f"{field} of its instructions must ascend by 4 from the block's own")
    beyond = np.bincount(owner[rows["slot"] >= blocks["values"][owner].astype(np.int64)], minlength=len(blocks)) > 0
    yield from _rows("blocks", beyond, "slots must be below the values that it captures")
    moving = np.bincount(owner[np.isin(rows["access"], _MOVES_DATA)], minlength=len(blocks))
    yield from _rows("blocks", moving != blocks["accesses"], "accesses must count the instructions that move data")


def _marks(trace: Trace) -> Iterator[str]:
    marks = trace.marks
    cuts = marks[marks["kind"] == Mark.TRUNCATE]
    cut = trace.executions[cuts["at"].astype(np.int64) - 1]
    yield from _rows("TRUNCATE marks", cuts["a"] > trace.blocks["count"][cut], "a must be within the block just left")
    yield from _rows("TRUNCATE marks", np.r_[False, cuts["at"][1:] == cuts["at"][:-1]], "one execution is cut once")
    taken = marks[marks["kind"] == Mark.EXCEPTION]
    yield from _rows(
        "EXCEPTION marks", trace.exceptions["at"][taken["a"]] != taken["at"], "at must equal that of its exception"
    )


def _stage1_forced_off(epochs: NDArray[Any]) -> NDArray[np.bool_]:
    """Where HCR_EL2.DC or TGE make SCTLR_EL1.M act as 0 (Arm ARM, HCR_EL2)."""
    hcr = epochs["hcr"]
    default_cacheable, general = hcr >> np.uint64(12) & np.uint64(1), hcr >> np.uint64(27) & np.uint64(1)
    at_el2 = (epochs["el"] >= 2) | ((epochs["el"] == 0) & (epochs["e2h"] == 1) & (general == 1))
    forced: NDArray[np.bool_] = ~at_el2 & ((default_cacheable | general) == 1)
    return forced


def _epochs(trace: Trace) -> Iterator[str]:
    epochs = trace.epochs
    yield from _rows("epochs", epochs["el"] > 3, "el must be 0..3")
    for field in ("e2h", "stage1", "stage2", "dcache", "icache"):
        yield from _rows("epochs", epochs[field] > 1, f"{field} must be 0 or 1")
    for field, bit in (("stage1", 0), ("dcache", 2), ("icache", 12)):
        meant = (epochs["sctlr"] >> np.uint64(bit)) & np.uint64(1)
        if field == "stage1":
            meant = np.where(_stage1_forced_off(epochs), 0, meant)
        yield from _rows("epochs", epochs[field] != meant, f"{field} must be bit {bit} of sctlr")
    for field in ("flat_type", "flat_fetch_type", "walk_type", "walk2_type"):
        yield from _in_enum("epochs", epochs[field], field, MemoryType)
    yield from _in_enum("epochs", epochs["cause"], "cause", EpochCause)
    wrong = (epochs["stage2"] == 1) & (epochs["el"] > 1)
    yield from _rows("epochs", wrong, "stage 2 translates EL1 and EL0 only")


def _translations(trace: Trace) -> Iterator[str]:
    table = trace.translations
    epochs = trace.epochs[table["epoch"]]
    order = np.lexsort((table["page"], table["epoch"]))
    pages, rows = table["page"][order], table["epoch"][order]
    same = (pages[1:] == pages[:-1]) & (rows[1:] == rows[:-1])
    repeated = np.zeros(len(table), np.bool_)
    repeated[order[1:][same]] = True
    yield from _rows("translations", repeated, "(epoch, page) must be unique")
    yield from _rows("translations", table["page"] >> np.uint64(52) != 0, "page must be va >> 12")
    yield from _rows("translations", table["pa"] % 4096 != 0, "pa must be that of a 4 KiB page")
    nothing = (epochs["stage1"] == 0) & (epochs["stage2"] == 0)
    yield from _rows("translations", nothing, "an epoch that translates nothing must have no rows")
    for field in ("memory_type", "fetch_type"):
        yield from _in_enum("translations", table[field], field, MemoryType)
    yield from _in_enum("translations", table["shareability"], "shareability", Shareability)
    leaf = np.where(epochs["stage1"] == 1, table["leaf_log2"], 12)
    yield from _rows("translations", (leaf < 12) | (leaf > 48), "leaf_log2 must be 12..48")
    yield from _rows("translations", (epochs["stage2"] == 0) & (table["leaf2_log2"] != 0), "leaf2_log2 is of stage 2")
    reads = trace.walk_reads
    yield from _rows("walk_reads", (reads["level"] < -1) | (reads["level"] > 3), "level must be -1..3")
    yield from _rows("walk_reads", ~np.isin(reads["stage"], (1, 2)), "stage must be 1 or 2")
    yield from _rows("walk_reads", reads["pa"] % 8 != 0, "pa must be that of a descriptor")


def _exceptions(trace: Trace) -> Iterator[str]:
    taken = trace.exceptions
    yield from _rows("exceptions", (taken["from_el"] > 3) | (taken["to_el"] > 3), "levels must be 0..3")
    yield from _rows("exceptions", taken["meant"] > 1, "meant must be 0 or 1")
    yield from _rows("exceptions", taken["at"] > len(trace.executions), "at must be an execution or the end of the run")


def _ranges(trace: Trace) -> Iterator[str]:
    ranges = trace.ranges
    yield from _in_enum("ranges", ranges["role"], "role", Role)
    yield from _rows("ranges", ranges["size"] == 0, "size must be positive")
    yield from _rows("ranges", ranges["pa"] + ranges["size"] - np.uint64(1) < ranges["pa"], "must not wrap around")


def _mappings(trace: Trace) -> Iterator[str]:
    mappings, one = trace.mappings, np.uint64(1)
    for name, field in (("mappings", "va"), ("mappings", "pa"), ("table_pages", "pa")):
        table = getattr(trace, name)
        yield from _rows(name, table["size"] == 0, "size must be positive")
        yield from _rows(name, table[field] + table["size"] - one < table[field], f"{field} must not wrap around")
        yield from _rows(name, table["ttbr"] > 1, "ttbr must be 0 or 1")
    leaf = np.clip(mappings["leaf_log2"], 0, 63).astype(np.uint64)
    wrong = (mappings["leaf_log2"] < 12) | (mappings["leaf_log2"] > 48)
    yield from _rows("mappings", wrong, "leaf_log2 must be 12..48")
    yield from _rows("mappings", mappings["size"] & ((one << leaf) - one) != 0, "size must be whole leaves")
    for field in ("writable", "executable", "is_global"):
        yield from _rows("mappings", mappings[field] > 1, f"{field} must be 0 or 1")
    yield from _rows("mappings", mappings["attr_index"] > 7, "attr_index must be 0..7")
    yield from _in_enum("mappings", mappings["memory_type"], "memory_type", MemoryType)
    yield from _in_enum("mappings", mappings["shareability"], "shareability", Shareability)


def _addresses(trace: Trace) -> Iterator[str]:
    """Everything that was fetched or accessed has a translation where its epoch translates, and the same place."""
    yield from _fetches(trace)
    flat = (trace.epochs["stage1"] == 0) & (trace.epochs["stage2"] == 0)
    for start, stop in doubtful(trace):
        (table,) = chunks(trace, stop - start, start, stop)
        lost = (table["memory_type"] == NO_TYPE) & (table["access"] != Access.PREFETCH) & ~flat[table["epoch"]]
        if lost.any():
            row = table[_first(lost)]
            yield (
                f"executions[{row['execution']}]: insns[{row['insn']}] accesses va {int(row['va']):#x}, "
                f"for which epoch {row['epoch']} has no translation"
            )
            return


def _fetches(trace: Trace) -> Iterator[str]:
    pages = {(int(t["epoch"]), int(t["page"])): int(t["pa"]) for t in trace.translations}
    for epoch, block in executed_blocks(trace):
        regime, code = trace.epochs[epoch], trace.blocks[block]
        va, pa = int(code["va"]), int(code["pa"])
        if regime["stage1"] or regime["stage2"]:
            page = pages.get((epoch, va >> 12))
            if page is None:
                yield f"blocks[{block}]: ran at va {va:#x} in epoch {epoch}, which has no translation for it"
                continue
            reached = page + (va & 0xFFF)
            if reached != pa:
                yield f"blocks[{block}]: its pa is {pa:#x}, but epoch {epoch} translates its va to {reached:#x}"
        elif va != pa:
            yield f"blocks[{block}]: va and pa must be equal in epoch {epoch}, which translates nothing"
