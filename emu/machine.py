"""Machine: a PE over physical memory that runs a guest to its end, and says what it did and how it ended."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from emu.capture import Capture
from emu.cpu import UNICORN_PA_BITS, Cpu
from emu.host_translation import HostTranslation
from emu.memory import PhysicalMemory
from emu.run import Fault, Outcome, Run
from emu.system_access import SystemAccess
from traces.schema import Phase
from traces.trace import Trace

__all__ = ["Fault", "Machine", "Outcome", "RunResult"]

DEFAULT_BUDGET = 1_000_000_000
"""Instructions and exceptions after which any run ends."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RunResult:
    """How a run ended, and what it did."""

    outcome: Outcome
    reason: str
    """One sentence on why it ended; empty when completed."""
    fault: Fault | None
    """The first exception that the guest did not ask for, whatever came of it."""
    trace: Trace
    """Without ranges, and with what the machine itself knows in `meta`: outcome, reason, fault, symbols,
    timing_dependent, data_caches."""
    instructions: int
    """Executed."""


class Machine:
    """One PE over physical memory. Set `cpu` up (registers, level, PC), then `run`.

    `forced_sctlr`: by level, (mask, value) forced upon every write of SCTLR_ELx and upon its value at the start.
    `id_registers`: what the guest reads of these instead of Unicorn's model (CTR_EL0, ID_AA64MMFR0_EL1 ...). `lva` and
    `pa_bits`: of the PE, see Cpu; its ID registers say so. `host_translation`: our walker translates also where
    Unicorn's own MMU could, which is for tests.
    """

    def __init__(
        self,
        memory: PhysicalMemory,
        *,
        cpu: str = "cortex-a72",
        lva: bool = False,
        pa_bits: int = UNICORN_PA_BITS,
        forced_sctlr: Mapping[int, tuple[int, int]] | None = None,
        id_registers: Mapping[str, int] | None = None,
        host_translation: bool = False,
    ) -> None:
        self.memory = memory
        self.cpu = Cpu(memory, cpu, lva=lva, pa_bits=pa_bits)
        self._access = SystemAccess(self.cpu, forced_sctlr or {}, self.cpu.id_registers | dict(id_registers or {}))
        self._translation = HostTranslation(self.cpu, always=host_translation)

    def run(
        self,
        *,
        stop_pa: int | None = None,
        budget: int = DEFAULT_BUDGET,
        phases: Mapping[int, Phase] | None = None,
        symbols: Mapping[str, int] | None = None,
        capture: bool = True,
    ) -> RunResult:
        """Run from where the PE stands until it is about to execute at `stop_pa`, hangs, or exhausts its budget.

        `budget` counts instructions, and an exception or a new epoch as `emu.run.STOP_COST` of them. `phases`: at the
        first instruction of a block at this VA, that phase begins. `symbols`: VAs, for words about addresses. Without
        `capture` the trace has no executions, values or translations. Nothing that a guest does raises; a later run
        goes on where this one ended.
        """
        captured = Capture(self.cpu.uc, self.memory, budget, keep=capture)
        run = self._run(captured, stop_pa, phases or {}, symbols or {})
        ending = run.to_end()
        meta: dict[str, Any] = {
            "outcome": str(ending.outcome),
            "reason": ending.reason,
            "fault": None if run.fault is None else asdict(run.fault),
            "symbols": dict(symbols or {}),
            "timing_dependent": captured.reads_counter,
            "data_caches": [list(level) for level in self.cpu.data_caches],
        }
        return RunResult(
            outcome=ending.outcome,
            reason=ending.reason,
            fault=run.fault,
            instructions=captured.recording.instructions,
            trace=captured.recording.trace(meta),
        )

    def resumable(self, *, stop_pa: int | None = None) -> Run:
        """Return a run that can be stopped between executions (`Run.until`) and keeps no trace."""
        return self._run(Capture(self.cpu.uc, self.memory, keep=False), stop_pa, {}, {})

    def step(self, count: int) -> None:
        """Execute that many instructions by themselves; none of them may raise, change the regime or end a block."""
        self._translation.serve(self.cpu.regime())
        self.cpu.uc.ctl_exits_enabled(True)
        self.cpu.uc.ctl_set_exits([])
        for _ in range(count):
            self.cpu.flush_code()  # without it `count` is not heeded (Unicorn issue 2341)
            self.cpu.uc.emu_start(self.cpu.pc, 0, count=1)
        self.cpu.uc.ctl_exits_enabled(False)
        self._translation.stop()

    def _run(
        self, captured: Capture, stop_pa: int | None, phases: Mapping[int, Phase], symbols: Mapping[str, int]
    ) -> Run:
        return Run(
            self.cpu, self._access, self._translation, captured, stop_pa=stop_pa, phases=phases, symbols=symbols
        )
