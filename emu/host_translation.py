"""Host translation: our walker in the place of Unicorn's MMU, under regimes that the PEs which Unicorn has do not have.

Unicorn can leave filling its TLB to us (UC_TLB_VIRTUAL). Everything else stays: exceptions, the block callbacks and the
memory hooks, which go on reporting physical addresses.
"""

import ctypes

import numpy as np
from unicorn import UC_HOOK_TLB_FILL, unicorn_const
from unicorn.unicorn_py3 import unicorn as binding

from emu.cpu import UNICORN_PA_BITS, Cpu
from emu.kernels import filling, walk_words
from emu.kernels.callbacks import fill_callback
from emu.regime import Regime, words

_LEAST_TSZ, _MOST_TSZ = 16, 39
"""Outside of these Unicorn clamps T0SZ and T1SZ."""


def is_beyond_unicorn(regime: Regime) -> bool:
    """Whether Unicorn's own MMU cannot serve a regime.

    That is so of a PE with another physical address size than its models have, also where nothing is translated (it
    refuses wider addresses); of VA ranges of more than 48 or less than 25 bits, which it takes for 48 and 25; and where
    hardware is to manage the access flag.
    """
    if regime.pa_bits != UNICORN_PA_BITS or regime.hardware_af:
        return True
    ranges = regime.ranges if regime.stage1 else ()
    return any(not _LEAST_TSZ <= each.tsz <= _MOST_TSZ for each in ranges if not each.disabled)


class HostTranslation:
    """Decides who translates for a PE, and does it where Unicorn cannot; `always`: everywhere.

    The AT instructions go through Unicorn's own MMU all the same: no relocation has one.
    """

    def __init__(self, cpu: Cpu, *, always: bool = False) -> None:
        self._cpu, self._always = cpu, always
        self._regions = cpu.memory.region_table
        self._result = np.zeros(walk_words.RESULT_WORDS, np.int64)
        self._fill = np.zeros(filling.FILL_WORDS, np.int64)
        self._fill[filling.F_REGIONS_AT] = self._regions.ctypes.data
        self._fill[filling.F_REGIONS_COUNT] = len(self._regions)
        self._fill[filling.F_RESULT_AT] = self._result.ctypes.data
        self._hook: ctypes.c_size_t | None = None

    def wants(self, regime: Regime) -> bool:
        """Whether this regime is to be served here."""
        return self._always or is_beyond_unicorn(regime)

    @property
    def active(self) -> bool:
        """Whether accesses are translated here now."""
        return self._hook is not None

    @property
    def refused_fetch(self) -> bool:
        """Whether the access that was refused here last is a fetch."""
        return bool(self._fill[filling.F_WANTED] == walk_words.FETCH)

    def serve(self, regime: Regime) -> None:
        """See that accesses from here on are translated as `regime` says, and by tables as they are now."""
        if self.wants(regime):
            self._regime_words = words(regime)
            self._fill[filling.F_REGIME_AT] = self._regime_words.ctypes.data
            self._start()
        else:
            self.stop()
        self._cpu.flush_tlb()

    def stop(self) -> None:
        """Give translation back to Unicorn."""
        if self._hook is not None:
            self._cpu.uc.ctl_set_tlb_mode(unicorn_const.UC_TLB_CPU)
            binding.uclib.uc_hook_del(self._cpu.uc._uch, self._hook)
            self._hook = None

    def _start(self) -> None:
        if self._hook is not None:
            return
        handle = ctypes.c_size_t()
        status = binding.uclib.uc_hook_add(
            self._cpu.uc._uch,
            ctypes.byref(handle),
            UC_HOOK_TLB_FILL,
            ctypes.c_void_p(fill_callback()),
            ctypes.c_void_p(self._fill.ctypes.data),
            ctypes.c_uint64(1),
            ctypes.c_uint64(0),
        )
        if status:
            raise RuntimeError(f"uc_hook_add: error {status}")
        self._cpu.uc.ctl_set_tlb_mode(unicorn_const.UC_TLB_VIRTUAL)
        self._hook = handle
