"""Stepping: the same state and the same bill at the same place, however it was come to; and looking changes nothing."""

import json
import random
import subprocess
import sys
from contextlib import suppress
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stepping_digest import digest

from caches.replaying import Replay
from relocscope.operand import operand, with_settings
from relocscope.stepping import looking, views
from relocscope.stepping.commands import COMMANDS, run
from relocscope.stepping.control import Control
from relocscope.stepping.session import Session
from traces.errors import InputError


def session(case: str = "rfc-v1-nvhe", size: str = "256KiB", **settings: object) -> Session:
    return Session(with_settings(operand(case), {"size": size, **settings}))


def check_back(stepped: Session, points: int, seed: int) -> None:
    draw = random.Random(seed)
    places = sorted({draw.randrange(stepped.timeline.end + 1) for _ in range(points)})
    seen = {}
    for number in places:
        stepped.go(number)
        seen[number] = (*digest(stepped), dict(stepped.last_bill))
    draw.shuffle(places)
    for number in places:
        stepped.go(number)
        assert (*digest(stepped), dict(stepped.last_bill)) == seen[number], number


@pytest.mark.parametrize("case", ["rfc-v1-nvhe", "v5.17-nvhe", "rfc-v2-nvhe"])
def test_going_back_gives_the_state_that_was(case: str):
    check_back(session(case), 40, 1)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["rfc-v1-nvhe", "v5.17-nvhe"])
def test_going_back_gives_the_state_that_was_at_a_thousand_points(case: str):
    check_back(session(case, "2MiB"), 1000, 2)


@pytest.mark.parametrize("case", ["rfc-v1-nvhe", "v5.17-nvhe"])
def test_the_bill_of_a_step_is_what_the_stack_grows_by(case: str):
    stepped = session(case)
    draw = random.Random(3)
    for number in (draw.randrange(1, stepped.timeline.end) for _ in range(25)):
        stepped.go(number - 1)
        before, promised, cycles = stepped.cycle_stack(), dict(stepped.next_bill()), stepped.cycles
        assert sum(before.values()) == cycles
        stepped.go(number)
        grown = {leaf: value - before[leaf] for leaf, value in stepped.cycle_stack().items()}
        assert grown == dict(stepped.last_bill) == promised
        assert sum(grown.values()) == stepped.cycles - cycles


@pytest.mark.parametrize("case", ["rfc-v1-nvhe", "v5.17-nvhe"])
def test_the_bills_shown_at_stops_are_the_difference_of_the_runs_cycle_stack(case: str):
    """Against a replay that only goes forward, whole blocks at a time: what a run without stepping does."""
    control = Control(session(case))
    stepped, draw = control.session, random.Random(5)
    of = stepped.stepped
    run = Replay(stepped.trace, of.config, initial=of.initial, seed=of.seed, steady=False)
    wanted = {}
    for execution in (*range(20), *sorted(draw.sample(range(20, len(stepped.trace.executions)), 15))):
        run.advance(execution)
        before = run.outcome().cycle_stack
        run.advance(execution + 1)
        wanted[execution] = {leaf: spent - before[leaf] for leaf, spent in run.outcome().cycle_stack.items()}
    assert any(sum(bill.values()) for bill in wanted.values())
    for execution in draw.sample(list(wanted), len(wanted)):
        first, last = stepped.timeline.number(execution), stepped.timeline.number(execution + 1)
        shown: dict[str, int] = dict.fromkeys(wanted[execution], 0)
        for number in draw.sample(range(first, last), last - first):
            for leaf, spent in control.move(number + 1).facts["last_cost"].items():
                shown[leaf] += spent
        assert shown == wanted[execution], execution


def test_the_end_is_what_an_uninterrupted_run_gives():
    from relocscope.runs import run_operand

    stepped = session("v5.17-nvhe")
    whole = run_operand(stepped.subject)
    for number in range(0, stepped.timeline.end, 9973):
        stepped.go(number)
    stepped.go(stepped.timeline.end)
    assert stepped.cycles == whole.cycles
    assert stepped.cycle_stack() == dict(whole.cycle_stack)
    assert stepped.machine.cpu.pc == int(str(whole.entry["pc"]), 16)
    assert np.array_equal(stepped.model.replay.outcome().dirty_lines, whole.costs.dirty_lines)


ADDRESSES = st.one_of(
    st.sampled_from(["pc", "sp", "x0", "x13+8", "copy_line", "0x80000000", "0xffffffffffffffff", "nowhere"]),
    st.integers(0, (1 << 64) - 1).map(hex),
)
LOOKING: dict[str, st.SearchStrategy[str]] = {
    **{name: st.just(name) for name in ("where", "regs", "stack", "buffers")},
    "sysregs": st.sampled_from(["sysregs", "sysregs SCTLR_EL2", "sysregs FOO_EL1"]),
    "info": st.sampled_from(["info", "info map", "info kimage", "info symbols", "info breaks", "info nothing"]),
    "list": st.integers(-1, 40).map(lambda count: f"list {count}"),
    "cost": st.one_of(st.just("cost"), ADDRESSES.map(lambda at: f"cost {at}")),
    "translate": ADDRESSES.map(lambda at: f"translate {at}"),
    "caches": st.tuples(ADDRESSES, st.sampled_from(["", " pa"])).map(lambda said: f"caches {said[0]}{said[1]}"),
    "tlb": ADDRESSES.map(lambda at: f"tlb {at}"),
    "x": st.tuples(ADDRESSES, st.integers(-1, 9000), st.sampled_from(["va", "pa", "no"])).map(
        lambda said: f"x {said[0]} {said[1]} {said[2]}"
    ),
}
"""By name: what may be said of each command that looks."""

CARELESS = st.sampled_from(["help", "help until", "until", "goto insn 999999999", "x", "break copy_line", "watch x0"])
"""What else must change nothing: errors, help, stops."""


@cache
def looked_at(case: str) -> Control:
    return Control(session(case))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    case=st.sampled_from(["rfc-v1-nvhe", "v5.17-nvhe"]),
    far=st.floats(0, 1),
    lines=st.lists(st.one_of(*LOOKING.values(), CARELESS), min_size=1, max_size=12),
)
def test_looking_changes_nothing(case: str, far: float, lines: list[str]):
    control = looked_at(case)
    control.session.go(round(far * control.session.timeline.end))
    before = digest(control.session)
    for line in lines:
        with suppress(InputError):
            run(control, line)
    assert digest(control.session) == before


def test_every_command_that_looks_is_looked_at():
    assert set(LOOKING) == {name for name, command in COMMANDS.items() if command.do.__module__ == looking.__name__}


def test_until_stops_before_what_it_names_and_back_finds_it_again():
    control = Control(session())
    for line in ("until device", "until el 1", "until miss l1i", "until write sctlr_el2", "until walk", "until regime",
                 "until exception", "until page 9", "until pc copy_line", "until type Device-nGnRnE"):  # fmt: skip
        control.session.go(0)
        at = run(control, line).facts["insn"]
        if control.session.at_end:
            continue
        run(control, "step")
        back = run(control, f"back {line}")
        assert back.facts["insn"] == at, line
    control.session.go(0)
    assert run(control, "until el 2").facts["el"] == 2
    first = run(control, "until device").facts
    assert first["access"]["memory_type"] == "Device-nGnRnE"
    assert "SCTLR_EL2.M = 0" in first["access"]["why"]


def test_a_write_of_a_system_register_is_found_by_what_the_name_means_there():
    """At EL2 with HCR_EL2.E2H = 1, `msr sctlr_el1` writes SCTLR_EL2."""
    control = Control(session("v5.17-vhe", "64KiB"))
    assert run(control, "until write SCTLR_EL2").facts["text"].startswith("msr sctlr_el1")
    before = control.session.machine.cpu.sysreg["SCTLR_EL2"]
    run(control, "step")
    assert control.session.machine.cpu.sysreg["SCTLR_EL2"] != before
    run(control, "restart")
    assert run(control, "until write SCTLR_EL1").facts["stopped"] == "the end"


def test_until_a_miss_is_the_first_one_of_single_steps():
    control = Control(session("v5.17-nvhe"))
    control.session.go(3000)
    at = run(control, "until miss l2").facts["insn"]
    other = session("v5.17-nvhe")
    other.go(3001)
    misses = other.model.replay.count("l2", "misses")
    while other.model.replay.count("l2", "misses") == misses:
        other.go(other.number + 1)
    assert other.number - 1 == at


def test_goto_cycle_is_the_first_place_where_that_many_have_passed():
    control = Control(session())
    for cycle in (1, 5000, 1_000_000):
        run(control, f"goto cycle {cycle}")
        assert control.session.cycles >= cycle
        run(control, "back")
        assert control.session.cycles < cycle


def test_breakpoints_and_watchpoints():
    control = Control(session())
    assert run(control, "break copy_line").facts["stops"][0]["stop"] == 1
    here = run(control, "continue").facts
    assert here["where"] == "copy_line"
    assert here["stopped"].startswith("1: ")
    again = run(control, "continue").facts
    assert (again["where"], again["insn"]) == ("copy_line", here["insn"] + 12)
    run(control, "delete 1")
    page = views.kimage(control.session)["window"][-1]["destination"]
    run(control, f"watch {page} 8 pa")
    stopped = run(control, "continue").facts
    assert stopped["access"]["pa"] == page
    run(control, "delete 2")
    assert run(control, "continue").facts["end"].startswith("completed")


def test_what_is_set_by_hand_holds_from_there_on_and_going_back_undoes_nothing_of_it():
    control = Control(session())
    run(control, "until pc copy_line")
    number = control.session.number
    run(control, "set x9 0x77")
    run(control, "set x10 0x78")
    assert (control.session.number, control.session.machine.cpu.x[9], control.session.machine.cpu.x[10]) == (
        number, 0x77, 0x78,
    )  # fmt: skip
    run(control, "back")
    assert control.session.machine.cpu.x[9] != 0x77
    run(control, "continue")
    assert (control.session.machine.cpu.x[9], control.session.machine.cpu.x[10]) == (0x77, 0x78)
    assert control.session.at_end


def test_a_patched_instruction_is_what_runs():
    control = Control(session())
    run(control, "until pc copy_line")
    run(control, 'patch copy_line "b ."')
    assert "hang" in run(control, "continue").facts["end"]
    assert "hang" in views.ending(control.session)


def test_a_field_set_by_hand_changes_the_memory_type():
    control = Control(session("v5.17-nvhe"))
    run(control, "until page 3")
    assert run(control, "where").facts["access"]["memory_type"] == "Normal-WB"
    run(control, "set SCTLR_EL1.C 0")
    assert run(control, "where").facts["access"]["memory_type"] == "Normal-NC"


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("foo", "no command"),
        ("b", "may be"),
        ("step x", "whole number"),
        ("step 0", "at least 1"),
        ("until", "write it as"),
        ("until el 7", "must be 0, 1 or 2"),
        ("until miss l9", "no cache"),
        ("goto insn 999999999", "the run has"),
        ("x 0x10 8", "RAM"),
        ("translate nothing", "no number, register or symbol"),
        ("set SCTLR_EL1.Q 1", "no field"),
        ("set FOO_EL1 1", "FOO_EL1"),
        ('patch pc "frob x0"', "patch"),
        ("delete 9", "no such stop"),
        ("watch 0x1000 0", "must be positive"),
        ('x "', "quotation"),
    ],
)
def test_an_error_is_one_line_and_changes_nothing(line: str, rule: str):
    control = Control(session("v4.19-nvhe", "64KiB"))
    control.session.go(100)
    before = digest(control.session)
    with pytest.raises(InputError, match=rule) as caught:
        run(control, line)
    assert "\n" not in str(caught.value)
    assert digest(control.session) == before
    assert control.session.number == 100


def test_line_mode_reads_scripts_and_writes_one_object_a_command():
    script = "# the founding case\nuntil el 2\nunt device\ncost\nnonsense\n\nstep 3\nquit\nstep\n"
    done = subprocess.run(
        [sys.executable, "-m", "relocscope", "step", "--size", "64KiB", "--repl", "--json", "-"],
        input=script, capture_output=True, text=True, check=True,
    )  # fmt: skip
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["command"] for answer in answers] == ["until el 2", "unt device", "cost", "nonsense", "step 3"]
    assert answers[0]["el"] == 2
    assert answers[2]["next"]["device_load"] > 0
    assert "no command" in answers[3]["error"]
    assert answers[4]["insn"] == answers[1]["insn"] + 3
    assert done.stderr.count("\n") == 1


def test_every_command_says_what_it_is():
    assert all(command.what and command.usage.split()[0] == name for name, command in COMMANDS.items())
