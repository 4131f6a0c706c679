"""Pictures of a sweep's table."""

from typing import TYPE_CHECKING, Any

from relocscope.quantities import duration
from relocscope.sweeping.extras import imported
from relocscope.sweeping.keys import bare, key
from traces.errors import InputError
from traces.sizes import size_text

if TYPE_CHECKING:
    from relocscope.sweeping.table import Table


def plot(table: "Table", x: str | None = None, y: str = "seconds", *, axes: Any = None) -> Any:
    """Draw `y` over a swept key, a line for each combination of the other keys and cases; return Matplotlib's axes."""
    swept = list(dict.fromkeys(map(bare, table.plan.swept)))
    across = x or next((name for name in swept if key(name).kind is not str), swept[0])
    for name in (across, y):
        if name not in table.columns:
            raise InputError(f"plot: {name}: no such column; docs/sweep.md lists them")
    if axes is None:
        _, axes = imported("matplotlib.pyplot", "notebook").subplots(layout="constrained")
    others = [name for name in (*(["case"] if len(table.plan.cases) > 1 else []), *swept) if name != across]
    lines: dict[tuple[Any, ...], list[tuple[Any, Any]]] = {}
    for row in table.rows:
        if row.get(y) is not None and row.get(across) is not None:
            lines.setdefault(tuple(row.get(name) for name in others), []).append((row[across], row[y]))
    for which, dots in lines.items():
        label = ", ".join(f"{name}={_text(name, value)}" for name, value in zip(others, which, strict=True))
        ordered = sorted(dots)
        axes.plot([at for at, _ in ordered], [value for _, value in ordered], marker="o", label=label)
    if across in swept and key(across).unit == "bytes":
        axes.set_xticks(sorted({at for dots in lines.values() for at, _ in dots}))
        axes.xaxis.set_major_formatter(lambda at, _: size_text(round(at)))
    if y == "seconds":
        axes.yaxis.set_major_formatter(lambda at, _: duration(at))
    axes.set_xlabel(_named(across, key(across).unit if across in swept else ""))
    axes.set_ylabel(_named(y, table.columns[y][1]))
    if others and len(lines) <= 12:
        axes.legend(fontsize="small")
    return axes


def plot_front(table: "Table", *, axes: Any = None) -> Any:
    """Draw bytes of SRAM against time: every point, and a line through the front; return Matplotlib's axes."""
    if axes is None:
        _, axes = imported("matplotlib.pyplot", "notebook").subplots(layout="constrained")
    side = "b" if len(table.plan.cases) > 1 else "a"
    arrived = [row for row in table.rows if row["side"] == side and row["outcome"] == "completed"]
    for rows, style in ((arrived, {"linestyle": "", "marker": ".", "color": "0.65", "label": "points"}),
                        (table.front, {"drawstyle": "steps-post", "marker": "o", "label": "front"})):  # fmt: skip
        axes.plot([row["sram_bytes"] / 1024 for row in rows], [row["seconds"] * 1e3 for row in rows], **style)
    axes.set_xlabel("SRAM of caches and TLBs [KiB]")
    axes.set_ylabel(f"{table.plan.cases[-1]} [ms, modelled]")
    axes.legend(fontsize="small")
    return axes


def _text(name: str, value: Any) -> str:
    """Write a value as legends have it: sizes with their unit."""
    return size_text(value) if name != "case" and key(name).unit == "bytes" and value is not None else str(value)


def _named(name: str, unit: str) -> str:
    return f"{name} [{unit}]" if unit else name
