"""Tornado: a bar for each number that an answer hangs on, the longest at the top."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from relocscope.answers.indices import Answered, Mover, Sensitivities, listed
from relocscope.sweeping.extras import imported
from relocscope.sweeping.picture_files import blank
from traces.errors import InputError

if TYPE_CHECKING:
    from relocscope.sensitivity import Sensitivity

SHOWN = 15
"""Bars at most."""

BLUE, ORANGE, DARK = "#0072B2", "#E69F00", "#333333"
"""Okabe and Ito's: told apart by everybody, and by lightness on a grey printer."""

_BAR_INCHES, _FRAME_INCHES, _WIDTH_INCHES = 0.3, 1.3, 8.0

Span = tuple[str, float, float]


def tornado_of(answer: Answered, method: str, *, axes: Any = None) -> Any:
    """Draw what one answer hangs on; return Matplotlib's axes."""
    scale, unit = _scaled(answer)
    what = f"time of {answer.case}" if answer.what == "seconds" else "speed-up"
    if method == "one-at-a-time":
        spans = [(one.key, one.numbers["low"] or 0.0, one.numbers["high"] or 0.0) for one in listed(answer)]
        scaled = [(name, low * scale, high * scale) for name, low, high in spans]
        return _around(axes, scaled, (answer.usual or 0.0) * scale, f"{what}{unit}, with that number alone moved")
    shown = listed(answer)[:SHOWN]
    axes = axes or _alone(len(shown))
    if method == "morris":
        _bars(axes, shown, "mu_star", 0.0, 0.7, BLUE, "mean effect (μ*), 95 % interval", scale)
        places = range(len(shown))
        sigmas = [(one.numbers["sigma"] or 0.0) * scale for one in shown]
        axes.plot(sigmas, places, "D", color=ORANGE, markeredgecolor=DARK, label="unevenness (σ)", linestyle="none")
        axes.set_xlabel(f"{what}: what moving a number over its range does{unit}")
    else:
        _bars(axes, shown, "st", 0.2, 0.38, ORANGE, "with others (total), 95 % interval", 100.0)
        _bars(axes, shown, "s1", -0.2, 0.38, BLUE, "alone (first order), 95 % interval", 100.0)
        axes.set_xlabel(f"{what}: share of its variance [%]")
    _named(axes, [one.key for one in shown])
    axes.legend(fontsize="small", loc="lower right")
    return axes


def tornado_of_estimates(speedup: float | None, found: "Sensitivity | None", *, axes: Any = None) -> Any:
    """Draw the estimates that `explain` moved one at a time: no bars where none moves it, InputError without one."""
    if speedup is None or found is None:
        raise InputError("--tornado: one of the two never arrives: there is no speed-up to draw")
    spans = []
    for number in found.numbers:
        reached = [speedup, *(at.speedup for at in number.at)]
        spans.append((number.key, min(reached), max(reached)))
    return _around(axes, spans, speedup, "speed-up of B over A, with that number alone moved over its range")


def figure_of(found: Sensitivities) -> Any:
    """Return a figure of all answers, one above the other."""
    rows = [min(SHOWN, len(listed(answer))) for answer in found.answers]
    heights = [_FRAME_INCHES + _BAR_INCHES * count for count in rows]
    figure = imported("matplotlib.figure", "notebook").Figure((_WIDTH_INCHES, sum(heights)), layout="constrained")
    many = figure.subplots(len(rows), height_ratios=heights, squeeze=False)
    for axes, answer in zip(many[:, 0], found.answers, strict=True):
        tornado_of(answer, found.method, axes=axes)
    return figure


def _around(axes: Any, spans: Sequence[Span], usual: float, label: str) -> Any:
    shown = spans[:SHOWN]
    axes = axes or _alone(len(shown))
    for place, (_, low, high) in enumerate(shown):
        axes.barh(place, usual - low, left=low, color=BLUE, height=0.7, label=None if place else "lower")
        axes.barh(place, high - usual, left=usual, color=ORANGE, height=0.7, label=None if place else "higher")
    axes.axvline(usual, color=DARK, linewidth=1, label="as it is")
    axes.set_xlabel(label)
    _named(axes, [name for name, _, _ in shown])
    axes.legend(fontsize="small", loc="lower right")
    return axes


def _bars(
    axes: Any, shown: Sequence[Mover], index: str, offset: float, height: float, colour: str, label: str, scale: float
) -> None:
    lengths = [(one.numbers[index] or 0.0) * scale for one in shown]
    halves = [(one.numbers[f"{index}_conf"] or 0.0) * scale for one in shown]
    places = [place + offset for place in range(len(shown))]
    axes.barh(places, lengths, height=height, color=colour, xerr=halves, ecolor=DARK, capsize=2, label=label)


def _named(axes: Any, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.use_sticky_edges = False  # the longest bar stays clear of the frame
    axes.margins(x=0.05)
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)


def _alone(bars: int) -> Any:
    size = (_WIDTH_INCHES, _FRAME_INCHES + _BAR_INCHES * bars)
    return blank(size)


def _scaled(answer: Answered) -> tuple[float, str]:
    """Return by what an answer is multiplied, and the unit that it then has, as an axis says it."""
    if answer.what == "speedup":
        return 1.0, ""
    for unit, scale in (("s", 1.0), ("ms", 1e3)):
        if answer.high * scale >= 1:
            return scale, f" [{unit}]"
    return 1e6, " [µs]"
