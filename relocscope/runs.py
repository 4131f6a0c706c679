"""Run: one case on one modelled core, with exactly the facts that `run --json` carries."""

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from relocscope import phases
from relocscope.case import KEYS, Case, functional_part
from relocscope.hazards import hazards
from relocscope.operand import Operand
from traces.errors import InputError
from traces.fold import (
    CopySite,
    access_count,
    copy_site,
    data_types,
    fetch_types,
    instruction_count,
    labelled,
    walk_types,
)
from traces.lines import LINE_BYTES
from traces.schema import Role

if TYPE_CHECKING:
    import polars
    from numpy.typing import NDArray

    from caches import CoreConfig
    from traces.outcome import Outcome
    from traces.trace import Trace

SCHEMA = "relocscope/run/1"

_DEFAULT_CORE, _VHE_CORE = "stingray", "thunderx2"


class CannotRunError(InputError):
    """A case needs what the core asked for does not have. The message says what."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Run:
    """What one run did and cost. Fields up to `sampled` are those of `run --json`; the others stay here."""

    case: str
    core: str
    boot: str
    routine: Mapping[str, str]
    image_bytes: int
    pages: int
    instructions: int
    accesses: int
    cycles: int
    seconds: float
    host: Mapping[str, Any]
    outcome: str
    fault: Mapping[str, Any] | None
    copy: Mapping[str, Any] | None
    entry: Mapping[str, Any] | None
    image_ok: bool
    image_visible: bool
    stale_reads: int
    lost_lines: int
    dirty_at_entry: int
    cycle_stack: Mapping[str, int]
    phases: tuple[Mapping[str, Any], ...]
    caches: Mapping[str, Mapping[str, int]]
    tlbs: Mapping[str, Mapping[str, int]]
    dram: Mapping[str, int]
    hazards: tuple[Mapping[str, Any], ...]
    calibrated: tuple[str, ...]
    sampled: Mapping[str, Any] | None
    """Where the copy was timed by a sample: its pages, units, and the 95 % interval of `seconds` (docs/sampling.md)."""
    trace: "Trace" = field(repr=False)
    costs: "Outcome" = field(repr=False)
    config: "CoreConfig" = field(repr=False)
    initial: str = field(repr=False)
    seed: int = field(repr=False)
    site: CopySite | None = field(repr=False)
    operand: Operand | None = field(repr=False)

    @property
    def is_program(self) -> bool:
        """Whether a bare-metal program was run (docs/programs.md), which has no image to be right and no new kernel."""
        return bool(self.trace.meta.get("is_program"))

    def seconds_of(self, leaf: str) -> float:
        """Return the modelled time of one leaf of the cycle stack."""
        return self.cycle_stack[leaf] / self.costs.frequency_hz

    def to_arrow(self) -> "polars.DataFrame":
        """Return what each instruction cost in each phase, the columns of the export parquet-costs (docs/exports.md).

        Whatever reads Arrow's C stream interface takes it: `pyarrow.table(run.to_arrow())`. `run.trace.to_arrow()` is
        what was executed, as the export parquet has it.
        """
        from relocscope.exporting import costs_to_arrow

        return costs_to_arrow(self)

    def to_json(self) -> dict[str, Any]:
        """Return the object of `run --json`: plain dicts, lists, numbers and texts."""
        keys = [f.name for f in dataclasses.fields(self)]
        facts = {key: plain(getattr(self, key)) for key in keys[: keys.index("trace")]}
        return {"schema": SCHEMA, **facts}

    def _repr_html_(self) -> str:
        """Show the run in a notebook."""
        from relocscope.report.notebook import run_html

        return run_html(self)


class Recorded(NamedTuple):
    """What is to be replayed: a trace, on which core, from which state of its caches."""

    trace: "Trace"
    config: "CoreConfig"
    initial: str
    seed: int


def recorded(subject: Operand) -> Recorded:
    """Run the case, or read the trace, that is to be replayed."""
    config = core_config(subject)
    check_boot(subject, config)
    return Recorded(functional_run(subject), config, *start_of(subject))


def run_operand(subject: Operand) -> Run:
    """Run the case, or replay the trace, on the core that was asked for or is the case's own."""
    config, (initial, seed) = core_config(subject), start_of(subject)
    started = time.perf_counter()
    check_boot(subject, config)
    trace = functional_run(subject)
    emulated = time.perf_counter() - started
    return measure(
        trace,
        config,
        name=subject.name,
        initial=initial,
        seed=seed,
        sample=subject.sample,
        operand=subject,
        emulated=emulated,
    )


def start_of(subject: Operand) -> tuple[str, int]:
    """Return the state of the caches at the start, and the seed."""
    if subject.case is not None:
        return subject.case.initial, subject.case.seed
    default = "cold" if subject.ram is None else "kernel-dirty"
    state = KEYS["initial"][1](subject.settings.get("initial", default), "--set: initial")
    seed = KEYS["seed"][1](subject.settings.get("seed", 1), "--set: seed")
    return str(state), int(str(seed))


def check_boot(subject: Operand, config: "CoreConfig") -> None:
    """Refuse a case or a dump that needs what the core lacks; of a trace it is not known."""
    if subject.case is not None:
        check_core(subject.case.boot, subject.case.granule_bytes, config)
    elif subject.ram is not None:
        from relocscope.emulate import ram_guest

        guest = ram_guest(subject.ram)
        check_core(guest.boot.value, guest.page_bytes, config)


def functional_run(subject: Operand) -> "Trace":
    """Return the trace of the case, dump, program or file: what any number of cores may replay."""
    if subject.case is not None:
        return functional(functional_part(subject.case))
    if subject.ram is not None:
        from relocscope.emulate import ram_guest

        return ram_guest(subject.ram).run().trace
    if subject.program is not None:
        return subject.program.run()
    return read_trace(subject.trace_path or Path())


def read_trace(path: Path) -> "Trace":
    """Read a trace file, or a din file (`.din`, `.din.gz`) as a trace."""
    if path.name.endswith((".din", ".din.gz")):
        from traces.exports.din_trace import trace_of_din

        return trace_of_din(path)
    from traces.files import load

    return load(path)


def core_config(subject: Operand) -> "CoreConfig":
    """Return the modelled core of an operand, settings applied."""
    import caches

    config = caches.core_named(subject.core or default_core(subject))
    return config.override(subject.core_settings) if subject.core_settings else config


def default_core(subject: Operand) -> str:
    """Return the core that is taken where none is asked for."""
    if subject.case is not None:
        return subject.case.core
    return _VHE_CORE if needs_vhe(subject) else _DEFAULT_CORE


def needs_vhe(subject: Operand) -> bool:
    """Whether what is to be run was booted with VHE; not known of a trace."""
    if subject.ram is not None:
        from emu.register_files import read_registers, under_vhe

        return under_vhe(read_registers(subject.ram.registers))
    return subject.case is not None and subject.case.boot == "vhe"


def check_core(boot: str, granule_bytes: int, config: "CoreConfig") -> None:
    """Refuse what needs something that the core lacks, and say what."""
    has = config.architecture
    if boot == "vhe" and not has.has_vhe:
        raise CannotRunError(
            f"core {config.name}: boot vhe needs VHE (Armv8.1), which this core ({has.version}) does not have; "
            "try --core thunderx2"
        )
    if granule_bytes not in has.granules:
        import caches

        able = [name for name in caches.core_names() if granule_bytes in caches.core(name).architecture.granules]
        hint = f"; try --core {able[0]}" if able else ""
        raise CannotRunError(f"core {config.name}: map.granule: it has no {granule_bytes >> 10}KiB granule{hint}")


@lru_cache(maxsize=4)
def functional(case: Case) -> "Trace":
    """Emulate once for any number of cores: the last few runs are kept."""
    from relocscope.emulate import emulate

    return emulate(case)


def measure(
    trace: "Trace",
    config: "CoreConfig",
    *,
    name: str,
    initial: str,
    seed: int = 1,
    sample: bool = False,
    operand: Operand | None = None,
    emulated: float = 0.0,
) -> Run:
    """Replay a trace on a core and state what came out. Everything is taken from the trace; `name` is only a label."""
    meta = trace.meta
    started = time.perf_counter()
    site, parts = copy_site(trace), phases.stretches(trace)
    wanted = sorted({part.first for part in parts} | ({site.first, site.last + 1} if site else set()))
    asked = np.array(wanted, np.uint64)
    costs = cost_of(trace, config, site, asked, initial=initial, seed=seed, sample=sample)
    cycles_at = dict(zip(wanted, costs.checkpoint_cycles.tolist(), strict=True))
    replayed = time.perf_counter() - started
    visible, dirty = visibility(trace, costs)
    counters = costs.counters
    return Run(
        case=name,
        core=costs.core,
        **recorded_facts(trace),
        instructions=instruction_count(trace),
        accesses=access_count(trace),
        cycles=costs.cycles,
        seconds=costs.seconds,
        host={
            "seconds": round(emulated + replayed, 6),
            "emulate_seconds": round(emulated, 6),
            "replay_seconds": round(replayed, 6),
        },
        copy=None if site is None else _copy(trace, site, cycles_at, costs.frequency_hz),
        image_visible=bool(meta.get("image_ok", False)) and visible,
        stale_reads=len(costs.stale_lines),
        lost_lines=len(costs.lost_lines),
        dirty_at_entry=dirty if meta.get("entry") else 0,
        cycle_stack=costs.cycle_stack,
        phases=phases.costs_of(trace, parts, cycles_at, costs),
        caches={part: dict(counters[part]) for part in counters if part in _CACHES},
        tlbs={part: dict(counters[part]) for part in counters if part not in (*_CACHES, "dram")},
        dram=dict(counters.get("dram", {})),
        hazards=tuple(hazards(trace, site, costs)),
        calibrated=costs.calibrated,
        sampled=costs.details.get("sampled"),
        trace=trace,
        costs=costs,
        config=config,
        initial=initial,
        seed=seed,
        site=site,
        operand=operand,
    )


def recorded_facts(trace: "Trace") -> dict[str, Any]:
    """Return what a trace says of its run that no core has a part in, under the names of `run --json`."""
    meta = trace.meta
    return {
        "boot": str(meta.get("boot", "")),
        "routine": dict(meta.get("routine") or {"name": "", "sha256": "", "source": ""}),
        "image_bytes": int(meta.get("image_bytes", 0)),
        "pages": int(meta.get("pages", 0)),
        "outcome": str(meta.get("outcome", "completed")),
        "fault": hexed(meta.get("fault"), _FAULT_REGISTERS),
        "entry": hexed(meta.get("entry"), _ENTRY_REGISTERS),
        "image_ok": bool(meta.get("image_ok", False)),
    }


def copy_regime(trace: "Trace", site: CopySite) -> dict[str, Any]:
    """Return what the copy ran under, under the names of `run --json`."""
    regime = trace.epochs[site.epoch]
    return {
        "el": int(regime["el"]),
        "e2h": bool(regime["e2h"]),
        "sctlr": f"{int(regime['sctlr']):#x}",
        "mmu": bool(regime["stage1"]),
        "dcache": bool(regime["dcache"]),
        "icache": bool(regime["icache"]),
    }


def cost_of(
    trace: "Trace",
    config: "CoreConfig",
    site: CopySite | None,
    checkpoints: "NDArray[np.uint64]",
    *,
    initial: str,
    seed: int,
    sample: bool,
) -> "Outcome":
    """Replay a trace in full, or the copy in it by a sample where that is asked for."""
    if site and sample:
        from relocscope.sampling import replay_sampled

        return replay_sampled(trace, config, site, checkpoints, initial=initial, seed=seed)
    from caches import replay

    return replay(trace, config, initial=initial, seed=seed, checkpoints=checkpoints)


_CACHES = ("l1i", "l1d", "l2", "l3", "store_buffer", "prefetch")
_FAULT_REGISTERS = ("ec", "iss", "esr", "far", "elr")
_ENTRY_REGISTERS = ("pc", "x0", "x1", "x2", "x3")


def _copy(trace: "Trace", site: CopySite, cycles_at: Mapping[int, int], frequency_hz: int) -> dict[str, Any]:
    seconds = (cycles_at[site.last + 1] - cycles_at[site.first]) / frequency_hz
    return {
        **copy_regime(trace, site),
        "memory_types": {
            "data": labelled(data_types(trace, site.first, site.last + 1)),
            "fetch": labelled(fetch_types(trace, site.first, site.last + 1)),
            "walk": labelled(walk_types(trace, site.first, site.last + 1)),
        },
        "ns_per_line": seconds * 1e9 / max(site.stored_bytes / LINE_BYTES, 1),
        "bytes_per_second": site.stored_bytes / seconds if seconds else 0.0,
    }


def visibility(trace: "Trace", costs: "Outcome") -> tuple[bool, int]:
    """Whether memory itself holds the image at entry, and how many of its lines are only in caches."""
    wanted = trace.ranges[trace.ranges["role"] == Role.DESTINATION]
    dirty = _inside(costs.dirty_lines, wanted)
    lost = _inside(costs.lost_lines, wanted)
    stale = _inside(costs.stale_lines, trace.ranges[trace.ranges["role"] == Role.SOURCE])
    return dirty + lost + stale == 0, dirty


def _inside(lines: Any, ranges: Any) -> int:
    found = np.zeros(len(lines), np.bool_)
    for row in ranges:
        found |= (lines >= row["pa"]) & (lines - row["pa"] < row["size"])
    return int(found.sum())


def hexed(facts: Mapping[str, Any] | None, registers: tuple[str, ...]) -> dict[str, Any] | None:
    """Return facts of a trace's meta as JSON carries them: registers and addresses as hex text."""
    if facts is None:
        return None
    return {
        key: f"{value:#x}" if key in registers and isinstance(value, int) else value for key, value in facts.items()
    }


def plain(value: Any) -> Any:
    """Return the value as plain dicts, lists, numbers and texts."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value
