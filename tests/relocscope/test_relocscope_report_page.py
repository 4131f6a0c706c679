"""The report's page in a real browser: what is on the first screen, that nothing complains and nothing is fetched."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browser
import pytest

from relocscope.report.gathered import Report, gathered
from relocscope.report.html import html

pytestmark = pytest.mark.slow

DRAWN = "document.querySelector('html[data-drawn]') !== null"
LIMIT_BYTES = 5 << 20
EVIL = "<img src=x onerror=alert(1)><script>document.title=1"


@pytest.fixture(scope="module")
def founding() -> Report:
    return gathered(("v4.19-nvhe", "rfc-v1-nvhe"), {"size": "1MiB"}, arguments=("report",))


@pytest.fixture(scope="module")
def written(founding: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(html(founding), encoding="utf-8")
    return path


@pytest.fixture
def tab() -> Iterator[browser.Page]:
    with browser.page() as opened:
        yield opened


def opened(tab: browser.Page, path: Path, width: int = 1280, height: int = 800) -> browser.Page:
    tab.size(width, height, mobile=width < 600)
    tab.open(path, DRAWN)
    return tab


def first_screen(tab: browser.Page, height: int) -> str:
    """Return the text of every line of the page that lies within the first screen, whole."""
    lines: str = tab.ask(
        """(() => {
          const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), seen = [];
          for (let node; (node = walker.nextNode());) {
            const range = document.createRange(); range.selectNodeContents(node);
            const boxes = [...range.getClientRects()];
            if (boxes.length && boxes.every(box => box.top >= 0 && box.bottom <= HEIGHT && box.left >= 0
                && box.right <= innerWidth)) seen.push(node.textContent);
          }
          return seen.join(" ");
        })()""".replace("HEIGHT", str(height))
    )
    return " ".join(lines.split())


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 800)])
def test_the_first_screen_answers_the_founding_question(tab: browser.Page, written: Path, width: int, height: int):
    screen = first_screen(opened(tab, written, width, height), height)
    assert "rfc-v1-nvhe is no faster than v4.19-nvhe" in screen
    assert "switched on, but for another exception level than the one that does the copying" in screen
    assert "The copy itself ran with both of them off" in screen
    assert re.search(r"1\.00\D", screen)
    assert "its copy ran at EL2 with SCTLR_EL2.M=C=I=0" in screen
    assert "SCTLR_EL1.M=C=I=1), which governs nothing at EL2" in screen
    assert "SCTLR_EL2 = 0x30c50830 (M=0 C=0 I=0" in screen
    assert "loads and stores were Device-nGnRnE" in screen
    assert "A line of 64 bytes takes" in screen
    assert tab.ask("document.documentElement.scrollWidth") <= width
    assert tab.ask("scrollY") == 0


def test_nothing_complains_and_nothing_is_fetched(tab: browser.Page, written: Path):
    opened(tab, written)
    tab.dark(True)
    tab.ask("for (const each of document.querySelectorAll('details')) each.open = true")
    assert tab.complaints == []
    assert tab.requests == [written.resolve().as_uri()]
    assert written.stat().st_size < LIMIT_BYTES
    assert "default-src 'none'" in written.read_text(encoding="utf-8")


def test_every_picture_is_drawn_and_has_its_table(tab: browser.Page, written: Path):
    opened(tab, written)
    figures = tab.ask(
        """[...document.querySelectorAll("figure")].map(figure => ({
          title: figure.querySelector("h3").textContent,
          says: figure.querySelector(".picture").getAttribute("aria-label"),
          width: figure.querySelector("svg").getBoundingClientRect().width,
          marks: figure.querySelectorAll("svg .role-mark path, svg .role-mark text").length,
          rows: figure.querySelectorAll("tbody tr").length}))"""
    )
    assert len(figures) >= 6
    for each in figures:
        assert each["width"] > 600, each
        assert each["marks"] > 0, each
        assert each["rows"] > 0, each
        assert len(each["says"]) > 40, each


def test_without_scripts_the_pictures_are_there(tab: browser.Page, written: Path):
    tab.scripts(False)
    tab.size(1280, 800)
    tab.open(written)
    found = tab.ask("[...document.querySelectorAll('.picture svg')].map(each => each.getBoundingClientRect().width)")
    assert len(found) >= 6
    assert min(found) > 300


def test_the_numbers_are_those_of_the_json(tab: browser.Page, written: Path, founding: Report):
    facts: Any = json.loads(json.dumps(founding.to_json()))
    opened(tab, written)
    figures = tab.ask("[...document.querySelectorAll('#figures tr')].map(row => [...row.cells].map(c => c.innerText))")
    of = {row[0]: row[1:] for row in figures}
    runs = [part["run"] for part in facts["parts"]]
    assert of["cycles"] == [f"{run['cycles']:,}" for run in runs]
    assert of["instructions"] == [f"{run['instructions']:,}" for run in runs]
    assert of["loads and stores"] == [f"{run['accesses']:,}" for run in runs]
    assert of["per 64 bytes"] == [f"{run['copy']['ns_per_line']:.1f} ns" for run in runs]
    assert tab.ask("document.getElementById('speedup').innerText").startswith(f"{facts['answer']['speedup']:.2f}")
    assert tab.ask("document.getElementById('sentence').innerText") == facts["comparisons"][0]["verdict"]["sentence"]
    for leaf, cycles in runs[1]["cycle_stack"].items():
        if cycles:
            assert f"{cycles:,} (" in tab.ask("document.getElementById('stacks').closest('figure').textContent"), leaf
    hazards = tab.ask("[...document.querySelectorAll('.hazard b')].map(each => each.innerText)")
    assert hazards == [hazard["id"] for run in runs for hazard in run["hazards"]]


def test_a_legend_entry_singles_out_and_the_toggle_shows_shares(tab: browser.Page, written: Path):
    opened(tab, written)
    axis = "document.querySelector('#stacks .role-axis-label').textContent"
    before = tab.ask(axis)
    tab.ask("document.querySelector('#stacks-controls input').click()")
    assert tab.ask(axis) != before
    faded = "document.querySelectorAll('#stacks .role-mark path[opacity=\"0.15\"]').length"
    assert tab.ask(faded) == 0
    symbol = "document.querySelector('#stacks .role-legend-symbol path')"
    tab.ask(f"{symbol}.dispatchEvent(new MouseEvent('click', {{bubbles: true}}))")
    assert tab.ask(faded) > 0
    assert tab.complaints == []


def test_it_prints(tab: browser.Page, written: Path):
    opened(tab, written)
    printed = tab.pdf()
    assert printed.startswith(b"%PDF-")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 30


def test_dark_and_light_are_readable(tab: browser.Page, written: Path):
    opened(tab, written)
    colours = "(() => { const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]; })()"

    def brightness(colour: str) -> float:
        red, green, blue = (int(part) for part in re.findall(r"\d+", colour)[:3])
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    for is_dark in (True, False):
        tab.dark(is_dark)
        text, paper = (brightness(each) for each in tab.ask(colours))
        assert (text - paper > 150) if is_dark else (paper - text > 150)


def test_a_case_with_a_name_made_to_harm_stays_text(tab: browser.Page, tmp_path: Path):
    case = tmp_path / f"{EVIL}.toml"
    case.write_text(f'base = "v5.17-nvhe"\ntitle = "</p>{EVIL}</script>\\u001b[31m"\nsize = "16KiB"\n')
    path = tmp_path / "evil.html"
    path.write_text(html(gathered((str(case),), {})), encoding="utf-8")
    opened(tab, path)
    assert tab.ask("document.title").startswith(EVIL)
    assert tab.ask("document.images.length") == 0
    assert tab.ask("document.querySelectorAll('script').length") == 2
    assert EVIL in tab.ask("document.querySelector('h1').textContent")
    assert tab.complaints == []
