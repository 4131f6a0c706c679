"""Markup: small pieces of HTML for notebooks, without scripts or styles of their own, everything in them escaped."""

from collections.abc import Sequence
from html import escape

_CELL = "text-align:{side};padding:.1em .8em .1em 0"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Return a table whose columns from `left` on are figures."""
    head = "".join(f'<th style="{_style(place, left)}">{escape(name)}</th>' for place, name in enumerate(columns))
    body = "".join(
        "<tr>"
        + "".join(f'<td style="{_style(place, left)}">{escape(cell)}</td>' for place, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _style(place: int, left: int) -> str:
    return _CELL.format(side="left" if place < left else "right")


def paragraph(words: str, *, strong: bool = False) -> str:
    """Return a paragraph."""
    said = f"<strong>{escape(words)}</strong>" if strong else escape(words)
    return f'<p style="margin:.3em 0">{said}</p>'


def bar(shares: Sequence[tuple[str, str, float]]) -> str:
    """Return a bar of (name, colour, share of the width); what is under a half percent is left out."""
    parts = "".join(
        f'<span title="{escape(name, quote=True)} {100 * share:.1f}%" style="display:inline-block;height:1em;'
        f'width:{100 * share:.2f}%;background:{escape(colour, quote=True)}"></span>'
        for name, colour, share in shares
        if share >= 0.005
    )
    return f'<div style="width:100%;min-width:12em;white-space:nowrap;line-height:1em">{parts}</div>'
