"""Engine memory: the RAM of an engine that somebody else made, copied page by page where it must be looked into."""

from unicorn import Uc

from emu.memory import PhysicalMemory
from traces.schema import PAGE_BYTES

_PA_END = 1 << 52


class EngineMemory(PhysicalMemory):
    """What the walker sees of an engine's RAM: pages that were asked for since `forget`; all others read as zero.

    `read` always asks the engine. Writing here changes the copy alone.
    """

    def __init__(self, uc: Uc) -> None:
        super().__init__()
        self._uc = uc
        self._mapped: tuple[tuple[int, int], ...] = ()
        self._copied: set[int] = set()

    def follow(self) -> bool:
        """Look at what is mapped now; whether that has changed."""
        mapped = tuple(sorted((first, last + 1 - first) for first, last, _ in self._uc.mem_regions()))
        if mapped == self._mapped:
            return False
        self._mapped = mapped
        self._regions = ()
        self._copied.clear()
        for pa, size in mapped:
            if pa + size <= _PA_END:
                self.add(pa, size)
        return True

    def forget(self) -> None:
        """Drop every copy: the engine's tables may have changed."""
        for page in self._copied:
            super().write(page * PAGE_BYTES, bytes(PAGE_BYTES))
        self._copied.clear()

    def copy(self, page: int) -> bool:
        """Copy one page, by number, if it is RAM and no copy is here; whether it was copied."""
        if page in self._copied or not self.contains(page * PAGE_BYTES, PAGE_BYTES):
            return False
        super().write(page * PAGE_BYTES, self.read(page * PAGE_BYTES, PAGE_BYTES))
        self._copied.add(page)
        return True

    def read(self, pa: int, size: int) -> bytes:
        """Return the engine's own bytes of [pa, pa + size)."""
        return bytes(self._uc.mem_read(pa, size))
