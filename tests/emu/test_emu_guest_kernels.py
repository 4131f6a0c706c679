"""The bytes of real kernels, relocating thousands of pages on every boot path."""

import numpy as np
import pytest
from kernels import KERNELS, image_or_skip
from old_kernels import MAIR_V4_19, MAIR_V5_17, scenario

from asm.kernel_image import import_kernel
from asm.routines import Protocol
from emu.scenario import Boot, prepare
from traces.check import check
from traces.expand import accesses
from traces.schema import Access

pytestmark = pytest.mark.kernel

MMU_ON = {"5.10": False}


@pytest.mark.parametrize("boot", Boot)
@pytest.mark.parametrize("name", KERNELS)
def test_a_real_kernels_own_bytes_relocate_an_image(name, boot):
    kernel = import_kernel(image_or_skip(name))
    mmu_on = MMU_ON.get(name, True)
    assert kernel.relocate.protocol is (Protocol.KIMAGE if mmu_on else Protocol.MMU_OFF)
    case = scenario(
        f"{'v5.17' if mmu_on else 'v4.19'}-{boot}",
        pages=4000 if kernel.page_bytes == 4096 else 1000,
        granule_bytes=kernel.page_bytes,
        relocate=kernel.relocate,
        soft_restart=kernel.soft_restart,
        hyp_stub=kernel.hyp_stub,
        kexec_vectors=kernel.kexec_vectors,
        mair=MAIR_V5_17 if mmu_on else MAIR_V4_19,
    )
    found = prepare(case).run()
    assert (found.outcome, found.fault, found.image_ok) == ("completed", None, True)
    assert found.copy.stored_bytes == found.image_bytes == case.pages * kernel.page_bytes
    copy = found.trace.epochs[found.copy.epoch]
    assert copy["el"] == (1 if boot is Boot.EL1 or (boot is Boot.NVHE and mmu_on) else 2)
    assert (copy["stage1"], copy["dcache"], copy["icache"]) == (mmu_on, mmu_on, mmu_on)
    assert found.entry.el == (1 if boot is Boot.EL1 else 2)
    assert (found.entry.pc, found.entry.mmu, found.entry.x0) == (case.entry_pa, False, case.dtb_pa)
    assert (found.entry.x1, found.entry.x2, found.entry.x3) == (0, 0, 0)


@pytest.mark.parametrize("name", ["5.10", "6.1"])
def test_their_traces_keep_every_promise(name):
    kernel = import_kernel(image_or_skip(name))
    case = "v4.19-nvhe" if name == "5.10" else "v5.17-nvhe"
    found = prepare(
        scenario(
            case,
            pages=40,
            relocate=kernel.relocate,
            soft_restart=kernel.soft_restart,
            hyp_stub=kernel.hyp_stub,
            kexec_vectors=kernel.kexec_vectors,
        )
    ).run()
    assert check(found.trace) == []
    table = accesses(found.trace)
    stored = np.sort(table["pa"][table["access"] == Access.STORE])
    wanted = [np.arange(pa, pa + size, 16, dtype=np.uint64) for pa, size in found.destination]
    assert np.array_equal(stored, np.concatenate(wanted))
