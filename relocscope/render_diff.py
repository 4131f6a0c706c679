"""`trace diff` for people."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from relocscope.quantities import seconds, signed
from relocscope.render import plain_table
from relocscope.trace_diff import Difference

_SHOWN = 12
"""Rows of a table of differences; all of them are in the JSON."""

_WORDS = {
    "pc": "another instruction runs",
    "word": "the instruction at one address differs",
    "regime": "they run under different regimes",
    "access": "one reaches memory as the other does not",
    "address": "the same instruction reaches another address",
    "translation": "one address is translated to two places",
    "memory_type": "the same access has another memory type",
    "end": "one ends where the other goes on",
}


def show_difference(out: Console, found: Difference) -> None:
    """Show where two runs part, then what differs most."""
    table = plain_table("", "case", "core", "instructions", "cycles", "modelled", right=(3, 4, 5))
    for name, side in (("A", found.a), ("B", found.b)):
        figures = (f"{side['instructions']:,}", f"{side['cycles']:,}", seconds(side["seconds"]))
        table.add_row(name, escape(side["case"]), side["core"], *figures)
    out.print(table)
    out.print()
    if found.identical:
        out.print("Both did the same, instruction by instruction.")
    for one in found.divergences:
        out.print(f"Instruction {one['instruction']:,}: {_WORDS[one['what']]}")
        for name in ("a", "b"):
            for number, line in enumerate(_instruction(one[name])):
                out.print(Padding(escape(f"{'  ' if number else name.upper() + ' '}{line}"), (0, 0, 0, 2)))
    _show(out, "cycles by cause", found.cycle_stack)
    counters = {f"{part} {name}": row for part, names in found.counters.items() for name, row in names.items()}
    _show(out, "counters", counters)
    _show_costs(out, found)


def _instruction(side: Mapping[str, Any] | None) -> list[str]:
    if side is None:
        return ["has ended"]
    said, access = [f"{side['where']}: {side['text'] or side['word']} [{side['regime']}]"], side["access"]
    if access is not None:
        at = f"va {access['va']}, pa {access['pa']}, {access['memory_type']}"
        said.append(f"{access['kind']} of {access['bytes']} bytes at {at}")
    return said


def _show(out: Console, title: str, rows: Mapping[str, Mapping[str, int]]) -> None:
    differing = {name: row for name, row in rows.items() if row["delta"]}
    if not differing:
        return
    table = plain_table(title, "A", "B", "B - A", right=(1, 2, 3))
    largest = sorted(differing, key=lambda name: -abs(differing[name]["delta"]))
    for name in largest[:_SHOWN]:
        row = differing[name]
        table.add_row(name, f"{row['a']:,}", f"{row['b']:,}", signed(row["delta"]))
    out.print()
    out.print(table)
    _more(out, len(largest))


def _show_costs(out: Console, found: Difference) -> None:
    if not found.costs:
        return
    table = plain_table("cycles by instruction", "A", "B", "B - A", right=(1, 2, 3))
    for row in found.costs[:_SHOWN]:
        name = escape(f"{row['where']}: {row['text'] or row['word']}")
        table.add_row(name, f"{row['a']['cycles']:,}", f"{row['b']['cycles']:,}", signed(row["delta"]))
    out.print()
    out.print(table)
    _more(out, len(found.costs))


def _more(out: Console, rows: int) -> None:
    if rows > _SHOWN:
        out.print(f"({rows - _SHOWN} more with --json)")
