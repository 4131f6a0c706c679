from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import CODE, copy_trace, epoch_row

from traces.check import check
from traces.expand import accesses
from traces.fold import (
    access_count,
    copy_site,
    cut,
    data_types,
    fetch_types,
    instruction_count,
    labelled,
    stretches,
    walk_types,
)
from traces.schema import EXCEPTION, MARK, Access, Mark, MemoryType, Role
from traces.trace import Trace


def with_marks(trace: Trace, *marks: tuple[int, Mark, int]) -> Trace:
    rows = np.zeros(len(marks), MARK)
    for row, (at, kind, a) in zip(rows, marks, strict=True):
        row["at"], row["kind"], row["a"] = at, kind, a
    return replace(trace, marks=rows)


def switching() -> Trace:
    """Off for 100 executions, translated from there on."""
    trace = copy_trace(pages=1, on=True, el=1, before=(epoch_row(el=2, on=False),))
    return with_marks(trace, (0, Mark.PHASE, 2), (100, Mark.EPOCH, 1))


def counted(trace: Trace) -> dict[MemoryType, int]:
    table = accesses(trace)
    kinds = table["memory_type"][np.isin(table["access"], (Access.LOAD, Access.STORE))]
    return {MemoryType(int(k)): int(n) for k, n in zip(*np.unique(kinds, return_counts=True), strict=True)}


@pytest.mark.parametrize("trace", [copy_trace(), copy_trace(on=True), switching()])
def test_counts_by_type_are_those_of_the_unfolded_accesses(trace: Trace):
    assert data_types(trace) == counted(trace)
    assert access_count(trace) == len(accesses(trace))
    assert sum(fetch_types(trace).values()) == instruction_count(trace) == 6 * len(trace.executions)


def test_pages_of_different_types_are_told_apart():
    trace = copy_trace(pages=2, on=True)
    table = trace.translations.copy()
    table["memory_type"][-1] = MemoryType.NORMAL_NC
    trace = replace(trace, translations=table)
    assert data_types(trace) == counted(trace)
    assert labelled(data_types(trace)) == {"Normal-NC": 256, "Normal-WB": 768}


def test_fetches_are_uncached_where_the_regime_says_so():
    assert set(fetch_types(copy_trace())) == {MemoryType.NORMAL_NC}
    assert fetch_types(switching()) == {MemoryType.NORMAL_NC: 600, MemoryType.NORMAL_WB: 156 * 6}


def test_walks_count_only_where_something_is_translated():
    assert walk_types(copy_trace()) == {}
    assert walk_types(copy_trace(on=True, pages=2)) == {MemoryType.NORMAL_WB: 5 * 4}


def test_truncated_executions_count_what_they_retired():
    trace = with_marks(copy_trace(pages=1), (3, Mark.TRUNCATE, 1), (9, Mark.TRUNCATE, 0))
    assert instruction_count(trace) == 256 * 6 - 5 - 6
    assert access_count(trace) == 512 - 1 - 2
    assert data_types(trace) == counted(trace)


def test_stretches_cover_the_slice_without_gaps():
    assert list(stretches(switching())) == [(0, 0, 100), (1, 100, 256)]
    assert list(stretches(switching(), 50, 120)) == [(0, 50, 100), (1, 100, 120)]


def test_the_copy_is_where_stores_hit_destinations():
    site = copy_site(switching())
    assert site is not None
    assert (site.first, site.last, site.epoch, site.block, site.insn) == (0, 255, 1, 0, 2)
    assert site.stored_bytes == 4096


def test_no_destination_no_copy():
    trace = copy_trace()
    assert copy_site(replace(trace, ranges=trace.ranges[:0])) is None
    elsewhere = trace.ranges.copy()
    elsewhere["pa"][elsewhere["role"] == Role.DESTINATION] = 0x1_0000_0000
    assert copy_site(replace(trace, ranges=elsewhere)) is None


def test_only_part_of_the_stores_is_a_copy():
    trace = copy_trace(pages=2)
    ranges = trace.ranges.copy()
    half = ranges["role"] == Role.DESTINATION
    ranges["pa"][half] += 4096
    ranges["size"][half] = 4096
    site = copy_site(replace(trace, ranges=ranges))
    assert site is not None
    assert (site.first, site.last, site.stored_bytes) == (256, 511, 4096)


@given(start=st.integers(0, 256), length=st.integers(0, 256))
def test_a_slice_is_a_trace_of_its_own_that_did_the_same(start: int, length: int):
    trace, stop = switching(), min(start + length, 256)
    piece = cut(trace, start, stop)
    assert check(piece) == []
    whole = accesses(trace, start, stop)
    whole["execution"] -= np.uint64(start)
    assert (accesses(piece) == whole).all()


def test_a_slice_keeps_the_exceptions_inside_it_and_no_others():
    taken = np.zeros(3, EXCEPTION)
    taken["at"], taken["elr"] = (10, 50, 90), (CODE, CODE + 4, CODE + 8)
    marks = ((10, Mark.EXCEPTION, 0), (50, Mark.EXCEPTION, 1), (50, Mark.TRUNCATE, 2), (90, Mark.EXCEPTION, 2))
    trace = with_marks(replace(copy_trace(pages=1), exceptions=taken), *marks)
    piece = cut(trace, 20, 80)
    assert check(piece) == []
    assert piece.exceptions["elr"].tolist() == [CODE + 4]
    assert piece.exceptions["at"].tolist() == [30]
    assert {int(k) for k in piece.marks["kind"]} == {Mark.EXCEPTION, Mark.TRUNCATE}
