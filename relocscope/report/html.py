"""HTML: a report as one self-contained page, which asks nothing of any network (its own policy forbids it)."""

import base64
import hashlib
import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from relocscope.operand import label
from relocscope.quantities import number_text, percent, seconds
from relocscope.report.drawing import drawn
from relocscope.report.figures import figures_of
from relocscope.report.gathered import NOT_TRIED, Report
from relocscope.report.origin import set_options
from relocscope.report.pictures import pictures
from traces.sizes import size_text

if TYPE_CHECKING:
    from jinja2 import Environment

    from relocscope.report.code import Line


def html(report: Report) -> str:
    """Write the page. Whatever came from a guest or a file is escaped."""
    from markupsafe import Markup

    shown = list(pictures(report))
    specs = {picture.id: {**picture.spec, "description": picture.alternative} for picture in shown}
    made = drawn(specs, _page("page.js"))
    script = made.script.replace("</script", "<\\/script")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    columns, rows = figures_of(report)
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            report=report,
            answer=report.answer,
            fastest=_fastest(report),
            pictures=shown,
            svg={name: Markup(svg) for name, svg in made.svg.items()},  # noqa: S704 - by vl-convert, which escapes text
            specs=Markup(_json(specs)),  # noqa: S704 - no < in it
            script=Markup(script),  # noqa: S704 - ours, and Vega's
            script_source=Markup(f"'sha256-{digest}'"),  # noqa: S704 - ours
            style=Markup(_page("page.css")),  # noqa: S704 - ours
            not_tried=NOT_TRIED,
            figures={"columns": columns, "rows": rows},
            counters=[_counters(part.which, part.run) for part in report.parts],
            label=label,
            seconds=seconds,
            percent=percent,
            size_text=size_text,
            set_options=set_options,
            number_text=number_text,
            causes=_causes,
        )
    )


def _page(name: str) -> str:
    return (files("relocscope.report") / "page" / name).read_text(encoding="utf-8")


def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("relocscope.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )


def _json(value: Any) -> str:
    """Write JSON that can stand in a script element, whatever its texts hold."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _fastest(report: Report) -> str:
    """Name the run whose speed-up the answer states."""
    for number, found in enumerate(report.comparisons):
        if found.speedup is not None and found.speedup == report.answer.speedup:
            return report.parts[number + 1].which
    return "B"


def _causes(line: "Line") -> str:
    """Name the causes that make up most of an instruction's cycles."""
    return ", ".join(f"{leaf} {percent(cycles / line.cycles)}" for leaf, cycles in list(line.causes.items())[:3])


def _counters(which: str, run: Any) -> dict[str, Any]:
    groups = {**run.caches, **run.tlbs, "dram": run.dram}
    rows = [(part, event, f"{count:,}") for part, events in groups.items() for event, count in events.items()]
    return {"title": f"{which} {label(run.case)}", "rows": rows}
