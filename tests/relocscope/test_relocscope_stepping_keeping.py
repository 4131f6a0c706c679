"""What line mode keeps and writes: saved sessions, exports, JSON Lines; and the words that it takes and completes."""

import csv
import importlib.resources
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from relocscope.operand import operand, with_settings
from relocscope.stepping import saving
from relocscope.stepping.commands import COMMANDS, command_name, run
from relocscope.stepping.completion import completions
from relocscope.stepping.control import Control
from relocscope.stepping.digest import guest_digest, model_digest
from relocscope.stepping.session import Session
from traces.check import check
from traces.errors import InputError
from traces.schema import LEAVES

FIXED = [
    "step", "block", "page", "continue", "until", "back", "goto", "break", "watch", "delete", "regs", "sysregs", "x",
    "translate", "cost", "stack", "caches", "tlb", "info", "where", "patch", "set", "restart", "help", "quit",
]  # fmt: skip
"""Of line mode, as interfaces.md has them."""


def schema(name: str) -> Any:
    return json.loads((importlib.resources.files("relocscope") / "schemas" / f"{name}.json").read_text())


@pytest.fixture(scope="module")
def shared() -> Session:
    return Session(with_settings(operand("rfc-v1-nvhe"), {"size": "64KiB"}))


@pytest.fixture
def control(shared: Session) -> Control:
    shared.go(0)
    return Control(shared)


def fresh(case: str = "v5.17-nvhe", **settings: object) -> Control:
    return Control(Session(with_settings(operand(case), {"size": "64KiB", **settings})))


# -- Saved sessions ---------------------------------------------------------------------------------------------------


def walked(tmp_path: Path) -> tuple[Control, Path]:
    """A session with changes of every kind, stops of every kind, somewhere in the copy."""
    control = fresh()
    for line in (
        "until page 2", "set x9 0x77", "set v3 5", "set [pc+1024] 0x1234", "step 7", "set SCTLR_EL1.C 0", "break pc",
        "break el 2", "break device", "break miss l2", "break walk", "break regime", "break exception", "break hazard",
        "break page 5", "break type Normal-NC", "watch x5", "watch TTBR0_EL1", "watch pc+64 16 pa read", "watch pc 4",
        "delete 1", "step 5", 'patch pc+64 "nop"', "goto insn 5000", "step 20",
    ):  # fmt: skip
        run(control, line)
    run(control, f"save {tmp_path / 'walk.json'}")
    return control, tmp_path / "walk.json"


def test_a_loaded_session_is_the_saved_one(tmp_path: Path):
    saved, path = walked(tmp_path)
    jsonschema.validate(json.loads(path.read_text()), schema("step-session"))
    other = fresh("rfc-v1-nvhe")
    assert run(other, f"load {path}").facts["differs"] is None  # type: ignore[union-attr]
    assert (other.session.number, other.session.cycles) == (saved.session.number, saved.session.cycles)
    assert guest_digest(other.session) == guest_digest(saved.session)
    assert model_digest(other.session) == model_digest(saved.session)
    assert other.session.changes == saved.session.changes
    assert {number: stop.words for number, stop in other.stops.items()} == {
        number: stop.words for number, stop in saved.stops.items()
    }
    assert (other.next_stop, other.walked_from) == (saved.next_stop, 5000)
    for line in ("back 3000", "continue", "back continue", "continue"):
        assert run(other, line).facts == run(saved, line).facts, line  # type: ignore[union-attr]
    again = tmp_path / "again.json"
    run(other, f"goto insn {json.loads(path.read_text())['insn']}")
    run(other, f"save {again}")
    assert {**json.loads(again.read_text()), "walked_from": 5000} == json.loads(path.read_text())


def test_a_case_file_is_found_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "mine.toml").write_text('base = "v5.17-nvhe"\nsize = "16KiB"\n')
    monkeypatch.chdir(tmp_path)
    control = Control(Session(operand("mine.toml")))
    run(control, "step 5")
    run(control, "save s.json")
    monkeypatch.chdir("/")
    loaded, differs = saving.load(tmp_path / "s.json")
    assert (loaded.session.number, differs) == (5, "")
    (tmp_path / "mine.toml").write_text('base = "v5.17-nvhe"\nsize = "32KiB"\n')
    with pytest.raises(InputError, match="what it names has changed"):
        saving.load(tmp_path / "s.json")


def test_what_another_version_makes_of_it_is_said(tmp_path: Path, control: Control):
    path = tmp_path / "s.json"
    run(control, "step 100")
    run(control, f"save {path}")
    facts = json.loads(path.read_text())
    facts["state"]["model"] = "0" * 64
    path.write_text(json.dumps(facts))
    with pytest.raises(InputError, match="cycles or caches are not what was saved: the file is damaged"):
        saving.load(path)
    path.write_text(json.dumps({**facts, "tool": "0.0.7"}))
    said = run(control, f"load {path}")
    assert said is not None
    assert "that was relocscope 0.0.7" in said.facts["differs"]
    assert said.facts["differs"] in said.text


DAMAGE: list[tuple[str, Any, str]] = [
    ("schema", "relocscope/step-session/2", "this relocscope reads relocscope/step-session/1"),
    ("schema", "relocscope/run/1", "no saved session"),
    ("case", "nothing-such", "nothing-such"),
    ("case", 7, "7"),
    ("core", "nocore", "nocore"),
    ("set", [1], "damaged"),
    ("set", {"l2.size": "x"}, "l2.size"),
    ("changes", 3, "damaged"),
    ("changes", [{"insn": 5, "register": "FOO_EL1", "value": "0x1"}], "FOO_EL1"),
    ("changes", [{"insn": 5, "register": "x1", "value": "zz"}], "damaged"),
    ("changes", [{"insn": -5, "register": "x1", "value": "0x1"}], "damaged"),
    ("changes", [{"insn": 5, "register": "x1", "value": "0x1ffffffffffffffff"}], "64 bits"),
    ("changes", [{"insn": 5, "pa": "0x10", "bytes": "00"}], "not RAM"),
    ("changes", [{"insn": 10**9, "pa": "0x10", "bytes": "00"}], "damaged"),
    ("stops", {"1": "frob 7"}, "sets no stop"),
    ("stops", {"x": "break device"}, "damaged"),
    ("insn", 10**9, "damaged"),
    ("insn", 6, "not what was saved"),
    ("insn", "5", "damaged"),
    ("state", None, "damaged"),
    ("state", {}, "not what was saved"),
    ("walked_from", None, "damaged"),
]


@pytest.mark.parametrize(("key", "value", "rule"), DAMAGE)
def test_a_damaged_file_is_one_line_and_changes_nothing(
    tmp_path: Path, control: Control, key: str, value: Any, rule: str
):
    path = tmp_path / "s.json"
    run(control, "step 5")
    run(control, "break device")
    run(control, f"save {path}")
    before = control.session, control.stops, control.session.number
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(InputError, match=rule) as caught:
        run(control, f"load {path}")
    assert "\n" not in str(caught.value)
    assert (control.session, control.stops, control.session.number) == before


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe\x00", b'{"schema": "relocscope/step-session/1"}'])
def test_what_is_no_saved_session_is_one_line(tmp_path: Path, content: bytes):
    path = tmp_path / "s.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"s\.json: ") as caught:
        saving.load(path)
    assert "\n" not in str(caught.value)


def test_saving_leaves_the_old_file_where_it_cannot(tmp_path: Path, control: Control, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "s.json"
    path.write_text("old")

    def fails(*_: object, **__: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(saving.json, "dumps", fails)
    with pytest.raises(KeyboardInterrupt):
        run(control, f"save {path}")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_session_is_the_same_however_it_came_to_be_what_it_is():
    """What was changed and undone leaves nothing behind, and neither does the order in which it was said."""
    long, short = fresh(), fresh()
    for line in (
        "goto insn 300", "set pc 0", "set pc copy_line", "goto insn 305", "set x9 7", "goto insn 900", "set x9 8",
        "goto insn 300", "set x8 1", "goto insn 500", "set x7 1", "set x6 1",
    ):  # fmt: skip
        run(long, line)
    short.session.go(300)
    short.session.edit(*long.session.changes[:3])
    short.session.go(500)
    short.session.edit(*long.session.changes[3:])
    assert [change.insn for change in short.session.changes] == [300, 300, 300, 500, 500]
    assert short.session.changes == long.session.changes
    for number in (500, 299, 300, 301, 5000):
        for each in (long, short):
            each.session.go(number)
        assert guest_digest(long.session) == guest_digest(short.session), number
        assert model_digest(long.session) == model_digest(short.session), number
    assert len(long.session.trace.exceptions) == len(short.session.trace.exceptions)
    assert check(long.session.trace) == []


# -- Exports ----------------------------------------------------------------------------------------------------------


def test_exported_bills_add_up_to_the_cycle_stack(tmp_path: Path, control: Control):
    run(control, "until page 3")
    stack, cycles, number = control.session.cycle_stack(), control.session.cycles, control.session.number
    before = model_digest(control.session), guest_digest(control.session)
    run(control, f"export {tmp_path / 'walk.csv'}")
    assert (model_digest(control.session), guest_digest(control.session)) == before
    with (tmp_path / "walk.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["insn"]) for row in rows] == list(range(number))
    assert sum(int(row["cycles"]) for row in rows) == cycles
    assert {leaf: sum(int(row[leaf]) for row in rows) for leaf in LEAVES} == stack
    devices = [row for row in rows if row["access_memory_type"] == "Device-nGnRnE"]
    assert devices
    assert all(row["el"] == "2" for row in devices)
    run(control, f"export {tmp_path / 'walk.json'} 100 200")
    facts = json.loads((tmp_path / "walk.json").read_text())
    jsonschema.validate(facts, schema("step-export"))
    for one, row in zip(facts["instructions"], rows[100:200], strict=True):
        assert (one["insn"], one["va"], one["cycle"], one["cycles"]) == (
            int(row["insn"]), row["va"], int(row["cycle"]), int(row["cycles"]),
        )  # fmt: skip


def test_the_walk_begins_where_a_jump_led(tmp_path: Path, control: Control):
    for line, walk in (
        ("step 5", (0, 5)), ("goto insn 300", (300, 300)), ("step 7", (300, 307)), ("back 3", (300, 304)),
        ("back 10", (294, 294)), ("step 2", (294, 296)), ("restart", (0, 0)), ("step", (0, 1)),
    ):  # fmt: skip
        run(control, line)
        facts = run(control, f"export {tmp_path / 'walk.json'}").facts  # type: ignore[union-attr]
        assert (facts["from"], facts["to"]) == walk, line


def test_the_view_is_exported_as_text(tmp_path: Path, control: Control):
    run(control, "until device")
    run(control, f"export {tmp_path / 'view.txt'}")
    text = (tmp_path / "view.txt").read_text()
    for part in ("Device-nGnRnE", "next_entry", "x14", "SCTLR_EL2", "cycles so far"):
        assert part in text


@pytest.mark.parametrize(
    ("line", "rule"),
    [("export walk", "must end in"), ("export /no/such/walk.csv", "/no/such"), ("export a.csv 5 3", "in order"),
     ("export a.csv 0 99999999", "must lie"), ("export a.csv x", "whole number"), ("save /no/such/s", "/no/such")],
)  # fmt: skip
def test_what_cannot_be_written_is_one_line(
    tmp_path: Path, control: Control, monkeypatch: pytest.MonkeyPatch, line: str, rule: str
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=rule):
        run(control, line)
    assert list(tmp_path.iterdir()) == []
    assert control.session.number == 0


# -- Words ------------------------------------------------------------------------------------------------------------


def test_every_prefix_that_means_one_fixed_word_alone_means_it():
    for word in FIXED:
        for length in range(1, len(word) + 1):
            if word[:length] in FIXED:
                assert command_name(word[:length]) == word[:length]
            elif [each for each in FIXED if each.startswith(word[:length])] == [word]:
                assert command_name(word[:length]) == word


@pytest.mark.parametrize(
    ("short", "whole"),
    [("unt dev", "until device"), ("until mi l1i", "until miss l1i"), ("unt wr sctlr_el1", "until write SCTLR_EL1"),
     ("unt ty device-ngnrne", "until type Device-nGnRnE"),
     ("g i 300", "goto insn 300"), ("go c 5000", "goto cycle 5000"), ("inf ma", "info map"), ("inf k", "info kimage"),
     ("unt pag 2", "until page 2")],
)  # fmt: skip
def test_words_behind_a_command_may_be_short_too(control: Control, short: str, whole: str):
    first = run(control, short)
    control.session.go(0)
    second = run(control, whole)
    assert first is not None
    assert second is not None
    assert first.facts == second.facts


@pytest.mark.parametrize(
    ("before", "text", "found"),
    [("", "tr", ["translate"]), ("until ", "de", ["device"]), ("until ", "copy", ["copy_line"]),
     ("unt miss ", "l2", ["l2", "l2tlb"]), ("break type ", "normal-w", ["Normal-WT", "Normal-WB"]),
     ("set ", "SCTLR_EL", ["SCTLR_EL1", "SCTLR_EL2"]), ("info ", "k", ["kimage"]), ("goto ", "", ["insn", "cycle"]),
     ("watch sp 8 ", "", ["va", "pa", "access", "read", "write"]), ("back until ", "ha", ["hazard"]),
     ("s ", "x", []), ("x ", "next", ["next_entry"])],
)  # fmt: skip
def test_completion_knows_what_comes_next(shared: Session, before: str, text: str, found: list[str]):
    assert completions(shared, before, text) == found


# -- JSON Lines -------------------------------------------------------------------------------------------------------


def test_every_answer_is_as_its_schema_says(tmp_path: Path):
    script = [
        "help", "help cost", "where", "until el 2", "until device", "step", "block", "list", "list 3", "regs",
        "sysregs",
        "sysregs MAIR_EL1", "x pc 16", "x 0x80000000 16 pa", "translate pc", "translate 0xffffffffffffff00", "cost",
        "cost pc", "stack", "caches pc", "tlb pc", "buffers", "info", "info map", "info kimage", "info symbols",
        "break copy_line", "break hazard", "watch sp 8", "info breaks", "delete 1", "page", "finish", "set x1 1",
        "set [pc+4096] 5", "info changes", 'patch pc+512 "nop"', "back 4", "back until device", "goto insn 20",
        "goto cycle 9000", "restart", "continue", f"save {tmp_path / 's.json'}", f"load {tmp_path / 's.json'}",
        f"export {tmp_path / 'e.csv'} 0 9", "frob", "x 1 2 3 4 5", "quit",
    ]  # fmt: skip
    said = {line.split()[0] for line in script}
    assert said >= set(COMMANDS)
    done = subprocess.run(
        [sys.executable, "-m", "relocscope", "step", "--size", "64KiB", "--repl", "--json", "-"],
        input="\n".join(script), capture_output=True, text=True, check=True,
    )  # fmt: skip
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["command"] for answer in answers] == script[:-1]
    for answer in answers:
        jsonschema.validate(answer, schema("step"))
    assert [answer["command"] for answer in answers if "error" in answer] == ["frob", "x 1 2 3 4 5"]
    plain = subprocess.run(
        [sys.executable, "-m", "relocscope", "step", "--size", "64KiB", "--repl"],
        input="\n".join(script), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert plain.stderr == done.stderr
    assert len(plain.stdout.splitlines()) > len(script)
