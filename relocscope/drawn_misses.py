"""Miss curves as a picture: SVG, or a page around it."""

from html import escape
from pathlib import Path

from relocscope.miss_curves import MissCurves
from relocscope.render_misses import picture
from relocscope.report.drawing import drawn
from traces.replacing import replacing


def write_picture(found: MissCurves, output: str) -> None:
    """Draw the curves into a file that ends in .svg or .html; it appears whole or not at all."""
    text = drawn({"misses": picture(found)}, "").svg["misses"]
    if Path(output).suffix == ".html":
        said = "".join(f"<p>{escape(sentence)}</p>" for sentence in found.sentences)
        title = escape(f"{found.case} on {found.core}: misses of {found.level}")
        head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        text = f"{head}<body>{text}{said}</body></html>\n"
    with replacing(output, "-o") as stream:
        stream.write(text.encode())
