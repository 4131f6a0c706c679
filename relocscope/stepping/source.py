"""Source: the lines of assembly that the code of a run was made from, where it is ours."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asm.routines import Routine

_WORD_BYTES = 4


@dataclass(frozen=True, slots=True)
class SourceLine:
    """What was written for one instruction."""

    word: int
    """The instruction: what lies there in memory is of this line only while it is the same."""
    text: str
    """As written, without its comment."""
    remarks: tuple[str, ...]
    """The comments that stand before it, and its own."""
    file: str
    number: int


def source_lines(routines: "Iterable[Routine]", symbols: Mapping[str, int]) -> dict[int, SourceLine]:
    """Return the source line of each address, of routines that have a source and whose place is known."""
    found = {}
    for routine in routines:
        if not routine.text or routine.name not in symbols:
            continue
        start, text = symbols[routine.name] - routine.entry, routine.text.splitlines()
        macros = tuple(row.split()[1].rstrip(",") for row in text if row.lstrip().startswith(".macro"))
        for offset, number in routine.lines.items():
            word = int.from_bytes(routine.code[offset : offset + _WORD_BYTES], "little")
            written, _, own = text[number - 1].partition("//")
            if written.split()[0] in macros:
                continue
            remarks = (*_before(text, number - 1), *([own.strip()] if own else []))
            found[start + offset] = SourceLine(
                word, " ".join(_without_label(written).split()), remarks, f"{routine.name}.S", number
            )
    return found


def _without_label(written: str) -> str:
    """Leave out `name:` before an instruction."""
    name, colon, rest = written.partition(":")
    return rest if colon and " " not in name.strip() else written


def _before(text: list[str], row: int) -> list[str]:
    """Return the comment lines that stand right before a line, labels passed over."""
    remarks: list[str] = []
    at = row - 1
    while at >= 0 and (text[at].lstrip().startswith("//") or (text[at].rstrip().endswith(":") and not remarks)):
        if "//" in text[at]:
            remarks.insert(0, text[at].strip().removeprefix("//").strip())
        at -= 1
    return remarks
