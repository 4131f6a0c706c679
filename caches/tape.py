"""From a Trace's records to what the kernels read: numbers of one width, and what the core makes of an instruction."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from caches.config import CoreConfig
from caches.kernels.layout import NO_DESTINATION, NO_SOURCE
from caches.state import EPOCH_STATE, MARK_STATE, OP, TRANSLATION_STATE, WALK_READ_STATE, Ints, Records
from traces.errors import InputError
from traces.schema import NO_REGISTER, Access, InsnClass, InsnFlag, MemoryType
from traces.trace import Trace

# First calendar of each port group; kernels.layout.CALENDAR_* are the same numbers (tests/caches compares).
PORT_ALU, PORT_MULTI, PORT_LOAD, PORT_STORE, PORT_VECTOR, PORT_BRANCH = 0, 6, 8, 12, 16, 20

_HCR_VM, _HCR_DC, _HCR_TGE, _VTCR_VS, _TCR_AS = 1, 1 << 12, 1 << 27, 1 << 19, 1 << 36

_RETURN_MASK, _RETURN = 0xFFFF_FC1F, 0xD65F_0000


def as_int64(field: NDArray[Any]) -> Ints:
    """Return the same 64 bits as signed numbers: the kernels never mix signedness."""
    wide = field.astype(np.uint64) if field.dtype.kind == "u" else field.astype(np.int64)
    return wide.view(np.int64)


def ops_of(trace: Trace, config: CoreConfig) -> Records:
    """Every instruction of the trace, with its latency and ports on this core."""
    insns = trace.insns
    ops = np.zeros(max(1, len(insns)), OP)
    if len(insns) == 0:
        return ops
    for name in ("cls", "access", "maintenance", "barrier", "barrier_option", "size", "slot", "offset", "va"):
        ops[name] = as_int64(insns[name])
    flags = insns["flags"]
    ops["literal"] = (flags & InsnFlag.LITERAL) != 0
    ops["non_temporal"] = (flags & InsnFlag.NON_TEMPORAL) != 0
    ops["is_branch"] = np.isin(
        insns["cls"], [InsnClass.BRANCH, InsnClass.BRANCH_CONDITIONAL, InsnClass.BRANCH_INDIRECT]
    )
    ops["is_return"] = (insns["word"] & _RETURN_MASK) == _RETURN
    ops["backward"] = _is_backward(insns["word"])
    stores = np.isin(insns["access"], [Access.STORE, Access.LOAD_STORE, Access.ZERO])
    ops["uses_entry"] = stores | (insns["cls"] == InsnClass.MAINTENANCE)
    ops["base"] = _base_registers(insns)
    for at in range(3):
        destination = insns["dst"][:, at].astype(np.int64)
        none = (destination >= NO_SOURCE) | (destination == ops["base"])
        ops[f"dst{at}"] = np.where(none, NO_DESTINATION, destination)
    for at in range(4):
        ops[f"src{at}"] = np.minimum(insns["src"][:, at], NO_SOURCE)
    ops["plain"] = (
        ~np.isin(insns["access"], [Access.LOAD, Access.LOAD_STORE, Access.PREFETCH])
        & ~np.isin(insns["cls"], [InsnClass.BARRIER, InsnClass.SYSTEM_WRITE])
    )  # fmt: skip
    ops["nc_pieces"] = _noncacheable_pieces(insns, config.nc.structure_bytes)
    _place(ops, insns, config)
    return ops


def _is_backward(words: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether a conditional branch goes back: the sign of its offset (bit 23, or bit 18 of tbz and tbnz)."""
    test_bit = (words & 0x7E00_0000) == 0x3600_0000
    sign: NDArray[np.bool_] = np.where(test_bit, (words >> 18) & 1, (words >> 23) & 1) == 1
    return sign


def _base_registers(insns: Records) -> Ints:
    """Return the register that a pre- or post-indexed access writes back to: both a source and a destination."""
    both = (insns["dst"][:, :, None] == insns["src"][:, None, :]) & (insns["dst"][:, :, None] != NO_REGISTER)
    shared = both.any(axis=2) & ((insns["flags"] & InsnFlag.WRITEBACK) != 0)[:, None]
    position = shared.argmax(axis=1)
    found = insns["dst"][np.arange(len(insns)), position].astype(np.int64)
    return np.where(shared.any(axis=1), found, NO_DESTINATION)


def _noncacheable_pieces(insns: Records, structure_bytes: int) -> Ints:
    """Return how many transactions a Non-cacheable load makes: one, or several of a load of more than one vector."""
    vectors = ((insns["flags"] & InsnFlag.VECTOR) != 0) & ((insns["flags"] & InsnFlag.PAIR) == 0) & (insns["size"] > 16)
    pieces: Ints = np.where(vectors, -(-insns["size"].astype(np.int64) // structure_bytes), 1)
    return pieces


def _place(ops: Records, insns: Records, config: CoreConfig) -> None:
    """Latency, port group and cycles on the port, by class."""
    p = config.pipeline
    alu, multi = (PORT_ALU, p.alu_ports), (PORT_MULTI, p.multi_ports)
    vector, jump = (PORT_VECTOR, p.vector_ports), (PORT_BRANCH, p.branch_ports)
    ports: dict[InsnClass, tuple[tuple[int, int], int, int]] = {
        InsnClass.ALU: (alu, p.alu_cycles, 1),
        InsnClass.ALU_SHIFT: (multi, p.alu_shift_cycles, 1),
        InsnClass.MUL: (multi, p.multiply_cycles, 1),
        InsnClass.DIV: (multi, p.divide_cycles, p.divide_cycles),
        InsnClass.BRANCH: (jump, 1, 1),
        InsnClass.BRANCH_CONDITIONAL: (jump, 1, 1),
        InsnClass.BRANCH_INDIRECT: (jump, 1, 1),
        InsnClass.FP: (vector, p.vector_cycles, 1),
        InsnClass.SIMD: (vector, p.vector_cycles, 1),
        InsnClass.CRYPTO: (vector, p.crypto_cycles, 1),
        InsnClass.SYSTEM_READ: (multi, p.system_read_cycles, 1),
    }
    ops["latency"] = 1
    for cls, ((first, count), latency, slots) in ports.items():
        of_class = insns["cls"] == cls
        ops["port"][of_class], ops["port_count"][of_class] = first, count
        ops["latency"][of_class], ops["port_slots"][of_class] = latency, slots
    loads = np.isin(insns["access"], [Access.LOAD, Access.LOAD_STORE, Access.PREFETCH])
    stores = ops["uses_entry"].astype(bool) & ~loads
    size = ops["size"]
    ops["port"][loads], ops["port_count"][loads] = PORT_LOAD, p.load_ports
    ops["port_slots"][loads] = np.maximum(1, -(-size[loads] // p.load_bytes_per_cycle))
    store_group = (PORT_LOAD, p.load_ports) if p.stores_use_load_ports else (PORT_STORE, p.store_ports)
    ops["port"][stores], ops["port_count"][stores] = store_group
    ops["port_slots"][stores] = np.maximum(1, -(-size[stores] // p.store_bytes_per_cycle))


def epochs_of(trace: Trace) -> Records:
    """Regimes as the kernels need them; `regime` is odd at EL2 and tells VMIDs and EL2&0 apart.

    An EL0 under HCR_EL2.{E2H, TGE} is EL2&0's. At EL2, TLBI by EL1's names means EL2&0 under the same two bits, and
    else EL1's regime under the current VMID (Arm ARM C5.5).
    """
    source = trace.epochs
    rows = np.zeros(len(source), EPOCH_STATE)
    for name in ("flat_type", "flat_fetch_type", "walk_type", "walk2_type", "stage1", "stage2", "asid", "cause"):
        rows[name] = as_int64(source[name])
    rows["flat"] = (source["stage1"] == 0) & (source["stage2"] == 0)
    rows["row"] = np.arange(len(source))
    hcr, e2h = as_int64(source["hcr"]), source["e2h"].astype(np.int64)
    hosted = (e2h != 0) & (hcr & _HCR_TGE != 0)
    at_el2 = (source["el"] >= 2) | (hosted & (source["el"] == 0))
    vmid_mask = np.where(as_int64(source["vtcr"]) & _VTCR_VS != 0, 0xFFFF, 0xFF)
    vmid = as_int64(source["vttbr"]) >> 48 & vmid_mask
    vmid = np.where(source["stage2"] != 0, source["vmid"].astype(np.int64), vmid)
    guests = (source["stage2"] != 0) | (hcr & (_HCR_VM | _HCR_DC) != 0)
    rows["vm_regime"] = np.where(guests, 4 * (vmid + 1), 0)
    rows["el2_regime"] = 1 + 2 * e2h
    rows["regime"] = np.where(at_el2, rows["el2_regime"], rows["vm_regime"])
    rows["el1_named"] = np.where(at_el2 & ~hosted, rows["vm_regime"], rows["regime"])
    rows["asid_mask"] = np.where(as_int64(source["tcr"]) & _TCR_AS != 0, 0xFFFF, 0xFF)
    return rows


def told_caches(trace: Trace, config: CoreConfig) -> Ints:
    """[level, (sets, ways)] of what set/way operands count; 0 where the guest was told of no such level.

    A trace that does not say was made by hand, for the core at hand.
    """
    rows = np.zeros((3, 2), np.int64)
    own = [(level.sets, level.ways) for level in (config.l1d, config.l2, config.l3)]
    for row, level in enumerate(trace.meta.get("data_caches", own)[:3]):
        rows[row] = level
    return rows


def marks_of(trace: Trace) -> Records:
    """Return marks in whole numbers."""
    rows = np.zeros(len(trace.marks), MARK_STATE)
    for name in ("at", "kind", "a"):
        rows[name] = as_int64(trace.marks[name])
    return rows


def translations_of(trace: Trace) -> Records:
    """Return translations in whole numbers, with room for the hash table of their rows in `slot`."""
    count = len(trace.translations)
    size = 64
    while size < 2 * count + 2:
        size *= 2
    rows = np.zeros(size, TRANSLATION_STATE)
    for name in trace.translations.dtype.names or ():
        if name in (TRANSLATION_STATE.names or ()):
            rows[name][:count] = as_int64(trace.translations[name])
    rows["slot"] = page_hash(rows, count)
    return rows


def walk_reads_of(trace: Trace) -> Records:
    """Descriptor reads in whole numbers."""
    rows = np.zeros(max(1, len(trace.walk_reads)), WALK_READ_STATE)
    rows["pa"][: len(trace.walk_reads)] = as_int64(trace.walk_reads["pa"])
    rows["stage"][: len(trace.walk_reads)] = trace.walk_reads["stage"]
    return rows


def page_hash(translations: Records, count: int) -> Ints:
    """Open-addressed table of rows by (epoch, page); kernels.translation probes it with the same function."""
    size = len(translations)
    table = np.full(size, -1, np.int64)
    page, epoch = translations["page"][:count], translations["epoch"][:count]
    at = (page ^ (page >> 17) ^ (epoch << 7) ^ epoch) & (size - 1)
    pending = np.arange(count)
    # One row a slot and a round: the first of those that want a free slot gets it, the others move on.
    while len(pending):
        slots = at[pending]
        free = table[slots] < 0
        winners, first = np.unique(np.where(free, slots, -1), return_index=True)
        taken = first[winners >= 0]
        table[slots[taken]] = pending[taken]
        keep = np.ones(len(pending), np.bool_)
        keep[taken] = False
        pending = pending[keep]
        at[pending] = (at[pending] + 1) & (size - 1)
    return table


def blocks_of(trace: Trace) -> Ints:
    """[block, (first instruction, instructions, values)]."""
    rows = np.zeros((max(1, len(trace.blocks)), 3), np.int64)
    for column, name in enumerate(("first", "count", "values")):
        rows[: len(trace.blocks), column] = trace.blocks[name]
    return rows


def promises(trace: Trace) -> None:
    """InputError where an index of the trace points outside: the kernels do not look."""
    executions, blocks, insns = trace.executions, trace.blocks, trace.insns
    if len(executions) and (len(blocks) == 0 or int(executions.max()) >= len(blocks)):
        raise InputError("trace: executions: name a block that is not there")
    if len(blocks) and int((blocks["first"].astype(np.int64) + blocks["count"]).max()) > len(insns):
        raise InputError("trace: blocks: reach past the instructions")
    if len(trace.epochs) == 0:
        raise InputError("trace: epochs: at least one is needed")
    epoch_marks = trace.marks[trace.marks["kind"] == 1]
    if len(epoch_marks) and int(epoch_marks["a"].max()) >= len(trace.epochs):
        raise InputError("trace: marks: name an epoch that is not there")
    rows = trace.translations
    if len(rows) and int((rows["walk_first"].astype(np.int64) + rows["walk_count"]).max()) > len(trace.walk_reads):
        raise InputError("trace: translations: reach past the walk reads")
    for row, block in enumerate(blocks):
        slots = insns["slot"][int(block["first"]) : int(block["first"]) + int(block["count"])]
        if len(slots) == 0:
            raise InputError(f"trace: blocks: block {row} has no instruction")
        if int(slots.max()) >= int(block["values"]):
            raise InputError(f"trace: insns: a slot of block {row} reaches past its {int(block['values'])} values")
    for name in ("memory_type", "fetch_type"):
        if len(rows) and int(rows[name].max()) > MemoryType.NORMAL_WB:
            raise InputError(f"trace: translations: {name} is no memory type")
