"""Stage 2 and HCR_EL2.DC against Unicorn: stage 1 over stage 2, stage 1 off, concatenated and contradictory VTCRs.

Kept clear of: HCR_EL2.PTW, and what test_emu_walker_unicorn.py names. Not compared: the status code of a stage 2 fault
on a stage 1 walk (QEMU 5.0 loses it), and which Device type Device over Normal is (it looks at half the byte).
"""

import random
from collections import Counter

import pytest
from mmu_scene import RW, TG0, Scene, check_access, check_at
from random_tables import AF, Tree, random_address, stage2_leaf
from unicorn_mmu import CODE, UnicornMmu, fresh_memory

from emu.regime import Regime
from emu.walker import FaultKind, WalkAccess, translate

VM, DC = 1, 1 << 12
ACCESSES = (WalkAccess.LOAD, WalkAccess.STORE, WalkAccess.FETCH)
PLAIN = 0xC0 | 0x300 | AF | 0xF << 2
"""S2AP = read and write, executable, Normal Write-Back."""

SHAPES = {
    # name: (HCR_EL2 bits, SCTLR_EL1.M)
    "both-stages": (VM, 1),
    "stage2-only": (VM, 0),
    "default-cacheable": (DC, 1),
    "default-cacheable-vm": (DC | VM, 0),
}


class GuestScene(Scene):
    """A scene at EL1 with stage 2 tables below it."""

    at_prefix = "S12"

    def __init__(self, rng, memory, mmu, hcr, stage1):
        self.hcr, self.stage1 = hcr, stage1
        super().__init__(rng, memory, mmu, 1, RW | hcr)
        self.tree2 = self._stage2_tree(rng)
        self.regime = self._with_stage2(rng)
        if self.regime.stage1:
            self._identity(rng, sorted(self.table_pages))
        else:
            self.code = CODE
            self.addresses = [random_address(rng, 32, upper=False) for _ in range(10)]
            self.addresses += [1 << rng.randrange(32, 64) | 8 for _ in range(2)]
        self.tree2.plant(CODE, to=CODE & -1 << self.tree2.granule_log2, attributes=PLAIN)
        for va in self.addresses:
            found = translate(memory, self._stage1_alone(), va)
            if found.fault is None:
                self.tree2.plant(found.pa)
        self._load_stage2()

    def _stage2_tree(self, rng):
        self.table_pages = set(self.pool.taken)
        granule_log2 = rng.choice((12, 14, 16))
        stride = granule_log2 - 3
        while True:
            bits, level = rng.randrange(32, 45), rng.randrange(0 if granule_log2 == 12 else 1, 3)
            if 1 <= bits - granule_log2 - stride * (3 - level) <= stride + 4:
                return Tree(self.pool, granule_log2, bits, start_level=level, leaf_attributes=stage2_leaf)

    def _with_stage2(self, rng):
        granule_log2, bits = self.tree2.granule_log2, self.tree2.input_bits
        sl0 = (2 if granule_log2 == 12 else 3) - self.tree2.start_level
        vtcr = 64 - bits | sl0 << 6 | TG0[granule_log2] << 14 | 5 << 16 | 1 << 31
        old = self.regime
        return Regime(
            el=1, hcr=old.hcr, sctlr=old.sctlr & ~1 | self.stage1, tcr=old.tcr, mair=old.mair,
            ttbr0=old.ttbr0, ttbr1=old.ttbr1, vtcr=vtcr, vttbr=self.tree2.root | rng.getrandbits(8) << 48,
        )  # fmt: skip

    def _identity(self, rng, pages):
        """Map stage 1's tables where they are, but for a few that stage 2 refuses one way or another."""
        for page in pages:
            base = page & -1 << self.tree2.granule_log2
            attributes = PLAIN if rng.random() < 0.97 else stage2_leaf(rng)
            self.tree2.plant(page, to=base, attributes=attributes)

    def _stage1_alone(self):
        """The regime without stage 2, to learn which IPAs will be asked for."""
        regime = self.regime
        sctlr = regime.sctlr if regime.stage1 else regime.sctlr & ~1
        return Regime(
            el=1, hcr=RW, sctlr=sctlr, tcr=regime.tcr, mair=regime.mair, ttbr0=regime.ttbr0, ttbr1=regime.ttbr1
        )

    def _load_stage2(self):
        regime = self.regime
        self.mmu.set(VTCR_EL2=regime.vtcr, VTTBR_EL2=regime.vttbr, HCR_EL2=regime.hcr, SCTLR_EL1=regime.sctlr)
        self.mmu.flush()

    def states(self):
        return [(0x3C5, True), (0x3C0, False)]


@pytest.fixture(scope="module")
def place():
    memory = fresh_memory()
    return memory, UnicornMmu(memory, "A72")


def run_guests(place, seed, hcr, stage1, scenes):
    rng = random.Random(f"{seed} {hcr} {stage1}")
    outcomes = Counter()
    for _ in range(scenes):
        scene = GuestScene(rng, *place, hcr, stage1)
        for va in scene.addresses:
            for pstate, privileged in scene.states():
                outcomes.update(check_access(scene, access, pstate, privileged, va) for access in ACCESSES)
            for operation, access, privileged in scene.at_operations():
                check_at(scene, operation, access, privileged, va)
                outcomes["AT"] += 1
    return outcomes


@pytest.mark.parametrize("shape", SHAPES)
def test_stage_2_agrees_with_unicorn(place, shape):
    hcr, stage1 = SHAPES[shape]
    outcomes = run_guests(place, 1, hcr, stage1, scenes=15)
    assert outcomes.total() - outcomes[None] >= 1000
    wanted = {(access, kind, level) for access in ACCESSES for kind in (FaultKind.PERMISSION, None) for level in (2, 3)}
    assert stage1 == 0 or hcr & DC or wanted <= set(outcomes)


@pytest.mark.parametrize(
    ("t0sz", "sl0", "granule_log2"),
    [
        (24, 0, 12),
        (33, 2, 12),
        (20, 3, 12),
        (19, 1, 12),
        (24, 0, 14),
        (30, 2, 14),
        (24, 0, 16),
        (40, 2, 16),
        (16, 2, 12),
    ],
)
def test_a_vtcr_that_contradicts_itself_is_a_translation_fault(place, t0sz, sl0, granule_log2):
    """Of level 0, says the architecture; Unicorn says the level that SL0 asks for, so only the kind is compared."""
    memory, mmu = place
    vtcr = t0sz | sl0 << 6 | TG0[granule_log2] << 14 | 5 << 16 | 1 << 31
    regime = Regime(el=1, hcr=RW | VM, vtcr=vtcr, vttbr=CODE & -0x100_0000)
    mmu.set(HCR_EL2=regime.hcr, SCTLR_EL1=0, VTCR_EL2=vtcr, VTTBR_EL2=regime.vttbr)
    mmu.flush()
    fault = translate(memory, regime, CODE, WalkAccess.FETCH).fault
    assert (fault.kind, fault.level, fault.stage) == (FaultKind.TRANSLATION, 0, 2)
    assert mmu.fetch(0x3C5, CODE).fsc & ~3 == fault.fsc


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_stage_2_agrees_with_unicorn_at_length(place, shape):
    hcr, stage1 = SHAPES[shape]
    outcomes = run_guests(place, 3, hcr, stage1, scenes=100)
    assert outcomes.total() - outcomes[None] >= 5000
