"""Compare what a run did with what its case file states, each statement from a cited source."""

from collections.abc import Callable, Mapping
from typing import Any

from relocscope.runs import Run


def found(run: Run) -> dict[str, Any]:
    """Return everything that a case file may state, as the run has it."""
    return {key: read(run) for key, read in _READERS.items()}


def mismatches(run: Run, expect: Mapping[str, Any]) -> list[str]:
    """List each statement that the run does not bear out, as `key: expected, found`."""
    wrong: list[str] = []
    for key, expected in expect.items():
        if key == "source":
            continue
        got = _READERS[key](run)
        holds = set(expected) <= set(got) if key == "hazards" else got == expected
        if not holds:
            wrong.append(f"{key}: expected {_text(expected)}, found {_text(got)}")
    return wrong


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)


def _of_copy(key: str) -> Callable[[Run], Any]:
    return lambda run: None if run.copy is None else run.copy[key]


def _data_type(run: Run) -> str | None:
    counts: Mapping[str, int] = run.copy["memory_types"]["data"] if run.copy else {}
    return max(counts, key=lambda name: counts[name]) if counts else None


_READERS: Mapping[str, Callable[[Run], Any]] = {
    "outcome": lambda run: run.outcome,
    "copies": lambda run: run.copy is not None,
    "copy_el": _of_copy("el"),
    "mmu": _of_copy("mmu"),
    "dcache": _of_copy("dcache"),
    "icache": _of_copy("icache"),
    "data_type": _data_type,
    "entry_el": lambda run: None if run.entry is None else run.entry["el"],
    "image_ok": lambda run: run.image_ok,
    "hazards": lambda run: tuple(hazard["id"] for hazard in run.hazards),
}
