"""Physical memory: host pages that the guest, the compiled kernels and Python all see without copying."""

import mmap
import sys
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from traces.errors import InputError
from traces.schema import PAGE_BYTES

# A guest has more RAM than its host may have, and touches little of it. (mmap.MAP_NORESERVE: Python 3.13.)
_MAP_NORESERVE = 0x4000 if sys.platform == "linux" else 0


class Region(NamedTuple):
    """One stretch of RAM; `data` is the host memory itself, page-aligned but where it lies otherwise in a file."""

    pa: int
    size: int
    data: NDArray[np.uint8]


class PhysicalMemory:
    """RAM by physical address. Pages cost nothing until they are written, and read as zero until then.

    The arrays of `regions` are what Unicorn maps (`uc.mem_map_ptr`): a write through any of the three views is seen by
    the others. Regions are never moved or removed, so host addresses hold for the life of the object.
    """

    def __init__(self) -> None:
        self._regions: tuple[Region, ...] = ()

    @property
    def regions(self) -> tuple[Region, ...]:
        """All regions, by rising address."""
        return self._regions

    @property
    def region_table(self) -> NDArray[np.uint64]:
        """(pa, size, host address) of each region, by rising address: what the compiled kernels take."""
        rows = [(region.pa, region.size, region.data.ctypes.data) for region in self._regions]
        return np.array(rows, np.uint64).reshape(len(rows), 3)

    def add(self, pa: int, size: int) -> None:
        """Add zeroed RAM at [pa, pa + size). Both are page-aligned; regions never overlap."""
        self._check(pa, size)
        try:
            pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE)
        except (OSError, OverflowError, ValueError) as error:
            raise InputError(f"memory: region {pa:#x}+{size:#x} cannot be had from the host: {error}") from error
        self._insert(Region(pa, size, np.frombuffer(pages, np.uint8)))

    def map_file(self, pa: int, size: int, file: BinaryIO, offset: int) -> None:
        """Add RAM at [pa, pa + size) that holds what `file` has from `offset` on, all of which must be there.

        Nothing is read until it is touched, and nothing is ever written to the file: a page that is written becomes
        this memory's own.
        """
        self._check(pa, size)
        before = offset % mmap.ALLOCATIONGRANULARITY
        try:
            pages = mmap.mmap(
                file.fileno(),
                size + before,
                flags=mmap.MAP_PRIVATE | _MAP_NORESERVE,
                prot=mmap.PROT_READ | mmap.PROT_WRITE,
                offset=offset - before,
            )
        except (OSError, OverflowError, ValueError) as error:
            raise InputError(f"memory: region {pa:#x}+{size:#x} cannot be mapped: {error}") from error
        self._insert(Region(pa, size, np.frombuffer(pages, np.uint8, offset=before)))

    def _check(self, pa: int, size: int) -> None:
        if pa < 0 or size <= 0 or (pa | size) % PAGE_BYTES:
            raise InputError(f"memory: region {pa:#x}+{size:#x} must be positive and aligned to {PAGE_BYTES:#x}")
        if pa + size > 1 << 52:
            raise InputError(f"memory: region {pa:#x}+{size:#x} ends above 2**52, the largest physical address")
        for region in self._regions:
            if pa < region.pa + region.size and region.pa < pa + size:
                raise InputError(f"memory: region {pa:#x}+{size:#x} overlaps {region.pa:#x}+{region.size:#x}")

    def _insert(self, region: Region) -> None:
        self._regions = tuple(sorted((*self._regions, region), key=lambda each: each.pa))

    def contains(self, pa: int, size: int = 1) -> bool:
        """Whether every byte of [pa, pa + size) is RAM."""
        end = pa + size
        for region in self._regions:
            if region.pa <= pa < region.pa + region.size:
                pa = min(end, region.pa + region.size)
        return pa >= end

    def read(self, pa: int, size: int) -> bytes:
        """Return the bytes of [pa, pa + size); the range may span regions that touch."""
        return b"".join(part.tobytes() for part in self._parts(pa, size))

    def write(self, pa: int, data: bytes | bytearray | memoryview) -> None:
        """Write `data` at `pa`; the range may span regions that touch."""
        source = np.frombuffer(data, np.uint8)
        done = 0
        for part in self._parts(pa, len(source)):
            part[:] = source[done : done + len(part)]
            done += len(part)

    def read_u64(self, pa: int) -> int:
        """Return the little-endian word at `pa`."""
        return int.from_bytes(self.read(pa, 8), "little")

    def write_u64(self, pa: int, value: int) -> None:
        """Write a little-endian word at `pa`, modulo 2**64."""
        self.write(pa, (value % (1 << 64)).to_bytes(8, "little"))

    def _parts(self, pa: int, size: int) -> list[NDArray[np.uint8]]:
        """Host views that make up [pa, pa + size), in order. Refuse what is not RAM before anything is touched."""
        parts, at, end = [], pa, pa + size
        for region in self._regions:
            if region.pa <= at < min(end, region.pa + region.size):
                stop = min(end, region.pa + region.size)
                parts.append(region.data[at - region.pa : stop - region.pa])
                at = stop
        if at != end:
            raise InputError(f"memory: {pa:#x}+{size:#x} is not RAM (nothing at {at:#x})")
        return parts
