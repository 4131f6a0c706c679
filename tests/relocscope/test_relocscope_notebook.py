"""What runs, outcomes, comparisons and sweeps show of themselves in a notebook, and the example, executed."""

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from test_relocscope_report import EVIL, SIZE

import relocscope
from relocscope.comparison import Comparison
from relocscope.quantities import seconds
from relocscope.runs import Run

EXAMPLE = Path(__file__).parents[2] / "docs" / "example.ipynb"


class Seen(HTMLParser):
    """The text of some HTML, and every element in it, which must be closed."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.text, self.elements, self._open = "", set[str](), list[str]()
        self.feed(markup)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f" {data}"


@pytest.fixture(scope="module")
def run() -> Run:
    return relocscope.run("v5.17-nvhe", size=SIZE)


@pytest.fixture(scope="module")
def compared(run: Run) -> Comparison:
    from relocscope.comparison import Comparison
    from relocscope.contributions import Decomposition
    from relocscope.evidence import evidence
    from relocscope.fixes import Fix
    from relocscope.verdict import judge

    a = relocscope.run("v4.19-nvhe", size=SIZE)
    return Comparison(
        a=a,
        b=run,
        verdict=judge(a, run),
        evidence=tuple(evidence(a, run)),
        parts=Decomposition(contributions=(), interactions=()),
        fixes=(Fix(set={}, speedup=2.0, sentence=EVIL),),
    )


def test_a_run_shows_itself(run: Run):
    seen = Seen(run._repr_html_())
    assert "v5.17-nvhe copies 64KiB in" in seen.text
    assert f"{run.cycles:,}" in seen.text
    assert "dram_latency" in seen.text
    assert "script" not in seen.elements


def test_an_outcome_shows_itself(run: Run):
    seen = Seen(run.costs._repr_html_())
    for leaf, cycles in run.cycle_stack.items():
        assert (f" {cycles:,} " in seen.text) == (cycles > 0), leaf
    assert f"{run.cycles:,}" in seen.text


def test_a_comparison_shows_itself_with_everything_escaped(compared: Comparison):
    seen = Seen(compared._repr_html_())
    assert "times as fast as v4.19-nvhe" in seen.text
    assert compared.verdict.sentence in seen.text
    assert "<script>alert(1)</script>\\x1b[31m" in seen.text
    assert not seen.elements & {"script", "style", "link", "img"}
    assert len(compared._repr_html_()) < 20_000


def test_a_sweep_shows_its_best_points_and_what_failed_with_everything_escaped():
    table = relocscope.sweep("v5.17-nvhe", size=SIZE, grid={"l2.size": ["256KiB", "1MiB"]}, workers=0)
    failed = {**table.rows[0], "point": 2, "status": "failed", "outcome": None, "seconds": None, "error": EVIL}
    seen = Seen(replace(table, rows=[*table.rows, failed])._repr_html_())
    assert "v5.17-nvhe" in seen.text
    assert "3 points, the best 2 of them" in seen.text
    for row in table.rows:
        assert f" {seconds(row['seconds'])} {row['speedup']:.3f} " in seen.text
    assert f" {seconds(table.base['seconds'])} unchanged" in seen.text
    assert "point 2 failed: " in seen.text
    assert "<script>alert(1)</script>\\x1b[31m" in seen.text
    assert not seen.elements & {"script", "style", "link", "img"}


def test_a_sweep_of_which_nothing_arrives_says_so():
    table = relocscope.sweep("rfc-v2-nvhe", size=SIZE, grid={"l2.size": ["256KiB", "1MiB"]}, workers=0)
    seen = Seen(table._repr_html_())
    assert "2 points: none arrives" in seen.text
    assert "2 ended in hang" in seen.text


def test_the_example_is_stored_without_outputs():
    cells = json.loads(EXAMPLE.read_text(encoding="utf-8"))["cells"]
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of Jupyter's own
def test_the_example_runs():
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(EXAMPLE, as_version=4)
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    shown = {cell["id"]: cell["outputs"] for cell in notebook.cells if cell["cell_type"] == "code"}
    for name in ("run", "costs", "explain", "sweep"):
        assert "text/html" in shown[name][0]["data"], name
    assert "is no faster" in shown["explain"][0]["data"]["text/html"]
    assert "6 points, the best 6 of them" in shown["sweep"][0]["data"]["text/html"]
    assert "Normal-WB" in shown["copy"][0]["data"]["text/plain"]
    assert "dram_latency" in shown["dearest"][0]["data"]["text/plain"]
    assert float(shown["change"][0]["data"]["text/plain"]) > 2
