"""Compare what a run did with what is stated of it: by a row of reproduction.toml, or by a person's own case file."""

from collections.abc import Callable, Mapping
from typing import Any

from relocscope.runs import Run


def found(run: Run) -> dict[str, Any]:
    """Return everything that may be stated, as the run has it; None where there is nothing to read it from."""
    return {key: read(run) for key, read in _READERS.items()}


def mismatches(run: Run, expect: Mapping[str, Any]) -> list[str]:
    """List each statement that the run does not bear out, as `key: expected, found`.

    `hazards` must all be among those found, `no_hazards` must not be; every other key must be equal.
    """
    wrong: list[str] = []
    for key, expected in expect.items():
        if key == "source":
            continue
        got = _READERS[key](run)
        if not _holds(key, expected, got):
            wrong.append(f"{key}: expected {_text(expected)}, found {_text(got)}")
    return wrong


def _holds(key: str, expected: Any, got: Any) -> bool:
    if key == "hazards":
        return set(expected) <= set(got)
    if key == "no_hazards":
        return not set(expected) & set(got)
    return bool(got == expected)


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)


def _of_copy(key: str) -> Callable[[Run], Any]:
    return lambda run: None if run.copy is None else run.copy[key]


def _of_fault(key: str) -> Callable[[Run], Any]:
    return lambda run: None if run.fault is None else run.fault[key]


def _type(kind: str) -> Callable[[Run], str | None]:
    def most(run: Run) -> str | None:
        """Return the memory type of most of the copy's accesses; `none` where it made none of the kind."""
        if run.copy is None:
            return None
        counts: Mapping[str, int] = run.copy["memory_types"][kind]
        return max(counts, key=lambda name: counts[name]) if counts else "none"

    return most


def _hazards(run: Run) -> tuple[str, ...]:
    return tuple(hazard["id"] for hazard in run.hazards)


_READERS: Mapping[str, Callable[[Run], Any]] = {
    "outcome": lambda run: run.outcome,
    "copies": lambda run: run.copy is not None,
    "copy_el": _of_copy("el"),
    "e2h": _of_copy("e2h"),
    "sctlr": _of_copy("sctlr"),
    "mmu": _of_copy("mmu"),
    "dcache": _of_copy("dcache"),
    "icache": _of_copy("icache"),
    "data_type": _type("data"),
    "fetch_type": _type("fetch"),
    "walk_type": _type("walk"),
    "entry_el": lambda run: 0 if run.entry is None else run.entry["el"],
    "image_ok": lambda run: run.image_ok,
    "image_visible": lambda run: run.image_visible,
    "lost": lambda run: run.lost_lines > 0,
    "dirty": lambda run: run.dirty_at_entry > 0,
    "fault_el": _of_fault("el"),
    "fault_ec": _of_fault("ec"),
    "hazards": _hazards,
    "no_hazards": _hazards,
}
