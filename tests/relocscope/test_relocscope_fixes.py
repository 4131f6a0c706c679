"""Changes that `explain` proposes: single ones first, pairs where none of them helps."""

import pytest

import relocscope
from relocscope import fixes
from relocscope.case import shipped_case
from relocscope.fixes import Candidate, candidates, pairs

pytestmark = pytest.mark.usefixtures("fake_model")

ROUTINE = Candidate(set={"routine.relocate": "relocate-v5.17"}, words="the routine of 5.17")
TABLES = Candidate(set={"map.tables": "merged", "map.mair": 0x40044FFFF}, words="the tables of 5.17")
FETCH = Candidate(set={"copy.sctlr_i": 0}, words="fetch past the caches")


def test_a_pair_is_found_where_no_single_change_helps(monkeypatch: pytest.MonkeyPatch):
    """The routine without its tables, and the tables without their routine, are refused; together they copy cached."""
    monkeypatch.setattr(fixes, "candidates", lambda _case: iter([FETCH, ROUTINE, TABLES]))
    (found,) = fixes.fixes(relocscope.run("v4.19-el1", size="64KiB"))[:1]
    assert found.set.keys() == {"routine.relocate", "map.tables", "map.mair"}
    assert found.sentence.startswith("The routine of 5.17; and the tables of 5.17: ")
    assert found.speedup is not None
    assert found.speedup > 2


def test_no_pair_is_tried_where_a_single_change_helps(monkeypatch: pytest.MonkeyPatch):
    helps = Candidate(set={**ROUTINE.set, **TABLES.set}, words="copy as 5.17 does")
    monkeypatch.setattr(fixes, "candidates", lambda _case: iter([FETCH, helps]))
    monkeypatch.setattr(fixes, "pairs", lambda _single: pytest.fail("pairs were tried"))
    assert [fix.set.keys() for fix in fixes.fixes(relocscope.run("v4.19-el1", size="64KiB"))] == [
        {"routine.relocate", "map.tables", "map.mair"}
    ]


def test_pairs_are_of_changes_that_do_not_contradict_each_other():
    single = list(candidates(shipped_case("v4.19-nvhe")))
    for pair in pairs(single):
        assert sum(one.set.items() <= pair.set.items() for one in single) >= 2
    assert not list(pairs([ROUTINE, Candidate(set={"routine.relocate": "x"}, words="x")]))
