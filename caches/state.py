"""What the model remembers, as arrays: State (one machine), Tape (one stretch of a trace), Result (what it cost).

`fresh(config, ...)` makes a cold machine. Only `kernels` writes into these arrays while a replay runs.
"""

import re
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from caches import views
from caches.config import CoreConfig
from caches.kernels.layout import CODE_MASK, EXTENDED, EXTENSION_WORDS, FLAG_BITS, FLAGS, NO_DESTINATION, NOBODY
from caches.mechanisms import mechanisms
from caches.parts import CacheLevel, Inclusion, Tlb
from traces.schema import LEAVES

Ints = NDArray[np.int64]
Records = NDArray[Any]

LEVEL_NAMES = ("l1d", "l2", "l3", "l1i")
TLB_NAMES = ("itlb", "dtlb", "l2tlb")

COUNTER_ROWS = (
    *LEVEL_NAMES,
    "fetch",
    "branch",
    *TLB_NAMES,
    "walk",
    "dram",
    "device",
    "nc",
    "store",
    "maintenance",
)
_CACHE = (
    "accesses",
    "hits",
    "misses",
    "evictions",
    "write_backs",
    "prefetches",
    "prefetches_used",
    "prefetches_useless",
)
_TLB = ("accesses", "hits", "misses")
COUNTER_COLUMNS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(LEVEL_NAMES, _CACHE),
    **dict.fromkeys(TLB_NAMES, _TLB),
    "fetch": ("groups", "buffer_hits", "uncached"),
    "branch": ("accesses", "hits", "misses"),
    "walk": ("walks", "cache_hits", "", "", "reads"),
    "dram": ("reads", "row_hits", "row_misses", "", "writes"),
    "device": ("loads", "", "", "", "stores"),
    "nc": ("accesses", "hits", "misses", "", "writes"),
    "store": ("stores", "", "streamed"),
    "maintenance": ("operations", "", "", "", "write_backs"),
}
"""Names of the columns of each row; "" is not used by it."""

_ON = tuple(f"on_{mechanism.name}" for mechanism in mechanisms())


def _record(names: str) -> np.dtype[Any]:
    return np.dtype([(name, "<i8") for name in names.split()])


_SPEC_SCALARS = (
    "rob dispatch_width retire_width in_order fetch_queue uncached_log2 uncached_cycles fetch_outstanding "
    "buffer_groups fetch_prefetch fetch_base mispredict branch_in_order exception_cycles system_write store_entries "
    "merge_log2 write_allocate stream_l1 stream_l2 stream_l3 stream_buffers non_temporal_streams write_ack nc_cycles "
    "nc_outstanding nc_forward nc_writes nc_base nc_write_base wt_is_nc device_cycles device_bytes device_reads "
    "device_writes device_load_waits device_early_cycles device_gathers device_read_base device_write_base "
    "walk_entries walkers walker_base walk_l1d walk_step stream_count train_lines max_stride l1_lines l2_lines degree "
    "prefetch_crosses prefetch_walks prefetch_stores prefetch_spare prefetch_extension dram_cycles row_hit_saves "
    "row_conflict_adds burst_sixteenths write_sixteenths channels channels_log2 interleave_lines_log2 bank_count "
    "row_lines_log2 "
    "bank_busy turnaround_slots write_batch refresh_interval refresh_cycles dc_interval dc_clean dc_dirty "
    "dc_outstanding dc_base ivac_cleans zva_bytes set_way_cycles ic_cycles tlbi_cycles dsb_cycles dmb_cycles "
    "isb_cycles ring_mask translation_mask tlb_rows mark_count checkpoint_count " + " ".join(_ON)
)
_LEVEL_FIELDS = (
    "present sets set_mask ways ways_log2 base trees hit_cycles interval interval_log2 replacement extension "
    "inclusion buffers buffer_base behind_poc"
)
_TLB_FIELDS = "base entries ways sets hit_cycles size_count"
_SPEC = [
    *((name, "<i8") for name in _SPEC_SCALARS.split()),
    *((f"level_{name}", "<i8", (len(LEVEL_NAMES),)) for name in _LEVEL_FIELDS.split()),
    *((f"tlb_{name}", "<i8", (len(TLB_NAMES),)) for name in _TLB_FIELDS.split()),
    ("told", "<i8", (3, 2)),  # sets and ways of each level's data cache as the guest was told; 0: of none
]
"""The configuration as the kernels see it: whole numbers, times in core cycles, one `on_` switch a mechanism."""

STREAM_ROWS = 64
LIST_ROWS = 65536
TLB_ROWS = 10240

_CLOCK_SCALARS = (
    "tick random slot segments covered leaf queue inherited pa type failure failure_va epoch flat flat_type "
    "flat_fetch_type walk_type walk2_type stage1 stage2 regime asid asid_mask el1_named vm_regime el2_regime known "
    "row_was refreshed refreshes mark checkpoint count dispatch in_cycle issued retire retired_in_cycle block "
    "block_leaf redirect redirect_leaf fetch_key fetch_next fetched fetch_uncached group branch_resolved memory_after "
    "drained stores stores_done entry merge_block track_line track_mask track_missed stream_lines merging gather_line "
    "device_stored device_store_begun maintenance_next maintenance_done writes old_discarded stale_count lost_count "
    "changes observed_read observed_changes observed_write observed_write_changes"
)

_CLOCK = [
    *((name, "<i8") for name in _CLOCK_SCALARS.split()),
    ("calendar", "<i8", (33, 4096)),
    ("hint", "<i8", (33, 2)),
    # Of each buffer its last request, and when the one before it ended.
    ("buffer_begin", "<i8", (NOBODY + 1,)),
    ("buffer_end", "<i8", (NOBODY + 1,)),
    ("buffer_previous", "<i8", (NOBODY + 1,)),
    ("tlb", "<i8", (TLB_ROWS, 7)),
    ("tlb_sizes", "<i8", (3, 16)),  # 0..7: log2 of the native sizes; 8..15: whether an entry of that size was made
    ("tlb_memo", "<i8", (3, 16)),
    ("walk_cache", "<i8", (256, 3)),
    ("memo", "<i8", (64, 3)),
    ("streams", "<i8", (2 * STREAM_ROWS, 6)),
    ("banks", "<i8", (512, 4)),
    ("merge", "<i8", (8, 3)),
    ("entries", "<i8", (64, 2)),
    ("recent_stores", "<i8", (8,)),
    ("nc_lines", "<i8", (64, 2)),
    ("fetch_groups", "<i8", (8,)),
    ("code_lines", "<i8", (CODE_MASK + 1,)),
    ("registers", "<i8", (NO_DESTINATION + 1,)),
    ("dispatched", "<i8", (1024,)),
    ("retired", "<i8", (1024,)),
    ("segment", "<i8", (32, 2)),
    ("counters", "<i8", (len(COUNTER_ROWS), 8)),
    ("extension_words", "<i8", (EXTENSION_WORDS,)),
    ("stale", "<i8", (LIST_ROWS,)),
    ("lost", "<i8", (LIST_ROWS,)),
]
"""A machine in mid-run, but for its lines. Fixed sizes: one dtype, so one compilation, whatever the configuration."""

LINE = _record("ready origin")
"""Of the line in a way: the cycle at which it is there, and where it comes from until then (`hierarchy.origin`)."""

OP = _record(
    "cls access maintenance barrier barrier_option size slot offset va literal non_temporal is_branch "
    "backward is_return uses_entry plain latency port port_count port_slots base dst0 dst1 dst2 src0 src1 src2 "
    "src3 nc_pieces"
)
"""One instruction of a trace as one core sees it: its latency and ports among the trace's own fields."""

EPOCH_STATE = _record(
    "row flat flat_type flat_fetch_type walk_type walk2_type stage1 stage2 regime asid asid_mask el1_named vm_regime "
    "el2_regime cause"
)
"""A regime is odd at EL2; el1_named is the one that TLBI names ending in E1 mean there, vm_regime that of the VMID."""

MARK_STATE = _record("at kind a")

TRANSLATION_STATE = _record(
    "epoch page pa memory_type fetch_type leaf_log2 leaf2_log2 is_global walk_count walk_first slot"
)

WALK_READ_STATE = _record("pa stage")


def _rows(name: str, dtype: np.dtype[Any]) -> views.RowsType:
    return views.RowsType(views.Layout(name, dtype))


MEMBERS = {
    "tags": views.TableType("tags", 1),
    "ages": views.TableType("ages", 1),
    "trees": views.TableType("trees", 1),
    "lines": _rows("Line", LINE),
    "ops": _rows("Op", OP),
    "epochs": _rows("Epoch", EPOCH_STATE),
    "marks": _rows("Mark", MARK_STATE),
    "translations": _rows("Translation", TRANSLATION_STATE),
    "walk_reads": _rows("WalkRead", WALK_READ_STATE),
    "blocks": views.TableType("blocks", 3),
    "executions": views.TableType("executions", 1),
    "values": views.TableType("values", 1),
    "checkpoints": views.TableType("checkpoints", 1),
    "checkpoint_cycles": views.TableType("checkpoint_cycles", 1),
    "insn_cycles": views.TableType("insn_cycles", len(LEAVES)),
    "insn_count": views.TableType("insn_count", 1),
    "predictor": views.TableType("predictor", 2),
}
"""What the machine's record points to: arrays whose sizes follow from the configuration or the trace."""

MACHINE = np.dtype([*_SPEC, *_CLOCK, *((name, "<i8") for name in MEMBERS)])

MACHINE_TYPE = views.RecordType(views.Layout("Machine", MACHINE, MEMBERS))
OP_TYPE = views.RecordType(views.Layout("Op", OP))


class State(NamedTuple):
    """A machine: MACHINE[1]; of every way of every level its word (`layout`), its age and LINE; of every set a tree."""

    words: Records
    tags: Ints
    ages: Ints
    lines: Records
    trees: Ints


class Ways(NamedTuple):
    """The ways of one level, set after set, as views of a State."""

    tags: Ints
    ages: Ints
    lines: Records

    @property
    def held(self) -> Ints:
        """The line in each way; MISS where it is invalid."""
        return (self.tags >> FLAG_BITS) - 1

    @property
    def flags(self) -> Ints:
        """Bits of `layout`: DIRTY and its like."""
        return self.tags & FLAGS


def _ring(entries: int) -> int:
    """Return how many rows of a ring keep that many of the last instructions. No more are used: they stay near."""
    return 1 << (entries - 1).bit_length()


def _log2(value: int) -> int:
    return value.bit_length() - 1


def _whole_log2(value: int) -> int:
    """Return the logarithm of a power of two, and -1 for any other number."""
    return _log2(value) if value & (value - 1) == 0 else -1


def _sixteenths(config: CoreConfig, nanoseconds: float) -> int:
    """Return a time in sixteenths of a core cycle, at least one."""
    return max(1, round(nanoseconds * config.pipeline.frequency_mhz / 1000 * 16))


def _place_numbers(words: Records, config: CoreConfig, ablate: frozenset[str]) -> None:
    """Return the configuration in core cycles, with every mechanism on but those named."""
    pipeline, store, dram, cost = config.pipeline, config.store, config.dram, config.maintenance
    cycles = config.cycles
    burst_ns = 64 * dram.channels / dram.bandwidth_gbps
    values: dict[str, int] = {
        "rob": pipeline.rob_entries,
        "ring_mask": _ring(max(pipeline.rob_entries, config.fetch.queue_instructions)) - 1,
        "dispatch_width": pipeline.dispatch_width,
        "retire_width": pipeline.retire_width,
        "in_order": int(pipeline.in_order),
        "fetch_queue": config.fetch.queue_instructions,
        "uncached_log2": _log2(config.fetch.uncached_bytes),
        "uncached_cycles": cycles(config.fetch.uncached_ns),
        "fetch_outstanding": config.fetch.uncached_outstanding,
        "buffer_groups": config.fetch.buffer_groups,
        "fetch_prefetch": config.fetch.prefetch_lines,
        "mispredict": config.branch.mispredict_cycles,
        "branch_in_order": int(config.branch.in_order_untranslated),
        "exception_cycles": pipeline.exception_cycles,
        "system_write": pipeline.system_write_cycles,
        "store_entries": store.buffer_entries,
        "merge_log2": _log2(store.merge_bytes),
        "write_allocate": int(store.write_allocate),
        "stream_l1": store.stream_l1_lines,
        "stream_l2": store.stream_l2_lines,
        "stream_l3": store.stream_l3_lines,
        "stream_buffers": store.stream_buffers,
        "non_temporal_streams": int(store.non_temporal_streams),
        "write_ack": cycles(store.write_ack_ns),
        "nc_cycles": cycles(config.nc.latency_ns),
        "nc_outstanding": config.nc.outstanding,
        "nc_forward": config.nc.forward_bytes,
        "nc_writes": config.nc.write_buffers,
        "wt_is_nc": int(config.nc.write_through_is_nc),
        "device_cycles": cycles(config.device.round_trip_ns),
        "device_bytes": config.device.access_bytes,
        "device_reads": config.device.outstanding_reads,
        "device_writes": config.device.outstanding_writes,
        "device_load_waits": int(config.device.load_waits_for_stores),
        "device_early_cycles": cycles(config.device.early_ack_ns),
        "device_gathers": int(config.device.gathers),
        "walk_entries": config.walk.cache_entries,
        "walkers": config.walk.walkers,
        "walk_l1d": int(config.walk.through_l1d),
        "walk_step": config.walk.step_cycles,
        "stream_count": min(config.prefetch.streams, STREAM_ROWS),
        "train_lines": config.prefetch.train_lines,
        "max_stride": config.prefetch.max_stride_lines,
        "l1_lines": config.prefetch.l1_lines,
        "l2_lines": config.prefetch.l2_lines,
        "degree": config.prefetch.degree,
        "prefetch_crosses": int(config.prefetch.crosses_pages),
        "prefetch_walks": int(config.prefetch.walks),
        "prefetch_stores": int(config.prefetch.stores),
        "prefetch_spare": config.prefetch.spare_buffers,
        "prefetch_extension": config.extension_at("prefetch"),
        "dram_cycles": cycles(dram.latency_ns),
        "row_hit_saves": cycles(min(dram.row_hit_saves_ns, dram.latency_ns)),
        "row_conflict_adds": cycles(dram.row_conflict_adds_ns),
        "burst_sixteenths": _sixteenths(config, burst_ns),
        "write_sixteenths": _sixteenths(config, 64 / (dram.bandwidth_gbps * dram.write_share)),
        "channels": dram.channels,
        "channels_log2": _whole_log2(dram.channels),
        "interleave_lines_log2": _log2(dram.interleave) - 6,
        "bank_count": dram.banks,
        "row_lines_log2": _log2(dram.row) - 6,
        "bank_busy": cycles(dram.bank_busy_ns),
        "turnaround_slots": round(dram.turnaround_ns / burst_ns),
        "write_batch": dram.write_batch,
        "refresh_interval": cycles(dram.refresh_interval_ns),
        "refresh_cycles": cycles(dram.refresh_ns),
        "dc_interval": cost.dc_interval_cycles,
        "dc_clean": cost.dc_clean_cycles,
        "dc_dirty": cost.dc_dirty_cycles,
        "dc_outstanding": cost.dc_outstanding,
        "ivac_cleans": int(cost.ivac_cleans),
        "zva_bytes": cost.zva,
        "set_way_cycles": cost.set_way_cycles,
        "ic_cycles": cost.ic_cycles,
        "tlbi_cycles": cycles(cost.tlbi_ns),
        "dsb_cycles": cost.dsb_cycles,
        "dmb_cycles": cost.dmb_cycles,
        "isb_cycles": max(1, cycles(cost.isb_ns)),
    }
    if dram.write_share == 1:
        values["write_sixteenths"] = 0  # no limit of its own
    values |= {name: int(re.sub("^on_", "", name) not in ablate) for name in _ON}
    at = 0
    for name, count in _buffer_groups(config):
        if name.endswith("_base"):
            values[name] = at
        at += count
    for name in _SPEC_SCALARS.split():
        words[name] = values.get(name, 0)  # what depends on the trace is filled in by the replay


def _buffer_groups(config: CoreConfig) -> list[tuple[str, int]]:
    """Return groups of buffers, in order: the levels' miss buffers, then the rest."""
    return [
        *((name, getattr(config, name).miss_buffers) for name in LEVEL_NAMES),
        ("fetch_base", config.fetch.uncached_outstanding),
        ("nc_base", config.nc.outstanding),
        ("nc_write_base", config.nc.write_buffers),
        ("device_read_base", config.device.outstanding_reads),
        ("device_write_base", config.device.outstanding_writes),
        ("walker_base", config.walk.walkers),
        ("dc_base", config.maintenance.dc_outstanding),
    ]


def _place_levels(words: Records, config: CoreConfig) -> tuple[int, int]:
    """Give each level its stretch of ways and its buffers; return how many ways and how many sets there are."""
    base = tree_base = buffer_base = 0
    for row, name in enumerate(LEVEL_NAMES):
        level: CacheLevel = getattr(config, name)
        sets = max(1, level.sets)
        fields = {
            "present": int(level.size > 0),
            "sets": sets,
            "set_mask": sets - 1 if sets & (sets - 1) == 0 else -1,
            "ways": level.ways,
            "ways_log2": _whole_log2(level.ways),
            "base": base,
            "trees": tree_base,
            "hit_cycles": level.hit_cycles,
            "interval": level.interval_cycles,
            "interval_log2": _whole_log2(level.interval_cycles),
            "replacement": EXTENDED if config.extension_at(name) else int(level.replacement),
            "extension": config.extension_at(name),
            "inclusion": int(level.inclusion) if level.size else int(Inclusion.NON_INCLUSIVE),
            "buffers": level.miss_buffers,
            "buffer_base": buffer_base,
            "behind_poc": int(level.behind_poc),
        }
        for field, value in fields.items():
            words[f"level_{field}"][0, row] = value
        base += sets * level.ways
        tree_base += sets
        buffer_base += level.miss_buffers
    return base, tree_base


def _place_tlbs(words: Records, config: CoreConfig) -> None:
    """Give each TLB its rows of clock.tlb."""
    base = 0
    for row, name in enumerate(TLB_NAMES):
        tlb: Tlb = getattr(config, name)
        fields = {
            "base": base,
            "entries": tlb.entries,
            "ways": tlb.ways,
            "sets": tlb.entries // tlb.ways,
            "hit_cycles": tlb.hit_cycles,
            "size_count": len(tlb.sizes),
        }
        for field, value in fields.items():
            words[f"tlb_{field}"][0, row] = value
        words["tlb_sizes"][0, row, : len(tlb.sizes)] = [_log2(size) for size in tlb.sizes]
        words["tlb_memo"][0, row] = base  # its own, which is empty: no entry of another TLB is found there
        base += tlb.entries


def fresh(config: CoreConfig, *, ablate: frozenset[str] = frozenset(), seed: int = 1) -> State:
    """Return a cold machine."""
    words = np.zeros(1, MACHINE)
    _place_numbers(words, config, ablate)
    count, sets = _place_levels(words, config)
    _place_tlbs(words, config)
    words["refreshed"] = -(words["refresh_interval"] >> 1)
    words["tlb_rows"] = sum(getattr(config, name).entries for name in TLB_NAMES)
    words["random"] = (seed * 2654435761) % 0x7FFFFFFE + 1
    words["fetch_key"] = words["track_line"] = words["calendar"] = words["memo"] = words["observed_read"] = words[
        "observed_write"
    ] = -1
    tags, ages, trees = (np.zeros(size, np.int64) for size in (count, count, sets))
    return State(words=words, tags=tags, ages=ages, lines=np.zeros(count, LINE), trees=trees)


def level_ways(state: State, level: int) -> Ways:
    """Return views of one level's ways; empty if the core has no such level."""
    base = count = 0
    if state.words["level_present"][0, level]:
        base = int(state.words["level_base"][0, level])
        count = int(state.words["level_sets"][0, level] * state.words["level_ways"][0, level])
    return Ways(*(array[base : base + count] for array in (state.tags, state.ages, state.lines)))
