"""Saving: a session in one file: what is stepped, what was changed, what it stops for, and where it stands.

The file is JSON and holds no state: loading runs the case again, makes the changes at their places and goes there, then
compares the state with the digests of the saved one. Schema: `relocscope/schemas/step-session.json`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import index
from pathlib import Path
from typing import Any

from relocscope.operand import operand, with_settings
from relocscope.stepping.change import Change, change_of
from relocscope.stepping.control import Control
from relocscope.stepping.digest import guest_digest, model_digest
from relocscope.stepping.session import Session
from relocscope.stepping.stop_words import stop_said
from traces.errors import InputError
from traces.reading import read_bytes
from traces.replacing import replacing

SCHEMA = "relocscope/step-session/1"
_FAMILY = "relocscope/step-session/"
_LIMIT_BYTES = 64 << 20


def save(control: Control, path: Path) -> None:
    """Write the session to a file, whole or not at all."""
    session = control.session
    if not session.subject.text:
        raise InputError(f"save: {session.subject.name}: was not given as a CASE that could be written down")
    facts = {
        "schema": SCHEMA,
        "tool": _tool_version(),
        "case": session.subject.text,
        "core": _absolute(session.subject.core),
        "set": dict(session.subject.settings),
        "changes": [change.facts() for change in session.changes],
        "stops": {str(number): stop.said for number, stop in control.stops.items()},
        "insn": session.number,
        "walked_from": control.walked_from,
        "state": _state(session),
    }
    with replacing(path) as stream:
        stream.write((json.dumps(facts, indent=1) + "\n").encode())


def load(path: Path) -> tuple[Control, str]:
    """Make the session of a file again; also say what is not as it was, which is nothing but for another version.

    InputError, of one line, for what is no such file, is damaged or newer, or leads to another state with this version.
    """
    saved = read(path)
    try:
        control = _again(saved)
    except (KeyError, TypeError, ValueError, AttributeError) as error:  # a place or register that this run has not
        raise _damaged(path, error) from None
    state = _state(control.session)
    differs = [name for name in ("guest", "model") if state[name] != saved.state.get(name)]
    if not differs:
        return control, ""
    what = {"guest": "registers or memory", "model": "cycles or caches"}[differs[0]]
    if saved.tool == _tool_version():
        raise InputError(f"{path}: {what} are not what was saved: the file is damaged, or what it names has changed")
    return control, f"{what} are not what was saved: that was relocscope {saved.tool}, this is {_tool_version()}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Saved:
    """What a file says, each part of its kind. Whether there is such a case, and how long it runs, is seen later."""

    case: str
    core: str | None
    settings: Mapping[str, Any]
    changes: Sequence[Change]
    stops: Mapping[int, str]
    insn: int
    walked_from: int
    state: Mapping[str, Any]
    tool: str


def read(path: Path) -> Saved:
    """Read a saved session without running anything. InputError for what is none, is damaged, or is newer."""
    facts = _read(path)
    try:
        return Saved(
            case=str(facts["case"]),
            core=None if facts["core"] is None else str(facts["core"]),
            settings=dict(facts["set"]),
            changes=[change_of(each) for each in facts["changes"]],
            stops={int(number): str(said) for number, said in facts["stops"].items()},
            insn=index(facts["insn"]),
            walked_from=min(max(index(facts["walked_from"]), 0), facts["insn"]),
            state=dict(facts["state"]),
            tool=str(facts.get("tool")),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: damaged: {' '.join(f'{type(error).__name__}: {error}'.split())}")


def _read(path: Path) -> dict[str, Any]:
    text = read_bytes(path, _LIMIT_BYTES)
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict) or not str(facts.get("schema")).startswith(_FAMILY):
        raise InputError(f"{path}: no saved session, or a damaged one")
    if facts["schema"] != SCHEMA:
        raise InputError(f"{path}: {facts['schema']}: this relocscope reads {SCHEMA}")
    return facts


def _again(saved: Saved) -> Control:
    session = Session(with_settings(operand(saved.case), saved.settings, core=saved.core))
    for insn, group in groupby(sorted(saved.changes, key=lambda each: each.insn), key=lambda each: each.insn):
        session.go(insn)
        session.edit(*group)
    session.go(saved.insn)
    control = Control(session, walked_from=saved.walked_from)
    for number, said in saved.stops.items():
        control.stops[number] = stop_said(session, said)
    control.next_stop = max(control.stops, default=0) + 1
    return control


def _state(session: Session) -> dict[str, Any]:
    return {"guest": guest_digest(session), "model": model_digest(session), "cycles": session.cycles}


def _absolute(core: str | None) -> str | None:
    return str(Path(core).absolute()) if core is not None and core.endswith(".toml") else core


def _tool_version() -> str:
    from importlib.metadata import version

    return version("relocscope")
