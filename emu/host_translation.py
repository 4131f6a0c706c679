"""Host translation: our walker in the place of Unicorn's MMU, under regimes that the PEs which Unicorn has do not have.

Unicorn can leave filling its TLB to us (UC_TLB_VIRTUAL). Everything else stays: exceptions, the block callbacks and the
memory hooks, which go on reporting physical addresses.
"""

from typing import Any

import numpy as np
from unicorn import UC_HOOK_TLB_FILL, UC_PROT_EXEC, UC_PROT_READ, UC_PROT_WRITE, unicorn_const

from emu import kernels
from emu.cpu import UNICORN_PA_BITS, Cpu
from emu.regime import WORDS, Regime, words

_LEAST_TSZ, _MOST_TSZ = 16, 39
"""Outside of these Unicorn clamps T0SZ and T1SZ."""

_ACCESSES = {
    unicorn_const.UC_MEM_READ: kernels.LOAD,
    unicorn_const.UC_MEM_WRITE: kernels.STORE,
    unicorn_const.UC_MEM_FETCH: kernels.FETCH,
}
_PERMISSIONS = ((kernels.LOAD, UC_PROT_READ), (kernels.STORE, UC_PROT_WRITE), (kernels.FETCH, UC_PROT_EXEC))


def is_beyond_unicorn(regime: Regime) -> bool:
    """Whether Unicorn's own MMU cannot serve a regime.

    That is so of a PE with another physical address size than its models have, also where nothing is translated (it
    refuses wider addresses), and of VA ranges of more than 48 or less than 25 bits, which it takes for 48 and 25.
    """
    if regime.pa_bits != UNICORN_PA_BITS:
        return True
    ranges = regime.ranges if regime.stage1 else ()
    return any(not _LEAST_TSZ <= each.tsz <= _MOST_TSZ for each in ranges if not each.disabled)


class HostTranslation:
    """Decides who translates for a PE, and does it where Unicorn cannot; `always`: everywhere.

    LDTR and STTR are judged as privileged here (Unicorn does not say which access wants a translation), and AT goes
    through Unicorn's own MMU: neither belongs to a relocation.
    """

    def __init__(self, cpu: Cpu, *, always: bool = False) -> None:
        self._cpu, self._always = cpu, always
        self._regions = cpu.memory.region_table
        self._regime_words = np.zeros(len(WORDS), np.int64)
        self._result = np.zeros(kernels.RESULT_WORDS, np.int64)
        self._hook: int | None = None
        self.refused_fetch = False
        """Whether the last access that was refused here is a fetch."""

    def wants(self, regime: Regime) -> bool:
        """Whether this regime is to be served here."""
        return self._always or is_beyond_unicorn(regime)

    @property
    def active(self) -> bool:
        """Whether accesses are translated here now."""
        return self._hook is not None

    def serve(self, regime: Regime) -> None:
        """See that accesses from here on are translated as `regime` says, and by tables as they are now."""
        if self.wants(regime):
            self._regime_words = words(regime)
            if self._hook is None:
                self._hook = self._cpu.uc.hook_add(UC_HOOK_TLB_FILL, self._fill)
                self._cpu.uc.ctl_set_tlb_mode(unicorn_const.UC_TLB_VIRTUAL)
        else:
            self.stop()
        self._cpu.flush_tlb()

    def stop(self) -> None:
        """Give translation back to Unicorn."""
        if self._hook is not None:
            self._cpu.uc.ctl_set_tlb_mode(unicorn_const.UC_TLB_CPU)
            self._cpu.uc.hook_del(self._hook)
            self._hook = None

    def _fill(self, uc: object, va: int, kind: int, entry: Any, _: object) -> bool:
        """Fill one entry of Unicorn's TLB; False, which ends emulation with UC_ERR_EXCEPTION, if the walk faults."""
        signed_va = np.int64((va + (1 << 63)) % (1 << 64) - (1 << 63))
        access = _ACCESSES[kind]
        if self._walk(signed_va, access) != kernels.FAULT_NONE:
            self.refused_fetch = access == kernels.FETCH
            return False
        entry.paddr = int(self._result[kernels.R_PA])
        # An entry serves whatever comes next, too: all of what the page allows.
        entry.perms = sum(
            permission for each, permission in _PERMISSIONS if self._walk(signed_va, each) == kernels.FAULT_NONE
        )
        return True

    def _walk(self, va: np.int64, access: np.int64) -> int:
        return int(kernels.walk(self._regime_words, self._regions, va, access, self._result))
