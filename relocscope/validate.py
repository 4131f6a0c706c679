"""The accuracy table: published figures beside what the model gives, without a word on which of them agree."""

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from relocscope import microbench
from relocscope.tinymembench import again_reads, first_reads
from traces.errors import InputError
from traces.sizes import parse_size

if TYPE_CHECKING:
    from caches import CoreConfig

SCHEMA = "relocscope/validate/1"

GOAL_MEAN, GOAL_WORST = 0.15, 0.30
"""Mean and largest absolute error that the predicted rows are to keep to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One published figure and the model's."""

    id: str
    kind: str
    """published (a relocation) or microbenchmark."""
    case: str | None
    core: str
    bytes: int
    reference: float
    model: float
    unit: str
    calibrated: bool
    disputed: bool
    source: str
    note: str
    low: float | None = None
    """Between `low` and `high` the model's figure lies as far as the estimates go; None where not asked for."""
    high: float | None = None

    @property
    def within(self) -> bool | None:
        """Whether the published figure lies between them."""
        return None if self.low is None or self.high is None else self.low <= self.reference <= self.high

    @property
    def error(self) -> float:
        """How much larger the model's figure is, as a share of the published one."""
        return self.model / self.reference - 1

    @property
    def predicted(self) -> bool:
        """Neither fitted to nor disputed: what the model is judged by."""
        return not (self.calibrated or self.disputed)


@dataclass(frozen=True, slots=True)
class Table:
    """Every row that was asked for."""

    rows: tuple[Row, ...]

    @property
    def predicted(self) -> tuple[Row, ...]:
        """The rows that count."""
        return tuple(row for row in self.rows if row.predicted)

    def to_json(self) -> dict[str, Any]:
        """Return the object of `validate --json`."""
        disputed = [row for row in self.rows if row.disputed]
        return {
            "schema": SCHEMA,
            "rows": [_plain(row) for row in self.rows],
            "mape_predicted": mean_error(self.predicted),
            "worst_predicted": worst_error(self.predicted),
            "mape_disputed": mean_error(disputed),
            "predicted": len(self.predicted),
            "missed": [row.id for row in self.predicted if abs(row.error) > GOAL_WORST],
            "goal": {"mape": GOAL_MEAN, "worst": GOAL_WORST},
            "intervals": self.intervals,
        }

    @property
    def intervals(self) -> dict[str, int] | None:
        """How many predicted rows lie within their intervals, `of` how many; None where none was asked for."""
        if all(row.within is None for row in self.rows):
            return None
        return {"within": sum(bool(row.within) for row in self.predicted), "of": len(self.predicted)}


def mean_error(rows: Sequence[Row]) -> float | None:
    """Mean absolute error, None of no rows."""
    return sum(abs(row.error) for row in rows) / len(rows) if rows else None


def worst_error(rows: Sequence[Row]) -> float | None:
    """Largest absolute error, None of no rows."""
    return max((abs(row.error) for row in rows), default=None)


def _plain(row: Row) -> dict[str, Any]:
    facts = asdict(row) | {"model": float(f"{row.model:.6g}"), "error": round(row.error, 4)}
    order = ("id", "kind", "case", "core", "bytes", "reference", "model", "unit", "error")
    span = {name: None if facts[name] is None else float(f"{facts[name]:.6g}") for name in ("low", "high")}
    return {key: facts[key] for key in (*order, "calibrated", "disputed", "source", "note")} | span


@cache
def references() -> Mapping[str, Any]:
    """relocscope/references.toml, read."""
    return tomllib.loads((resources.files("relocscope") / "references.toml").read_text(encoding="utf-8"))


@cache
def known_gaps() -> Mapping[str, str]:
    """Return the rows that are known to miss GOAL_WORST, with the reason."""
    return {row: gap["why"] for gap in references()["gap"] for row in gap["rows"]}


def validate(
    cores: Sequence[str] = (),
    *,
    published: bool = True,
    configs: Mapping[str, "CoreConfig"] | None = None,
    step: Callable[[int, int], None] = lambda _done, _total: None,
) -> Table:
    """Fill the table: all of it, or the rows of some cores; without `published`, only microbenchmarks.

    `configs` stands in for presets, by name. `step` hears how far the work is.
    """
    import caches

    for core in cores:
        if core not in caches.core_names():
            raise InputError(f"core {core!r}: no such preset; known: {', '.join(caches.core_names())}")
    mails = [entry for entry in references()["published"] if published and (not cores or entry["core"] in cores)]
    boards = [board for board in references()["board"] if not cores or board["core"] in cores]
    rows: list[Row] = []
    for done, entry in enumerate(mails):
        step(done, len(mails) + len(boards))
        rows.append(_published(entry))
    for done, board in enumerate(boards, len(mails)):
        step(done, len(mails) + len(boards))
        rows.extend(board_rows(board, board_config(board, configs)))
    return Table(tuple(rows))


def _published(entry: Mapping[str, Any]) -> Row:
    size = parse_size(entry["size"], entry["id"])
    return Row(
        id=entry["id"],
        kind="published",
        case=entry["case"],
        core=entry["core"],
        bytes=size,
        reference=entry["seconds"],
        model=_relocation(entry["case"], entry["core"], size),
        unit="s",
        calibrated=entry.get("calibrated", False),
        disputed=entry.get("disputed", False),
        source=entry["source"],
        note="; ".join(text for text in (known_gaps().get(entry["id"], ""), entry.get("note", "")) if text),
    )


@cache
def _relocation(case: str, core: str, size: int) -> float:
    """Modelled seconds of a relocation; two letters may be about the same one."""
    import relocscope

    return relocscope.run(case, core=core, size=size).seconds


def board_config(board: Mapping[str, Any], configs: Mapping[str, "CoreConfig"] | None = None) -> "CoreConfig":
    """Return the core that a benchmark ran on: a preset, or what stands in for it, as that board was set up."""
    import caches

    config = (configs or {}).get(board["core"]) or caches.core(board["core"])
    return config.override(board["set"]) if "set" in board else config


def board_rows(board: Mapping[str, Any], config: "CoreConfig") -> Iterator[Row]:
    """Yield the rows of one benchmark run on one board."""
    label = f"@{board['label']}" if "label" in board else ""
    leaf = parse_size(board.get("leaf", "4KiB"), board["source"])

    def row(name: str, size: int, unit: str, reference: float, model: float) -> Row:
        known = known_gaps().get(f"{board['core']}/{name}{label}", "")
        return Row(
            id=f"{board['core']}/{name}{label}",
            kind="microbenchmark",
            case=None,
            core=board["core"],
            bytes=size,
            reference=reference,
            model=model,
            unit=unit,
            calibrated=name in board.get("calibrated", ()),
            disputed=False,
            source=board["source"],
            note="; ".join(text for text in (known, board.get("note", "")) if text),
        )

    stage2 = parse_size(board["stage2_leaf"], board["source"]) if "stage2_leaf" in board else 0
    if "memcpy" in board:
        rate = microbench.memcpy(config, leaf, stage2_leaf_bytes=stage2).bytes_per_second
        yield row("memcpy", microbench.COPY_BYTES, "B/s", board["memcpy"] * 1e6, rate)
    if "memset" in board:
        rate = microbench.memset(config, leaf, stage2_leaf_bytes=stage2).bytes_per_second
        yield row("memset", microbench.COPY_BYTES, "B/s", board["memset"] * 1e6, rate)
    for number, (leaf_text, measured) in enumerate(board.get("latency_ns", {}).items()):
        ladder = microbench.latency(config, parse_size(leaf_text, leaf_text), stage2_leaf_bytes=stage2)
        as_measured = as_tinymembench(ladder, board, config, number)
        l1d_ns = config.l1d.hit_cycles * 1e9 / config.frequency_hz
        for size_text, extra in zip(references()["sizes"], measured, strict=True):
            size = parse_size(size_text, size_text)
            yield row(f"latency/{size_text}/{leaf_text}", size, "ns", round(extra + l1d_ns, 3), as_measured[size])
    if "nc_read" in board:
        reads = microbench.uncached_reads(config, "Normal-NC")
        for width, rate in board["nc_read"].items():
            yield row(f"nc-read/{width}", microbench.READ_BYTES, "ns", int(width) * 1e3 / rate, reads[int(width)])


def as_tinymembench(
    ladder: Mapping[int, float], board: Mapping[str, Any], config: "CoreConfig", number: int
) -> dict[int, float]:
    """Return the ladder with the misses that its figures have because each repetition reads another part.

    First reads come from the last cache or at what memory takes; lines missed again, from behind the level that they
    fit. `board` has `reads` and `repeats` if they are not the original's.
    """
    last = config.l3 if config.l3.size else config.l2
    reads, repeats = board.get("reads", 10_000_000), board.get("repeats", 10)
    memory = ladder[max(ladder)]
    from_cache = max((ns for size, ns in ladder.items() if size <= last.size // 2), default=0.0)
    measured: dict[int, float] = {}
    for size, warm in ladder.items():
        first = first_reads(size, reads=reads, repeats=repeats, ladder=number, last=last)
        cold = memory + first.in_last_cache * (from_cache - memory)
        extra = first.share * max(0.0, cold - warm)
        if first.share and size <= last.size:
            level = config.l2 if size <= config.l2.size else last
            behind = memory if level is last else from_cache
            extra += again_reads(size, level, reads=reads) * max(0.0, behind - warm)
        measured[size] = warm + extra
    return measured
