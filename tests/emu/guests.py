"""Hand-written guests, and two ways to see what memory they touch: a Trace unfolded naively, and Unicorn's hooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import groupby

from unicorn import UC_HOOK_MEM_READ, UC_HOOK_MEM_WRITE, UC_MEM_WRITE

from asm.assemble import assemble
from emu.machine import Machine, RunResult
from emu.memory import PhysicalMemory
from emu.tables import AF, SH_INNER, TableBuilder, attr_index
from traces.check import check
from traces.schema import Access, InsnFlag, Mark
from traces.trace import Trace

RAM = 0x4000_0000
RAM_BYTES = 0x80_0000
CODE = RAM
VECTORS = RAM + 0x8000
END = RAM + 0xF000
"""Where guests end: `stop_pa`."""
DATA = RAM + 0x10_0000
MORE = RAM + 0x20_0000
TABLES = RAM + 0x40_0000
STACK = RAM + 0x7F_0000

MAIR = 0xBB_FF_44_0C_04_00  # kernel.md 3.3: 0 nGnRnE, 1 nGnRE, 2 GRE, 3 NC, 4 WB, 5 WT
DEVICE, NORMAL_NC, NORMAL = AF | attr_index(0), AF | SH_INNER | attr_index(3), AF | SH_INNER | attr_index(4)
TCR_EL1 = 16 | 1 << 8 | 1 << 10 | 3 << 12 | 16 << 16 | 1 << 24 | 1 << 26 | 3 << 28 | 2 << 30 | 4 << 32
TCR_EL2 = 0x8084_3510
SCTLR_ON = 0x30D0_0800 | 1 << 12 | 1 << 2 | 1
SCTLR_OFF = 0x30D0_0800


def never() -> None:
    """Prepare nothing."""


@dataclass
class Guest:
    """Code at CODE (flat unless `prepare` says otherwise), run from its first instruction to END."""

    source: str
    model: str = "cortex-a72"
    el: int = 1
    prepare: Callable[[Guest], None] = lambda _: None
    budget: int = 100_000
    stop_pa: int | None = END
    forced_sctlr: Mapping[int, tuple[int, int]] | None = None
    id_registers: Mapping[str, int] | None = None
    host: bool = False
    """Translated by our walker whatever the regime."""
    lva: bool = False
    pa_bits: int = 44

    def build(self) -> Machine:
        """Make the machine anew."""
        self.memory = PhysicalMemory()
        self.memory.add(RAM, RAM_BYTES)
        names = {"CODE": CODE, "VECTORS": VECTORS, "END": END, "DATA": DATA, "MORE": MORE, "TABLES": TABLES}
        equates = "".join(f".equ {name}, {value:#x}\n" for name, value in names.items())
        assembly = assemble(equates + self.source, name="guest", va=CODE)
        self.symbols = {name: CODE + offset for name, offset in assembly.symbols.items()}
        self.memory.write(CODE, assembly.code)
        self.machine = Machine(
            self.memory,
            cpu=self.model,
            forced_sctlr=self.forced_sctlr,
            id_registers=self.id_registers,
            host_translation=self.host,
            lva=self.lva,
            pa_bits=self.pa_bits,
        )
        self.cpu = self.machine.cpu
        self.cpu.enter(self.el)
        self.cpu.pc, self.cpu.sp, self.cpu.x[30] = CODE, STACK, END
        self.next_table = TABLES
        self.prepare(self)
        return self.machine

    def run(self) -> RunResult:
        """Build and run; the trace keeps its promises."""
        result = self.build().run(stop_pa=self.stop_pa, budget=self.budget, symbols=self.symbols)
        assert check(result.trace) == []
        return result

    def place(self, pa: int, source: str) -> None:
        """Put more code at `pa`, assembled for that address."""
        equates = "".join(f".equ {name}, {value:#x}\n" for name, value in self.symbols.items())
        self.memory.write(pa, assemble(equates + source, name="guest", va=pa).code)

    def words(self, pa: int, *values: int) -> None:
        """Write 64-bit words."""
        for place, value in enumerate(values):
            self.memory.write_u64(pa + 8 * place, value)

    def allocate(self, size: int) -> int:
        """Give table memory, aligned to its size."""
        pa = -(-self.next_table // size) * size
        self.next_table = pa + size
        return pa

    def tables(self, **options: int) -> TableBuilder:
        """Begin a table."""
        return TableBuilder(self.memory, self.allocate, **options)

    def identity(self, attributes: int = NORMAL) -> TableBuilder:
        """Map all RAM to itself, 4 KiB at a time."""
        tables = self.tables()
        tables.map(RAM, RAM, RAM_BYTES, attributes, 4096)
        return tables

    def translate_el1(self, tables: TableBuilder, upper: TableBuilder | None = None) -> None:
        """Turn the EL1&0 MMU on."""
        sysreg = self.cpu.sysreg
        sysreg["MAIR_EL1"], sysreg["TCR_EL1"], sysreg["TTBR0_EL1"] = MAIR, TCR_EL1, tables.ttbr
        if upper is not None:
            sysreg["TTBR1_EL1"] = upper.ttbr
        sysreg["SCTLR_EL1"] = SCTLR_ON


Touch = tuple[int, str]
"""One byte: physical address, "r" or "w". Of an element that crosses a page, the bytes behind it are BEYOND: Unicorn's
hook names only the first one's address."""

BEYOND = -1


def touched_natively(guest: Guest) -> list[Touch]:
    """Run the guest again under Unicorn's memory hooks: every byte that it reads or writes, in order."""
    machine, events = guest.build(), []

    def on_access(uc: object, kind: int, pa: int, size: int, value: int, data: object) -> None:
        events.append((pa, size, "w" if kind == UC_MEM_WRITE else "r"))

    machine.cpu.uc.hook_add(UC_HOOK_MEM_READ | UC_HOOK_MEM_WRITE, on_access)
    machine.run(stop_pa=guest.stop_pa, budget=guest.budget)
    seen: list[Touch] = []
    for alone, run in groupby(events, lambda event: event[1:] == (1, "w")):
        if alone and len(stores := list(run)) >= 64:
            # DC ZVA: byte by byte, its first, last and given byte also before that (facts/unicorn.md).
            blocks = dict.fromkeys(pa // 64 for pa, _, _ in stores)
            seen += [(64 * block + byte, "w") for block in blocks for byte in range(64)]
        else:
            seen += [touch for event in (stores if alone else run) for touch in bytes_of(*event)]
    return seen


def bytes_of(pa: int, size: int, how: str) -> list[Touch]:
    """Every byte of one element."""
    return [(pa + byte if (pa & 0xFFF) + byte < 0x1000 else BEYOND, how) for byte in range(size)]


def touched(trace: Trace) -> list[Touch]:
    """Unfold a trace in the most obvious way: every byte that it says was read or written, in order."""
    pages = {(int(row["epoch"]), int(row["page"])): int(row["pa"]) for row in trace.translations}
    flat = [not (row["stage1"] or row["stage2"]) for row in trace.epochs]
    epoch_at = {int(m["at"]): int(m["a"]) for m in trace.marks if m["kind"] == Mark.EPOCH}
    cut_at = {int(m["at"]) - 1: int(m["a"]) for m in trace.marks if m["kind"] == Mark.TRUNCATE}
    seen: list[Touch] = []
    epoch = value = 0
    for execution, row in enumerate(trace.executions):
        epoch = epoch_at.get(execution, epoch)
        block = trace.blocks[row]
        values = trace.values[value : value + int(block["values"])]
        value += int(block["values"])
        for insn in trace.insns[int(block["first"]) :][: cut_at.get(execution, int(block["count"]))]:
            how = _MOVES.get(Access(insn["access"]), "")
            if not how:
                continue
            if how == "w" and insn["flags"] & InsnFlag.EXCLUSIVE:
                how = "rw"  # Unicorn compares and exchanges
            base = int(insn["va"] if insn["flags"] & InsnFlag.LITERAL else values[int(insn["slot"])])
            va, size = (base + int(insn["offset"])) % (1 << 64), int(insn["size"])
            step = min(int(insn["element"]), 8)  # Unicorn halves Q registers
            if insn["access"] == Access.ZERO:
                va, step = va & ~63, 64
            for each in how:
                for element in range(va, va + size, step):
                    page = element if flat[epoch] else pages[epoch, element >> 12]
                    assert flat[epoch] or (epoch, (element + step - 1) >> 12) in pages
                    seen += bytes_of(page & ~0xFFF | element & 0xFFF, step, each)
    return seen


_MOVES = {Access.LOAD: "r", Access.STORE: "w", Access.LOAD_STORE: "rw", Access.ZERO: "w"}


def text_of(trace: Trace) -> list[str]:
    """What ran, for reading a failure: block va+count of each execution."""
    return [f"{trace.blocks[row]['va']:#x}+{trace.blocks[row]['count']}" for row in trace.executions]
