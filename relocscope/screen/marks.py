"""Marks: the letters and colours of things. Every colour has a mark beside it, for screens that have none."""

from typing import Final

DIM: Final = "$foreground 65%"
STRONG: Final = "bold"
GOOD: Final = "$text-success"
FAIR: Final = "$text-warning"
BAD: Final = "$text-error"
NOTE: Final = "$text-accent"
HERE: Final = "bold $text-primary"

CURRENT, STOP, CHANGED = "▶", "●", "*"
FULL, EMPTY = "█", "·"

ROLES: Final = (
    ("code", "C", "the routine", "bold $text-accent"),
    ("table", "T", "page tables", "bold $text-warning"),
    ("list", "L", "kimage list", "bold $text-secondary"),
    ("vectors", "V", "vectors", "bold $text-primary"),
    ("kimage", "K", "struct kimage", "bold $text-secondary"),
    ("destination", "d", "destination", "$text-error"),
    ("source", "s", "source", "$text-success"),
    ("stack", "k", "stack", DIM),
    ("zero_page", "z", "zero page", DIM),
    ("old_kernel", "o", "old kernel", DIM),
)
"""What memory may be for: name, letter, words, style. A cell of the map shows the first that it holds."""

DESTINATION_BEGUN: Final = ("D", "bold $text-error")


def of_memory_type(label: str | None) -> str:
    """Return the style of a memory type."""
    if label is None:
        return DIM
    if label.startswith("Device"):
        return BAD
    return FAIR if label == "Normal-NC" else GOOD


def of_cause(leaf: str) -> str:
    """Return the style of a cause of cycles."""
    if leaf.startswith("device"):
        return BAD
    if leaf == "base":
        return GOOD
    return NOTE if leaf in ("fetch", "branch", "tlb_walk") else FAIR


def bar(part: int, whole: int, width: int) -> str:
    """Draw a share of something; anything above nothing is seen."""
    cells = 0 if not part or not whole else max(1, round(width * part / whole))
    return (FULL * cells).ljust(width, EMPTY)
