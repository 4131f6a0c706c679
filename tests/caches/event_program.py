"""What an event-driven twin executes: the instructions of a trace, one by one, without time."""

from dataclasses import dataclass, field

from traces.expand import accesses, executed_counts, execution_epochs
from traces.schema import Access, InsnClass, Maintenance, MemoryType

BRANCHES = (InsnClass.BRANCH, InsnClass.BRANCH_CONDITIONAL, InsnClass.BRANCH_INDIRECT)
CLEANING = (Maintenance.DC_IVAC, Maintenance.DC_CIVAC, Maintenance.DC_CVAC)
RETURN_MASK, RETURN = 0xFFFF_FC1F, 0xD65F_0000


@dataclass(eq=False)
class Insn:
    """One executed instruction, from dispatch to the end of what it does."""

    row: int  # of Trace.insns
    cls: InsnClass
    static: object
    va: int = 0
    pa: int = 0
    kind: MemoryType = MemoryType.NORMAL_WB
    loads: bool = False
    stores: bool = False
    maintains: bool = False
    untranslated: bool = False
    mispredicted: bool = False
    sources: list = field(default_factory=list)
    issued: int | None = None
    address_ready: int | None = None
    done: int | None = None
    begun: bool = False  # Device load, barrier: at the head of the window and under way

    @property
    def is_device(self):
        return self.kind <= MemoryType.DEVICE_GRE


def program(trace):
    """Executed instructions in order, with what the trace says of their addresses and branches."""
    formed = {(int(one["execution"]), int(one["insn"])): one for one in accesses(trace)}
    counts, epochs = executed_counts(trace), execution_epochs(trace)
    starts = trace.blocks["va"][trace.executions].tolist()
    insns = []
    counters, targets = {}, {}
    for execution, block in enumerate(trace.executions.tolist()):
        first = int(trace.blocks["first"][block])
        for row in range(first, first + int(counts[execution])):
            static = trace.insns[row]
            insn = Insn(row, InsnClass(int(static["cls"])), static)
            insn.untranslated = int(trace.epochs["stage1"][epochs[execution]]) == 0
            one = formed.get((execution, row))
            if one is not None:
                insn.va, insn.pa, insn.kind = int(one["va"]), int(one["pa"]), MemoryType(int(one["memory_type"]))
                insn.loads = static["access"] == Access.LOAD
                insn.stores = static["access"] == Access.STORE
                insn.maintains = static["access"] == Access.MAINTAIN
                assert insn.loads or insn.stores or (insn.maintains and static["maintenance"] in CLEANING)
            insns.append(insn)
        if execution + 1 < len(starts) and insns[-1].cls in BRANCHES:
            last = insns[-1]
            last.mispredicted = not predicted(last, starts[execution + 1], counters, targets)
    return insns


def predicted(insn, target, counters, targets):
    """Two-bit counters by branch, the last target of an indirect branch; returns are always right."""
    word = int(insn.static["word"])
    taken = target != int(insn.static["va"]) + 4
    if insn.cls == InsnClass.BRANCH_CONDITIONAL:
        known = insn.row in counters
        offset_sign = 18 if word & 0x7E00_0000 == 0x3600_0000 else 23
        backward = bool(word >> offset_sign & 1)
        # Not seen before: backward is taken, where there is static prediction (not while stage 1 is off on an A72).
        counter = counters.get(insn.row, 2 if backward and not insn.untranslated else 0)
        counters[insn.row] = min(3, counter + 1) if taken else max(0, counter - 1)
        if taken and not known:
            counters[insn.row] = max(2, counters[insn.row])  # the first turn of a loop shows its direction
        return taken == (counter >= 2)
    if insn.cls == InsnClass.BRANCH_INDIRECT and word & RETURN_MASK != RETURN:
        right = targets.get(insn.row) == target
        targets[insn.row] = target
        return right
    return True
