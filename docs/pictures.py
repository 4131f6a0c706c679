"""Take the pictures of docs/report.md: the report of the founding question in a headless Chromium (`make pictures`)."""

from pathlib import Path
from runpy import run_path
from tempfile import TemporaryDirectory

from relocscope.comparison import FOUNDING_QUESTION
from relocscope.report.gathered import gathered
from relocscope.report.html import html

ROOT = Path(__file__).resolve().parent.parent

_DRAWN = "document.querySelector('html[data-drawn]') !== null"


def main() -> None:
    """Write docs/report-desktop.png and docs/report-telephone.png."""
    browser = run_path(str(ROOT / "tests" / "browser.py"))  # its folder has packages of the names of ours
    report = gathered(FOUNDING_QUESTION, {}, arguments=("report", *FOUNDING_QUESTION, "-o", "report.html"))
    with TemporaryDirectory() as folder, browser["page"]() as tab:
        page = Path(folder) / "report.html"
        page.write_text(html(report), encoding="utf-8")
        for name, width, height in (("desktop", 1100, 1000), ("telephone", 390, 844)):
            tab.size(width, height, mobile=width < 600)
            tab.open(page, _DRAWN)
            tab.picture(ROOT / "docs" / f"report-{name}.png")


if __name__ == "__main__":
    main()
