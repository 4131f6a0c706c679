import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from synthetic import copy_trace, epoch_row

from traces.check import check
from traces.schema import MARK, Access, Mark
from traces.trace import Trace


def writable(**options: object) -> Trace:
    trace = copy_trace(pages=1, on=True, el=1, before=(epoch_row(el=2, on=False),), **options)
    fields = {name: getattr(trace, name) for name in Trace.__dataclass_fields__}
    return Trace(**{name: value.copy() for name, value in fields.items()})


def with_marks(trace: Trace, *marks: tuple[int, Mark, int]) -> Trace:
    rows = np.zeros(len(marks), MARK)
    for row, (at, kind, a) in zip(rows, marks, strict=True):
        row["at"], row["kind"], row["a"] = at, kind, a
    fields = {name: getattr(trace, name) for name in Trace.__dataclass_fields__}
    return Trace(**(fields | {"marks": rows}))


@pytest.mark.parametrize("on", [False, True])
def test_a_kept_promise_is_silent(on: bool):
    assert check(copy_trace(on=on)) == []
    assert check(writable()) == []


def breaks(array: str, field: str, value: object, row: int = 0) -> Callable[[Trace], None]:
    def apply(trace: Trace) -> None:
        getattr(trace, array)[field][row] = value

    return apply


BROKEN = [
    (breaks("insns", "cls", 99), "insns[0]: cls"),
    (breaks("insns", "access", 77), "insns[0]: access"),
    (breaks("insns", "maintenance", 77), "insns[0]: maintenance"),
    (breaks("insns", "barrier", 77), "insns[0]: barrier"),
    (breaks("insns", "slot", -1), "must have a slot or be LITERAL"),
    (breaks("insns", "slot", -2), "slot must be -1 or"),
    (breaks("insns", "slot", 2), "slots must be below"),
    (breaks("insns", "size", 0), "must have a size"),
    (breaks("insns", "access", Access.MAINTAIN), "size of maintenance must be 0"),
    (breaks("insns", "flags", 1 << 11 | 1 << 7), "LITERAL takes its address"),
    (breaks("insns", "va", 2), "multiples of 4"),
    (breaks("insns", "va", 0x5000), "va of its instructions must ascend"),
    (breaks("insns", "pa", 0x5000), "pa of its instructions must ascend"),
    (breaks("insns", "dst", 40), "dst must hold registers"),
    (breaks("insns", "src", 200), "src must hold registers"),
    (breaks("blocks", "count", 0), "count must be at least 1"),
    (breaks("blocks", "first", 1), "must lie within the 6 instructions"),
    (breaks("blocks", "values", 3), "executions consume 768 values, the trace holds 512"),
    (breaks("blocks", "accesses", 3), "accesses must count"),
    (breaks("epochs", "el", 4), "el must be 0..3"),
    (breaks("epochs", "stage1", 1), "stage1 must be bit 0 of sctlr"),
    (breaks("epochs", "dcache", 1), "dcache must be bit 2"),
    (breaks("epochs", "icache", 1), "icache must be bit 12"),
    (breaks("epochs", "flat_type", 9), "flat_type must be a value of MemoryType"),
    (breaks("epochs", "cause", 9), "cause must be a value of EpochCause"),
    (breaks("epochs", "stage2", 1), "stage 2 translates EL1"),
    (breaks("translations", "epoch", 9), "epoch must be a row of epochs"),
    (breaks("translations", "epoch", 0), "an epoch that translates nothing"),
    (breaks("translations", "walk_first", 3), "must lie within the 4 walk reads"),
    (breaks("translations", "page", 0x90000), "(epoch, page) must be unique"),
    (breaks("translations", "page", 0x90009), "which has no translation for it"),
    (breaks("translations", "page", 0x90009, 2), "for which epoch 1 has no translation"),
    (breaks("translations", "pa", 0x123), "that of a 4 KiB page"),
    (breaks("translations", "pa", 0x1000), "translates its va to 0x1000"),
    (breaks("translations", "memory_type", 7), "memory_type must be"),
    (breaks("translations", "shareability", 1), "shareability must be"),
    (breaks("translations", "leaf_log2", 5), "leaf_log2 must be"),
    (breaks("translations", "leaf2_log2", 12), "leaf2_log2 is of stage 2"),
    (breaks("walk_reads", "level", 4), "level must be"),
    (breaks("walk_reads", "stage", 0), "stage must be"),
    (breaks("walk_reads", "pa", 3), "that of a descriptor"),
    (breaks("marks", "kind", 0), "kind must be a value of Mark"),
    (breaks("marks", "at", 300), "at must be an execution"),
    (breaks("marks", "at", 5), "ordered by at"),
    (breaks("marks", "a", 9), "a of PHASE must be"),
    (breaks("marks", "a", 9, 1), "a of EPOCH must be"),
    (breaks("ranges", "role", 99), "role must be"),
    (breaks("ranges", "size", 0), "size must be positive"),
    (breaks("ranges", "pa", 2**64 - 1), "must not wrap"),
]


@pytest.mark.parametrize(("breaking", "words"), BROKEN, ids=[words for _, words in BROKEN])
def test_each_broken_promise_is_named(breaking: Callable[[Trace], None], words: str):
    trace = writable()
    breaking(trace)
    found = check(trace)
    assert found
    assert any(words in sentence for sentence in found), found
    assert all(re.match(r"[A-Za-z_ ]+(\[\d+\])?: ", sentence) and "\n" not in sentence for sentence in found)


def test_marks_that_contradict_the_run():
    assert "TRUNCATE must follow" in check(with_marks(writable(), (0, Mark.TRUNCATE, 1), (0, Mark.EPOCH, 1)))[0]
    assert "within the block" in check(with_marks(writable(), (0, Mark.EPOCH, 1), (1, Mark.TRUNCATE, 7)))[0]
    twice = with_marks(writable(), (0, Mark.EPOCH, 1), (1, Mark.TRUNCATE, 1), (1, Mark.TRUNCATE, 2))
    assert "cut once" in check(twice)[0]
    assert "row of exceptions" in check(with_marks(writable(), (0, Mark.EPOCH, 1), (1, Mark.EXCEPTION, 0)))[0]


def test_executions_of_blocks_that_are_not_there_are_refused_before_anything_reads_them():
    trace = writable()
    trace.executions[3] = 1
    assert check(trace) == ["executions[3]: must be a row of the 1 blocks"]


def test_wrong_types_and_meta():
    trace = writable()
    fields = {name: getattr(trace, name) for name in Trace.__dataclass_fields__}
    assert "one-dimensional" in check(Trace(**(fields | {"values": trace.values.astype(np.int64)})))[0]
    assert "one-dimensional" in check(Trace(**(fields | {"values": trace.values.reshape(2, -1)})))[0]
    assert check(Trace(**(fields | {"meta": {"x": object()}}))) == ["meta: must be JSON-able"]
    assert check(Trace(**(fields | {"meta": {"x": float("nan")}}))) == ["meta: must be JSON-able"]


META = {
    "routine": [5, {"name": "x"}, {"name": 1, "sha256": "", "source": ""}],
    "boot": [None, 3],
    "outcome": ["done", None, []],
    "fault": ["x", {}, {"el": 2, "ec": "0x21", "iss": 1, "esr": 1, "far": 1, "elr": 1, "reason": "", "where": ""}],
    "entry": [[], {"el": 2}, {"el": True, "mmu": False, "pc": 0, "x0": 0, "x1": 0, "x2": 0, "x3": 0}],
    "image_ok": [1, None],
    "data_caches": [None, [[256]], [[256, 0]], [[1, 2]] * 8, [[True, 2]]],
    "image_bytes": [-1, 1.5, "4096", 1 << 64],
    "pages": [True, None],
    "symbols": [[], {"start": "0x0"}, {"start": -4}],
    "timing_dependent": ["no"],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in META.items() for value in values])
def test_facts_of_the_run_must_be_what_readers_take_them_for(key: str, value: object):
    found = check(replace(copy_trace(pages=1), meta={key: value}))
    assert len(found) == 1
    assert found[0].startswith(f"meta: {key}: must be ")


def test_null_facts_and_foreign_keys_are_allowed():
    assert check(copy_trace(pages=1, fault=None, entry=None, boot="el1", anything=[1, {}])) == []
