"""The records that flow through Relocscope: what an instruction is, what the guest did, under which regime.

Everything here is data: enumerations, and NumPy record types whose field names and meanings are the contract between
`asm` (fills INSN), `emu` (fills the rest), `caches` and whoever reads a trace file. Addresses are `va` or `pa`.
Changing a field, its width or its meaning changes SCHEMA_VERSION.
"""

from enum import IntEnum, IntFlag

import numpy as np

SCHEMA_VERSION = 2

PAGE_BYTES = 4096
"""The unit of the translation table, whatever the granule: the smallest page that Arm has."""

NO_REGISTER = 255
"""Fills the unused places of INSN.dst and INSN.src."""

FLAGS_REGISTER = 32
"""NZCV. 0..30 are X0..X30, 31 is SP (never XZR, which is left out), 64..95 are V0..V31."""

FIRST_VECTOR_REGISTER = 64


class MemoryType(IntEnum):
    """What an access is to the memory system (Arm ARM B2.7). Ordered from the strictest to the most relaxed."""

    DEVICE_NGNRNE = 0
    DEVICE_NGNRE = 1
    DEVICE_NGRE = 2
    DEVICE_GRE = 3
    NORMAL_NC = 4
    NORMAL_WT = 5
    NORMAL_WB = 6

    @property
    def label(self) -> str:
        """The name as Arm writes it, and as JSON carries it."""
        return _MEMORY_TYPE_LABELS[self]

    @property
    def is_device(self) -> bool:
        """Device memory of any kind: no speculative reads, no unaligned access, no DC ZVA."""
        return self <= MemoryType.DEVICE_GRE


_MEMORY_TYPE_LABELS = {
    MemoryType.DEVICE_NGNRNE: "Device-nGnRnE",
    MemoryType.DEVICE_NGNRE: "Device-nGnRE",
    MemoryType.DEVICE_NGRE: "Device-nGRE",
    MemoryType.DEVICE_GRE: "Device-GRE",
    MemoryType.NORMAL_NC: "Normal-NC",
    MemoryType.NORMAL_WT: "Normal-WT",
    MemoryType.NORMAL_WB: "Normal-WB",
}


class Shareability(IntEnum):
    """The SH field of a descriptor or of TCR, in Arm's encoding."""

    NON = 0
    OUTER = 2
    INNER = 3


class InsnClass(IntEnum):
    """What the pipeline needs to know to place an instruction."""

    ALU = 0
    """Integer, one cycle, no shifted operand."""
    ALU_SHIFT = 1
    """Integer with a shifted or extended operand, or a bitfield move."""
    MUL = 2
    DIV = 3
    BRANCH = 4
    """Direct and unconditional: b, bl."""
    BRANCH_CONDITIONAL = 5
    """b.cond, cbz, cbnz, tbz, tbnz."""
    BRANCH_INDIRECT = 6
    """br, blr, ret."""
    LOAD = 7
    STORE = 8
    ATOMIC = 9
    """LSE atomics, compare-and-swap: a load and a store of one address."""
    PREFETCH = 10
    MAINTENANCE = 11
    """dc, ic, tlbi, at."""
    BARRIER = 12
    SYSTEM_READ = 13
    SYSTEM_WRITE = 14
    EXCEPTION = 15
    """svc, hvc, smc, brk, hlt, udf."""
    ERET = 16
    HINT = 17
    """nop, yield, wfe, wfi, sev, bti, pointer authentication in hint space."""
    FP = 18
    """Scalar floating point."""
    SIMD = 19
    """Vector arithmetic, and moves between register files."""
    CRYPTO = 20
    OTHER = 21


class Access(IntEnum):
    """What an instruction does to the address that it forms."""

    NONE = 0
    LOAD = 1
    STORE = 2
    LOAD_STORE = 3
    """An atomic: both, at one address."""
    PREFETCH = 4
    ZERO = 5
    """DC ZVA: writes a whole block of DCZID_EL0 size around the address."""
    MAINTAIN = 6
    """DC or IC by VA: names a line, moves no data to registers."""


class Maintenance(IntEnum):
    """Cache and TLB maintenance. _IS broadcast to the Inner Shareable domain, others are local."""

    NONE = 0
    DC_IVAC = 1
    DC_CVAC = 2
    DC_CVAU = 3
    DC_CIVAC = 4
    DC_ISW = 5
    DC_CSW = 6
    DC_CISW = 7
    DC_ZVA = 8
    IC_IALLU = 9
    IC_IALLUIS = 10
    IC_IVAU = 11
    TLBI_VMALLE1 = 12
    TLBI_VMALLE1IS = 13
    TLBI_ALLE1 = 14
    TLBI_ALLE1IS = 15
    TLBI_ALLE2 = 16
    TLBI_ALLE2IS = 17
    TLBI_VMALLS12E1 = 18
    TLBI_VMALLS12E1IS = 19
    TLBI_VAE1 = 20
    """By an operand, as those from TLBI_VAAE1 on are; with or without IS: one PE is all there is."""
    TLBI_ASIDE1 = 21
    TLBI_OTHER = 22
    """By IPA, by range, of EL3."""
    AT = 23
    DC_CVAP = 24
    TLBI_VAAE1 = 25
    TLBI_VALE1 = 26
    TLBI_VAALE1 = 27
    TLBI_VAE2 = 28
    TLBI_VALE2 = 29


TAKES_OPERAND = frozenset(
    {
        Maintenance.DC_ISW,
        Maintenance.DC_CSW,
        Maintenance.DC_CISW,
        Maintenance.TLBI_VAE1,
        Maintenance.TLBI_VAAE1,
        Maintenance.TLBI_VALE1,
        Maintenance.TLBI_VAALE1,
        Maintenance.TLBI_ASIDE1,
        Maintenance.TLBI_VAE2,
        Maintenance.TLBI_VALE2,
    }
)
"""Maintenance that a register names the object of, and not as an address: set and way, or page and ASID.

The register's value is captured as an address would be, but Access is NONE: nothing is translated. Without a slot the
register is XZR.
"""


class Barrier(IntEnum):
    """Barriers; the domain and type of DSB and DMB are in INSN.barrier_option."""

    NONE = 0
    DSB = 1
    DMB = 2
    ISB = 3
    SB = 4
    CLREX = 5


class InsnFlag(IntFlag):
    """Properties of an instruction that the model or the capture asks for."""

    PAIR = 1 << 0
    NON_TEMPORAL = 1 << 1
    """ldnp, stnp."""
    ACQUIRE = 1 << 2
    RELEASE = 1 << 3
    EXCLUSIVE = 1 << 4
    CONDITIONAL = 1 << 5
    """The access may not happen (stxr, cas)."""
    WRITEBACK = 1 << 6
    """Pre- or post-indexed: the base register is among dst."""
    LITERAL = 1 << 7
    """PC-relative load: the address is va + offset, and slot is -1."""
    VECTOR = 1 << 8
    """Moves V registers."""
    SETS_FLAGS = 1 << 9
    READS_COUNTER = 1 << 10
    """Reads time or a performance counter: the guest could see how long things take."""
    CHANGES_REGIME = 1 << 11
    """Writes a system register that governs translation, memory types or caches; an epoch ends here."""
    LATE = 1 << 12
    """Its slot is read just before this instruction, not at the entry of the block."""


INSN = np.dtype(
    [
        ("va", "<u8"),
        ("pa", "<u8"),
        ("word", "<u4"),
        ("cls", "u1"),  # InsnClass
        ("access", "u1"),  # Access
        ("maintenance", "u1"),  # Maintenance
        ("barrier", "u1"),  # Barrier
        ("barrier_option", "u1"),  # CRm of dsb/dmb: 15 SY, 11 ISH, 7 NSH, 3 OSH; -LD 13/9/5/1; -ST 14/10/6/2
        ("element", "u1"),  # bytes of one element: what alignment is judged by (8 for ldp x,x)
        ("flags", "<u2"),  # InsnFlag
        ("size", "<u2"),  # bytes moved by the whole instruction (16 for ldp x,x); 0 for maintenance
        ("slot", "<i2"),  # the block's captured value that forms the address, or is the operand; -1: none or literal
        ("dst", "u1", (3,)),
        ("src", "u1", (4,)),
        ("reserved", "u1"),
        ("offset", "<i8"),  # address = value[slot] + offset (literal: va + offset), modulo 2**64
    ]
)
"""One decoded instruction of one block. A block's rows are consecutive and in program order."""

BLOCK = np.dtype(
    [
        ("va", "<u8"),
        ("pa", "<u8"),
        ("first", "<u4"),  # row of its first instruction in INSN
        ("count", "<u2"),  # instructions
        ("values", "<u2"),  # captured values that one execution appends to Trace.values
        ("accesses", "<u2"),  # instructions with Access LOAD, STORE, LOAD_STORE or ZERO
        ("reserved", "<u2"),
    ]
)
"""A run of instructions that Unicorn executed as one: entered at its first, left at its last (or a TRUNCATE mark)."""


class EpochCause(IntEnum):
    """Why an epoch began."""

    START = 0
    SYSTEM_WRITE = 1
    EXCEPTION = 2
    ERET = 3
    TABLE_STORE = 4
    """A store reached a page that this run's walks had read descriptors from."""
    CODE_STORE = 5
    """A store reached a page that this run had fetched instructions from."""


EPOCH = np.dtype(
    [
        ("el", "u1"),
        ("e2h", "u1"),  # HCR_EL2.E2H: at EL2 the regime is EL2&0
        ("stage1", "u1"),  # SCTLR.M of the regime; 0 in EL1&0 under HCR_EL2.DC or TGE, whatever M is
        ("stage2", "u1"),  # HCR_EL2.VM or DC, at EL1 and EL0 only
        ("dcache", "u1"),  # SCTLR.C of the regime
        ("icache", "u1"),  # SCTLR.I of the regime
        ("flat_type", "u1"),  # MemoryType of data while neither stage translates
        ("flat_fetch_type", "u1"),  # MemoryType of fetches while neither stage translates
        ("walk_type", "u1"),  # MemoryType of stage 1 descriptor reads (TCR.IRGN/ORGN, SCTLR.C)
        ("walk2_type", "u1"),  # the same of stage 2 (VTCR)
        ("cause", "u1"),  # EpochCause
        ("granule_log2", "u1"),
        ("asid", "<u2"),
        ("vmid", "<u2"),
        ("sctlr", "<u8"),  # of the regime's own EL: SCTLR_EL1, or SCTLR_EL2 at EL2
        ("tcr", "<u8"),
        ("mair", "<u8"),
        ("ttbr0", "<u8"),
        ("ttbr1", "<u8"),
        ("hcr", "<u8"),
        ("vtcr", "<u8"),
        ("vttbr", "<u8"),
        ("vbar", "<u8"),
    ]
)
"""A stretch of the run under one translation regime and one content of its tables. Row 0 holds from the start."""

TRANSLATION = np.dtype(
    [
        ("epoch", "<u4"),
        ("page", "<u8"),  # va >> 12
        ("pa", "<u8"),  # of the 4 KiB page
        ("memory_type", "u1"),  # MemoryType of data accesses, SCTLR.C and stage 2 already applied
        ("fetch_type", "u1"),  # MemoryType of instruction fetches, SCTLR.I already applied
        ("shareability", "u1"),
        ("leaf_log2", "u1"),  # bytes that the stage 1 leaf maps, as a power of two (12, 21, 30, ...)
        ("leaf2_log2", "u1"),  # the same of stage 2; 0 without
        ("contiguous", "u1"),
        ("is_global", "u1"),
        ("walk_count", "u1"),  # descriptor reads, both stages, in the order in which the walk makes them
        ("walk_first", "<u4"),  # row of the first one in WALK_READ
    ]
)
"""One page as one epoch translates it, appended when first touched. Epochs that translate nothing have no rows."""

WALK_READ = np.dtype(
    [
        ("pa", "<u8"),
        ("level", "i1"),
        ("stage", "u1"),
        ("reserved", "u1", (6,)),
    ]
)

MAPPING = np.dtype(
    [
        ("epoch", "<u4"),
        ("attr_index", "u1"),  # AttrIndx of the leaves
        ("memory_type", "u1"),  # MemoryType that MAIR gives it, before SCTLR.C and stage 2
        ("shareability", "u1"),
        ("leaf_log2", "u1"),  # bytes that each leaf maps, as a power of two
        ("writable", "u1"),  # at the regime's own level
        ("executable", "u1"),  # the same
        ("is_global", "u1"),
        ("ttbr", "u1"),  # 0 or 1: whose table
        ("va", "<u8"),
        ("pa", "<u8"),
        ("size", "<u8"),
    ]
)
"""A run of leaves, one behind the other in VA and PA and alike in all else, of the stage 1 tables of an epoch.

What software *could* reach, touched or not: what a PE may walk to and fetch on its own account. Rows belong to the
first epoch that has these tables (TTBRs, TCR, MAIR) in force, and to any later one whose stores changed them.
"""

TABLE_PAGE = np.dtype([("epoch", "<u4"), ("ttbr", "u1"), ("reserved", "u1", (3,)), ("pa", "<u8"), ("size", "<u8")])
"""A run of memory that holds the tables of the same epochs: all that a walk may read descriptors from."""


class Mark(IntEnum):
    """What happened between two block executions."""

    EPOCH = 1
    """a: the row of EPOCH that holds from here on."""
    TRUNCATE = 2
    """The execution just before was left after its first `a` instructions (an abort, or a stop)."""
    EXCEPTION = 3
    """a: the row of EXCEPTION that was taken here."""
    PHASE = 4
    """a: the Phase that begins here."""


MARK = np.dtype([("at", "<u8"), ("kind", "u1"), ("reserved", "u1", (7,)), ("a", "<u8")])
"""Ordered by `at`: the index in Trace.executions of the execution that follows."""


class Phase(IntEnum):
    """The stretches that a relocation is told in."""

    PREPARE = 0
    """The old kernel: anything that has no phase of its own."""
    SOFT_RESTART = 1
    RELOCATE = 2
    PURGATORY = 3
    TABLES = 4
    """The old kernel builds tables for the copy; when the image is loaded, long before the reboot."""
    LIST_FLUSH = 5
    """The old kernel cleans the list and the sources to the PoC, in machine_kexec()."""

    @property
    def label(self) -> str:
        """The name that people, `--set phases=` and JSON have for it: `list-flush`."""
        return self.name.lower().replace("_", "-")


EXCEPTION = np.dtype(
    [
        ("at", "<u8"),  # index in Trace.executions of the first execution after it
        ("from_el", "u1"),
        ("to_el", "u1"),
        ("meant", "u1"),  # 1: a call of the guest's own (svc, hvc, smc); 0: a fault
        ("reserved", "u1", (5,)),
        ("elr", "<u8"),
        ("esr", "<u8"),
        ("far", "<u8"),
        ("spsr", "<u8"),
        ("vector", "<u8"),  # where the PE went on
    ]
)


class Role(IntEnum):
    """What a range of physical memory is for."""

    RAM = 0
    SOURCE = 1
    DESTINATION = 2
    TABLE = 3
    CODE = 4
    LIST = 5
    VECTORS = 6
    KIMAGE = 7
    OLD_KERNEL = 8
    NOMAP = 9
    NO_ACCESS = 10
    ARGUMENT = 11
    ZERO_PAGE = 12
    STACK = 13


RANGE = np.dtype([("pa", "<u8"), ("size", "<u8"), ("role", "u1"), ("reserved", "u1", (7,))])
"""A half-open range of physical memory with its role; that roles overlap is what hazards look for."""

LEAVES = (
    "base",
    "branch",
    "fetch",
    "device_load",
    "device_store",
    "l1d",
    "l2",
    "l3",
    "dram_latency",
    "dram_bandwidth",
    "store_buffer",
    "tlb_walk",
    "maintenance",
    "barrier",
    "exception",
)
"""The leaves of every cycle stack, in the order in which they are shown."""
