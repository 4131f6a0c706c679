"""Reports: their facts, and how each renderer puts them (the page itself: test_relocscope_report_page.py)."""

import importlib.resources
import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fakes
import jsonschema
import pytest

import caches
from relocscope import cli
from relocscope.comparison import Comparison, sides
from relocscope.contributions import Decomposition
from relocscope.operand import Operand
from relocscope.report import gathered as gathering
from relocscope.report import html as page
from relocscope.report.answer import PLAIN, Answer, answer_of_comparison
from relocscope.report.drawing import Drawn
from relocscope.report.figures import figures_of
from relocscope.report.gathered import Report, gathered, report_of
from relocscope.report.markdown import COLUMNS, markdown
from relocscope.report.pace import MOST_BINS, Bin, Pace, pace_of
from relocscope.report.pictures import pictures
from relocscope.report.text import text
from relocscope.runs import Run, run_operand
from relocscope.sensitivity import At, Number, Sensitivity
from relocscope.verdict import judge
from traces.visible import visible

GOLDEN = Path(__file__).parent / "golden"
SIZE = "64KiB"
_TEXTS = ("title", "where", "evidence")
EVIL = "<script>alert(1)</script>\x1b[31m\u202e&|`"


def pace(_run: Run, _progress: object = None) -> Pace:
    """A copy of two pages, the second one twice as fast."""
    of_page = {"accesses": {"l1d": 100}, "misses": {"l1d": 25}, "source_pa": 0x8000_0000}
    bins = tuple(
        Bin(
            first_page=number, pages=1, start_seconds=number * 1e-6, seconds=1e-6 / (number + 1),
            bytes_per_second=4.096e9 * (number + 1), destination_pa=0x8008_0000 + 4096 * number, **of_page,
        )
        for number in range(2)
    )  # fmt: skip
    return Pace(bins=bins, load_latency={4: 90, 300: 10}, stepped_pages=2, frequency_hz=3_000_000_000)


ESTIMATES = Sensitivity(
    estimated=50, moving=1, low=30.0, high=40.0, flips=(), beyond=None, sentence="Nothing changes the verdict.",
    numbers=(Number(key="nc.latency_ns", value=96, span=(72, 125), at=(At(value=72, speedup=31.0, cause="x"),)),),
)  # fmt: skip


@pytest.fixture(scope="module")
def founding() -> Report:
    return gathered(("v4.19-nvhe", "rfc-v1-nvhe"), {"size": SIZE}, arguments=("report",))


@pytest.fixture(scope="module")
def cached() -> Report:
    return gathered(("v5.17-nvhe",), {"size": SIZE})


def with_evil_names(report: Report) -> Report:
    """The same runs as if cases, routines, symbols, hazards and cores had names made to harm."""
    runs = []
    for part in report.parts:
        trace = part.run.trace
        symbols = {f"{EVIL}{name}": at for name, at in dict(trace.meta.get("symbols", {})).items()}
        runs.append(
            replace(
                part.run,
                case=EVIL,
                routine={**part.run.routine, "name": EVIL},
                hazards=({"id": "dirty-at-entry", "severity": "error", **dict.fromkeys(_TEXTS, EVIL)},),
                trace=replace(trace, meta={**trace.meta, "symbols": symbols}),
                config=replace(part.run.config, title=EVIL),
                operand=None,
            )
        )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(gathering, "sensitivity", lambda *_: report.comparisons[0].sensitivity)
        return report_of(runs, ("report", EVIL))


def test_the_founding_answer_needs_no_knowledge_of_the_project(founding: Report):
    answer = founding.answer
    assert answer.headline == "rfc-v1-nvhe is no faster than v4.19-nvhe"
    assert "The copy itself ran with both of them off" in answer.plain
    assert answer.cause == "copy-outside-translated-regime"
    assert answer.speedup == pytest.approx(1.0, abs=0.02)
    proof = " ".join(fact["fact"] for fact in answer.proof)
    assert "SCTLR_EL2 = 0x30c50830 (M=0 C=0 I=0" in proof
    assert "SCTLR_EL1 = 0x34d5d91d (M=1 C=1 I=1" in proof
    assert "Device-nGnRnE" in proof


def answered(*subjects: Operand) -> Answer:
    """The answer alone, without the runs that a whole report takes."""
    a, b = map(run_operand, subjects)
    none = Decomposition(contributions=(), interactions=())
    return answer_of_comparison(Comparison(a=a, b=b, verdict=judge(a, b), evidence=(), parts=none, fixes=()))


def test_an_answer_that_is_about_a_phase_says_so():
    answer = answered(*sides("purgatory-off", "purgatory-on", {"size": SIZE}))
    assert answer.plain.startswith("The purgatory runs with the MMU and the data cache on")
    facts = [fact["fact"] for fact in answer.proof]
    assert facts[0].startswith("B: SCTLR_EL2 = 0x30c51835 (M=1 C=1 I=1")
    assert facts[1].startswith("A: SCTLR_EL2 = 0x30c50830 (M=0 C=0 I=0")
    assert facts[2].startswith("The purgatory takes ")


def test_two_programs_past_the_caches_are_both_said_to_be(tmp_path: Path):
    source = tmp_path / "f.S"
    source.write_text(
        "many: mov x3, #512\nloop: strb w1, [x0], #1\nsubs x3, x3, #1\nb.ne loop\nret\n"
        "few: mov x3, #64\nagain: str x1, [x0], #8\nsubs x3, x3, #1\nb.ne again\nret\n"
    )
    settings = {"program.args": "0x80000000", "program.ram": "0x80000000+64KiB"}
    report = gathered((f"program:{source}@many", f"program:{source}@few"), settings)
    assert report.answer.plain.startswith("In both, the copy ran with the MMU off")


def test_every_cause_can_be_said_in_common_words():
    schema = json.loads((importlib.resources.files("relocscope") / "schemas" / "explain.json").read_text())
    causes = set(schema["properties"]["verdict"]["properties"]["cause"]["enum"])
    assert causes - {"no-difference"} == set(PLAIN)


@pytest.mark.parametrize(
    ("settings", "cause", "said"),
    [
        ({"a.map.mair": 0x4_0044_FFFF}, "data-device", "In A, the MMU is on, but what is copied is mapped as Device"),
        ({"b.copy.sctlr_c": 0}, "dcache-off", "The MMU is on, but the data cache is off"),
        ({"a.image.sources": "sequential"}, "no-difference", "Both are held back by the same thing. "),
    ],
)
def test_common_words_are_about_the_side_that_they_hold_of(settings: dict[str, Any], cause: str, said: str):
    answer = answered(*sides("rfc-v2-el1", "rfc-v2-el1", {"size": "16KiB", **settings}))
    assert answer.cause == cause
    assert answer.plain.startswith(said)


def test_pace_adds_up_to_the_copy(cached: Report):
    (part,) = cached.parts
    assert part.pace is not None
    bins = part.pace.bins
    copy_seconds = part.run.copy["ns_per_line"] * 1e-9 * part.run.image_bytes / 64 if part.run.copy else 0
    assert sum(each.seconds for each in bins) == pytest.approx(copy_seconds, rel=0.03)
    assert sum(each.pages for each in bins) == pytest.approx(part.run.pages, abs=5)  # but for pages that lie in place
    for name in ("l1d", "l2", "dtlb"):
        of_run = {**part.run.caches, **part.run.tlbs}[name]
        assert 0.8 * of_run["accesses"] <= sum(each.accesses[name] for each in bins) <= of_run["accesses"]
        assert sum(each.misses[name] for each in bins) <= of_run["misses"]
    starts = [each.start_seconds for each in bins]
    assert starts == sorted(starts)
    assert starts[0] == 0


def test_pace_looks_where_the_copy_reads_and_stores(cached: Report):
    from traces.schema import Role

    (part,) = cached.parts
    assert part.pace is not None

    def inside(pa: int | None, role: Role) -> bool:
        rows = part.run.trace.ranges[part.run.trace.ranges["role"] == role]
        return pa is not None and bool(((rows["pa"] <= pa) & (pa < rows["pa"] + rows["size"])).any())

    assert all(inside(each.source_pa, Role.SOURCE) for each in part.pace.bins)
    assert all(each.source_pa is not None and each.source_pa % 4096 == 0 for each in part.pace.bins)
    assert all(inside(each.destination_pa, Role.DESTINATION) for each in part.pace.bins)


def test_loads_that_hit_take_as_long_as_the_core_says(cached: Report, founding: Report):
    (part,), uncached = cached.parts, founding.parts[0]
    assert part.pace is not None
    assert uncached.pace is not None
    assert min(part.pace.load_latency) == part.run.config.l1d.hit_cycles
    device_cycles = uncached.run.config.cycles(uncached.run.config.device.round_trip_ns)
    assert min(uncached.pace.load_latency) >= device_cycles
    lines = part.run.image_bytes // 64
    assert sum(part.pace.load_latency.values()) <= 4 * lines + 100


def test_stepping_through_pages_changes_no_cycle(cached: Report):
    (part,) = cached.parts
    whole = pace_of(part.run)
    assert whole is not None
    last = whole.bins[-1]
    assert part.run.copy
    total = last.start_seconds + last.seconds
    assert total <= part.run.seconds
    assert total == pytest.approx(part.run.copy["ns_per_line"] * 1e-9 * part.run.image_bytes / 64, rel=0.03)


def test_pages_are_grouped_and_a_sample_has_no_pace(cached: Report, monkeypatch: pytest.MonkeyPatch):
    (part,) = cached.parts
    monkeypatch.setattr("relocscope.report.pace.MOST_BINS", 4)
    grouped = pace_of(part.run)
    assert grouped is not None
    assert len(grouped.bins) == 4 < MOST_BINS
    assert part.run.operand is not None
    assert pace_of(replace(part.run, operand=replace(part.run.operand, sample=True))) is None


def test_code_has_the_cycles_of_the_run(founding: Report):
    for part in founding.parts:
        assert sum(line.cycles for line in part.code) == part.run.cycles
        assert [line.va for line in part.code] == sorted(line.va for line in part.code)
        dearest = max(part.code, key=lambda line: line.cycles)
        assert dearest.text.startswith("ldp")
        assert next(iter(dearest.causes)).startswith("device_")


def test_walks_tell_a_flat_copy_from_a_translated_one(founding: Report, cached: Report):
    a, b = founding.parts
    assert [walk.leaf_bytes for walk in a.walks] == [0]
    assert [(walk.governs_copy, walk.regime) for walk in b.walks] == [(True, "EL2"), (False, "EL1&0")]
    assert not b.walks[0].reads
    assert len(b.walks[1].reads) == 3
    whats = [walk.what for walk in cached.parts[0].walks]
    assert whats == ["the copy's code", "a source page", "a destination page"]
    assert all(walk.data_type == "Normal-WB" and walk.reads for walk in cached.parts[0].walks)


def test_the_memory_map_keeps_every_byte(founding: Report):
    (part, _) = founding.parts
    ranges = part.run.trace.ranges
    roles = {band.role for band in part.memory_map.bands}
    assert {"source", "destination", "code", "table"} <= roles
    assert sum(band.used_bytes for band in part.memory_map.bands) == int(ranges["size"].sum())
    for band in part.memory_map.bands:
        if band.role != "ram":
            assert any(island.pa <= band.pa < island.pa + island.bytes for island in part.memory_map.islands)


def test_every_number_of_the_core_has_its_source(founding: Report):
    (core,) = founding.cores
    assert len(core.numbers) > 100
    assert [number.key for number in core.numbers if number.calibrated] == ["device.round_trip_ns"]
    assert all(number.source or number.estimated for number in core.numbers)


def test_equal_runs_have_equal_hashes_and_others_have_not(founding: Report, cached: Report):
    again = gathered(("v5.17-nvhe",), {"size": SIZE})
    assert again.reproduction.hashes == cached.reproduction.hashes
    hashes = [each["sha256"] for each in (*founding.reproduction.hashes, *cached.reproduction.hashes)]
    assert len(set(hashes)) == len(hashes)


def test_the_json_keeps_its_schema(founding: Report, cached: Report, evil: Report):
    schema = json.loads((importlib.resources.files("relocscope") / "schemas" / "report.json").read_text())
    for report in (founding, cached, evil):
        facts = json.loads(json.dumps(report.to_json(), allow_nan=False))
        jsonschema.Draft202012Validator(schema).validate(facts)


def test_more_than_two_cases_are_each_compared_with_the_first(fake_model: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gathering, "pace_of", pace)
    report = gathered(("v4.19-nvhe", "rfc-v1-nvhe", "v5.17-nvhe"), {"size": SIZE})
    assert [part.which for part in report.parts] == ["A", "B1", "B2"]
    assert [(each.a.case, each.b.case) for each in report.comparisons] == [
        ("v4.19-nvhe", "rfc-v1-nvhe"),
        ("v4.19-nvhe", "v5.17-nvhe"),
    ]
    assert report.answer.headline.startswith("Of 3: v5.17-nvhe is ")
    assert not report.changes_tried
    for said in (text(report), markdown(report), page_of(report, monkeypatch)):
        assert "were not tried: a report of two" in " ".join(said.split())
    for render in (text, markdown):
        assert "No change" not in render(report)


@pytest.fixture(scope="module")
def plain() -> Report:
    """Two runs timed by the model of one line a rule."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(caches, "replay", fakes.replay)
        patched.setattr(gathering, "pace_of", pace)
        patched.setattr(gathering, "sensitivity", lambda *_: ESTIMATES)
        return gathered(("v4.19-nvhe", "v5.17-nvhe"), {"size": SIZE}, arguments=("report", "v4.19-nvhe", "v5.17-nvhe"))


@pytest.fixture(scope="module")
def evil(founding: Report) -> Report:
    return with_evil_names(founding)


_VARIES = re.compile(r"^ +[0-9a-f]{32}\.\.\..*$|(?i:relocscope) [\d.]+|\d+ numbers, \d+ of them", re.MULTILINE)
"""Hashes of routines and traces, the version, and how many numbers a core has."""


@pytest.mark.parametrize(("render", "name"), [(text, "report.txt"), (markdown, "report.md")])
def test_golden_text(plain: Report, render: Any, name: str):
    """RELOCSCOPE_GOLDEN=write writes the files anew; look at the difference."""
    got = _VARIES.sub("...", render(plain))
    golden = GOLDEN / name
    if os.environ.get("RELOCSCOPE_GOLDEN") == "write":
        golden.write_text(got, encoding="utf-8")
    assert got == golden.read_text(encoding="utf-8")


def test_text_fits_a_terminal_and_a_mail(plain: Report, founding: Report):
    for report in (plain, founding):
        lines = text(report).splitlines()
        assert max(map(len, lines)) <= 80
        assert lines[0] == report.answer.headline
        assert not any(line != line.rstrip() for line in lines)
        mail = markdown(report).splitlines()
        assert len(mail) <= 65
        assert max(map(len, mail)) <= COLUMNS + 5


def test_nothing_that_a_guest_or_a_file_says_steers_a_terminal(evil: Report):
    for written in (text(evil), markdown(evil), json.dumps(evil.to_json())):
        assert "\x1b" not in written
        assert "\u202e" not in written
    assert "\\x1b[31m" in text(evil)
    assert "\\<script\\>" in markdown(evil)
    assert "<script>" not in markdown(evil).replace("\\<script", "").replace(evil.reproduction.command, "")


def test_the_page_escapes_what_a_guest_or_a_file_says(evil: Report, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(page, "drawn", lambda specs, script: Drawn(dict.fromkeys(specs, "<svg></svg>"), script))
    written = page.html(evil)
    assert "<script>alert" not in written
    assert "\x1b" not in written
    assert "\u202e" not in written
    assert "&lt;script&gt;alert(1)" in written
    assert written.count("<script") == 2
    assert written.count("</script") == 2


def page_of(report: Report, monkeypatch: pytest.MonkeyPatch) -> str:
    """The page without drawings, which take seconds."""
    monkeypatch.setattr(page, "drawn", lambda specs, _script: Drawn(svg=dict.fromkeys(specs, "<svg></svg>"), script=""))
    return page.html(report)


def test_a_run_without_a_single_cycle_is_reported(monkeypatch: pytest.MonkeyPatch):
    report = gathered(("seattle-39bit",), {"size": SIZE})
    assert report.parts[0].run.cycles == 0
    for said in (text(report), markdown(report), page_of(report, monkeypatch)):
        assert "never reaches the new kernel" in said
        assert "lies in no range that TCR lets a TTBR translate" in " ".join(said.split())
    assert "spent on" not in text(report)
    assert all(picture.id != "stacks" for picture in pictures(report))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("str x1, [x0]\nret", "copies 4KiB in"),
        ("ret", "it stores to no memory but its stack"),
        ("b f", "It never returns: the processor hangs on the way."),
    ],
)
def test_a_program_is_called_no_kernel(code: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = tmp_path / "f.S"
    source.write_text(f"f: {code}\n")
    settings = {"program.args": "0x80000000", "program.ram": "0x80000000+64KiB"}
    report = gathered((f"program:{source}@f",), settings)
    for written in (text(report), markdown(report), page_of(report, monkeypatch)):
        assert said in " ".join(written.split())
        assert "new kernel" not in written
        assert "image" not in {row[0] for row in figures_of(report)[1]}


def test_visible():
    assert visible("plain text, äöü 汉字") == "plain text, äöü 汉字"
    assert visible("a\x1b[0m\x9b\u202eb\udc80\n") == "a\\x1b[0m\\x9b\\u202eb\\udc80\\x0a"


def test_every_picture_has_its_figures_and_says_what_it_shows(founding: Report, cached: Report):
    shown = [picture for report in (founding, cached) for picture in pictures(report)]
    assert {picture.id.split("-")[0] for picture in shown} >= {"stacks", "memory", "rate", "latency", "hit"}
    for picture in shown:
        assert picture.rows
        assert len(picture.alternative) > 40
        assert all(len(row) == len(picture.columns) for row in picture.rows)
        json.dumps(picture.spec, allow_nan=False)


def run_cli(monkeypatch: pytest.MonkeyPatch, arguments: Sequence[str]) -> int:
    monkeypatch.setattr(sys, "argv", ["relocscope", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_the_command_writes_what_the_suffix_says(
    fake_model: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(gathering, "pace_of", pace)
    arguments = ("report", "v5.17-nvhe", "--size", SIZE)
    target, facts = tmp_path / "r.md", tmp_path / "r.json"
    assert run_cli(monkeypatch, [*arguments, "-o", str(target), "--json", str(facts)]) == 0
    assert target.read_text().startswith("# v5.17-nvhe copies 64KiB in ")
    assert target.read_text().endswith("    relocscope report v5.17-nvhe --size 64KiB -o r.md\n")
    assert json.loads(facts.read_text())["schema"] == "relocscope/report/1"
    assert capsys.readouterr() == ("", "")
    assert run_cli(monkeypatch, arguments) == 0
    out, err = capsys.readouterr()
    assert (out.splitlines()[0][:21], err) == ("v5.17-nvhe copies 64K", "")
    assert run_cli(monkeypatch, [*arguments, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["parts"][0]["run"]["case"] == "v5.17-nvhe"


@pytest.mark.parametrize(
    ("output", "rule"), [("report.pdf", "must end in .html, .md or .txt"), ("/nowhere/report.md", "cannot be written")]
)
def test_a_bad_output_is_refused_before_anything_runs(
    output: str, rule: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(gathering, "gathered", None)
    assert run_cli(monkeypatch, ["report", "-o", output]) == 2
    err = capsys.readouterr().err
    assert err.startswith("relocscope: -o: ")
    assert rule in err
    assert err.count("\n") == 1


def test_too_many_cases_are_refused():
    from traces.errors import InputError

    with pytest.raises(InputError, match="at most 16"):
        gathered(["v5.17-nvhe"] * 17, {})
