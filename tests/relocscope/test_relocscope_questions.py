"""Ready-made questions: the plans that ship, and sentences made of the numbers in a sweep's rows."""

import dataclasses
import json
from pathlib import Path

import pytest

from relocscope.answers.sentences import answer
from relocscope.answers.shipped import plan_names, plan_of
from relocscope.sweeping.plan import plan_from_toml
from relocscope.sweeping.sweep import Means, run
from relocscope.sweeping.table import Table
from traces.errors import InputError

QUESTIONS = ("device", "fragmentation", "l2", "leaves", "streaming", "tables")

EFFECT = """
case = "v5.17-nvhe"
[question]
ask = "Does it?"
rule = "effect"
factors."the L2" = ["l2.size"]
[grid]
l2.size = ["256KiB", "1MiB"]
dtlb.entries = [16, 32]
"""

CROSSING = """
case = ["v4.19-nvhe", "v5.17-nvhe"]
[question]
ask = "From where?"
rule = "crossing"
key = "size"
levels = [1, 4]
[grid]
size = ["4KiB", "16KiB", "64KiB"]
"""


def table(text, rows):
    plan = plan_from_toml(text, "plan")
    return Table(plan=plan, rows=rows, base=None, captures=1, model="", host={})


def effect(*seconds, outcome="completed"):
    places = [(size, entries) for size in (256 << 10, 1 << 20) for entries in (16, 32)]
    rows = [
        {
            "point": at,
            "case": "v5.17-nvhe",
            "outcome": outcome,
            "seconds": each,
            "l2.size": size,
            "dtlb.entries": entries,
        }
        for at, ((size, entries), each) in enumerate(zip(places, seconds, strict=True))
    ]
    found = table(EFFECT, rows)
    return answer(found, found.plan.question)


def crossing(*speedups):
    rows = [
        {"point": at, "side": "b", "case": "v5.17-nvhe", "outcome": "completed", "speedup": each, "size": 4096 * 4**at}
        for at, each in enumerate(speedups)
    ]
    found = table(CROSSING, rows)
    return answer(found, found.plan.question)


@pytest.fixture
def called(relocscope):
    def call(*arguments):
        status, out, _ = relocscope("sweep", *arguments)
        assert status == 0
        return out

    return call


def test_an_effect_is_of_its_own_key_only_and_where_it_is_largest():
    (said,) = effect(0.010, 0.050, 0.010, 0.075)
    assert "l2.size=1MiB takes 1.50 times as long as l2.size=256KiB" in said
    assert "75 ms for 50 ms at dtlb.entries=32" in said
    assert "elsewhere as little as 1.00 times" in said


def test_five_percent_are_no_effect():
    assert "makes no difference: at most 1.040 times" in effect(0.100, 0.010, 0.104, 0.010)[0]
    assert "matters" in effect(0.100, 0.010, 0.106, 0.010)[0]


def test_what_does_not_arrive_answers_nothing():
    assert "not answered" in effect(1, 1, 2, 2, outcome="hang")[0]
    assert "not answered" in crossing(None, None, None)[0]


def test_a_crossing_lies_between_two_values_by_ratios():
    one, four = crossing(0.5, 8, 32)
    assert one == "v5.17-nvhe is as fast as v4.19-nvhe at size = about 5.66 KiB (4KiB to 16KiB), and faster above it."
    assert "4 times as fast as v4.19-nvhe at size = about 11.3 KiB" in four
    assert "and slower above it" in crossing(2, 0.5, 0.25)[0]
    assert "back and forth" in crossing(0.5, 2, 0.5)[0]


def test_a_level_that_is_never_passed_is_said_to_be():
    assert "as fast as v4.19-nvhe at no size from 4KiB to 64KiB: it takes 2 times as long" in crossing(0.5, 0.6, 0.7)[0]
    assert "it is 2 times as fast as v4.19-nvhe at 4KiB and is 3.5 times" in crossing(2, 3, 3.5)[0]


@pytest.mark.parametrize(
    ("old", "written", "rule"),
    [
        ('rule = "effect"', 'rule = "guess"', "rule one of effect, crossing"),
        ('["l2.size"]', '["l1d.size"]', "'l1d.size': is not swept"),
        ('["l2.size"]', '"l2.size"', "a table of lists"),
        ("ask =", "asks =", "question.asks: unknown key"),
        ('rule = "effect"', 'rule = "crossing"\nkey = "l2.size"\nlevels = [1]', "compares two cases"),
    ],
)
def test_questions_that_mean_nothing_are_refused(old, written, rule):
    with pytest.raises(InputError, match=rule):
        plan_from_toml(EFFECT.replace(old, written), "plan")


def test_levels_are_speed_ups():
    with pytest.raises(InputError, match="above 0"):
        plan_from_toml(CROSSING.replace("[1, 4]", "[1, 0]"), "plan")


def test_a_file_wins_over_a_plan_that_ships(tmp_path, monkeypatch):
    assert plan_names() == QUESTIONS
    monkeypatch.chdir(tmp_path)
    assert plan_of("l2").cases == ("v4.19-nvhe", "v5.17-nvhe")
    Path("l2").write_text(EFFECT)
    assert plan_of("l2").cases == ("v5.17-nvhe",)
    with pytest.raises(InputError, match="did you mean leaves"):
        plan_of("leavs")


def test_they_are_listed(called):
    shown = called("--plans")
    assert all(name in shown for name in QUESTIONS)


def test_the_answer_is_printed_and_in_json_and_without_o_nothing_is_kept(tmp_path, monkeypatch, called):
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(EFFECT)
    shown = called("--plan", "mine.toml", "--size", "64KiB", "--workers", "0", "--json", "answer.json")
    found = json.loads(Path("answer.json").read_text())
    assert found["question"] == "Does it?"
    shown = " ".join(shown.split())
    assert found["answer"]
    assert all(sentence in shown for sentence in found["answer"])
    assert {each.name for each in tmp_path.iterdir()} == {"mine.toml", "answer.json"}


@pytest.mark.slow
@pytest.mark.parametrize("name", QUESTIONS)
def test_every_question_is_answered(name, tmp_path):
    plan = plan_of(name)
    if name == "tables":
        plan = dataclasses.replace(plan, grid={"size": "4KiB..256KiB:x4", "map.leaf": "2MiB,1GiB"})
    else:
        plan = dataclasses.replace(plan, settings={**plan.settings, "size": "64KiB"})
    found = run(plan, tmp_path, Means(2))
    assert all(row["status"] == "ok" for row in found.rows)
    assert found.answer
    assert not any("not answered" in sentence for sentence in found.answer)
