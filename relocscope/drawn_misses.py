"""Miss curves as a picture: SVG, or a page around it."""

from pathlib import Path

from relocscope.miss_curves import MissCurves
from relocscope.render_misses import picture
from relocscope.report.drawing import drawn
from relocscope.sweeping.picture_files import page
from traces.replacing import replacing


def write_picture(found: MissCurves, output: str) -> None:
    """Draw the curves into a file that ends in .svg or .html; it appears whole or not at all."""
    text = drawn({"misses": picture(found)}, "").svg["misses"]
    if Path(output).suffix == ".html":
        text = page(f"{found.case} on {found.core}: misses of {found.level}", text, found.sentences)
    with replacing(output, "-o") as stream:
        stream.write(text.encode())
