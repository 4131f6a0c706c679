"""Files of pictures: Matplotlib's figures as SVG, PNG or PDF, or as a page that holds the SVG."""

import html
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from relocscope.sweeping.extras import imported
from traces.errors import InputError
from traces.replacing import replacing

SUFFIXES = (".svg", ".html", ".png", ".pdf")


def blank(size_inches: tuple[float, float] | None = None) -> Any:
    """Return axes to draw on, which no window shows."""
    return imported("matplotlib.figure", "notebook").Figure(size_inches, layout="constrained").subplots()


def check_suffix(path: str, option: str) -> None:
    """Refuse what can be no picture, before anything runs; also where nothing can draw."""
    if Path(path).suffix not in SUFFIXES:
        raise InputError(f"{option}: {path}: must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    imported("matplotlib.figure", "notebook")


def write_picture(figure: Any, path: str, option: str, *, title: str) -> None:
    """Write a figure there, whole or not at all; the same figure gives the same bytes."""
    matplotlib = imported("matplotlib", "notebook")
    content, suffix = io.BytesIO(), Path(path).suffix
    drawn = suffix if suffix in (".png", ".pdf") else ".svg"
    dated = {".svg": {"Date": None, "Title": title}, ".pdf": {"CreationDate": None}}
    with matplotlib.rc_context({"svg.hashsalt": "relocscope"}):
        figure.savefig(content, format=drawn[1:], metadata=dated.get(drawn))
    data = content.getvalue()
    if suffix == ".html":
        svg = re.sub(r"^.*?(?=<svg)", "", data.decode(), flags=re.DOTALL)
        data = page(title, svg).encode()
    with replacing(path, option) as stream:
        stream.write(data)


def page(title: str, svg: str, sentences: Sequence[str] = ()) -> str:
    """Return a page that holds a picture, and under it what it says."""
    said = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in sentences)
    return _PAGE.format(title=html.escape(title), svg=svg, said=said)


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width"><style>svg {{ max-width: 100%; height: auto }}</style></head>
<body><h1>{title}</h1>{svg}{said}</body></html>
"""
