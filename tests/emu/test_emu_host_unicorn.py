"""Host translation against Unicorn's own MMU over random tables; and, where Unicorn has none, against the walker."""

import random
from collections import Counter
from dataclasses import replace

import pytest
from mmu_scene import E2H, RW, TGE, Scene
from random_tables import AF, TablePool, Tree, random_address, stage1_leaf, stage1_table
from unicorn import UC_ERR_EXCEPTION, UcError, arm64_const
from unicorn_mmu import (
    CODE,
    DATA_ABORT,
    EL1H,
    EL2H,
    INSTRUCTION_ABORT,
    RAM,
    RAM_BYTES,
    TABLE_BYTES,
    Seen,
    UnicornMmu,
    fresh_memory,
    page_word,
)

from emu.host_translation import HostTranslation, is_beyond_unicorn
from emu.regime import Regime
from emu.walker import FaultKind, WalkAccess, translate

ACCESSES = (WalkAccess.LOAD, WalkAccess.STORE, WalkAccess.FETCH)
X1, X9 = arm64_const.UC_ARM64_REG_X1, arm64_const.UC_ARM64_REG_X9
STORED = 0x5EE4_0000_0000_0000


class TwoMmus(UnicornMmu):
    """One PE whose accesses go through its own MMU, or through the host's translation."""

    def __init__(self, memory, model):
        super().__init__(memory, model)
        self.uc.ctl_exits_enabled(True)  # or it fetches from `until` on its way out
        self.uc.ctl_set_exits([])
        self.host = HostTranslation(self, always=True)

    flush_tlb = UnicornMmu.flush

    def access(self, access, pstate, code, va):
        if access is WalkAccess.FETCH:
            return self.fetch(pstate, va)
        if access is WalkAccess.LOAD:
            return self.load(pstate, code, va)
        return self.store(pstate, code, va, STORED | va & 0xFFFF)

    def _run(self, pstate, pc, x0, answer):
        if not hasattr(self, "host") or not self.host.active:
            return super()._run(pstate, pc, x0, answer)
        self.uc.reg_write(arm64_const.UC_ARM64_REG_PSTATE, pstate)
        self.set(TPIDR_EL0=0)
        self.uc.reg_write(arm64_const.UC_ARM64_REG_X0, x0)
        try:
            self.uc.emu_start(pc, 0, count=1)
        except UcError as error:
            if error.errno != UC_ERR_EXCEPTION or self.uc.reg_read(arm64_const.UC_ARM64_REG_PC) != pc:
                raise AssertionError(f"Unicorn: {error} at pc {pc:#x}, x0 {x0:#x}") from error
            return Seen(exception=INSTRUCTION_ABORT if self.host.refused_fetch else DATA_ABORT)
        if answer is None:
            return Seen()
        word = self.uc.reg_read(answer)
        return Seen(page=word if answer == X9 else word >> 5 & 0xFFFF)


KINDS = {
    # name: (CPU model, level, HCR_EL2)
    "el1": ("A72", 1, RW),
    "el2": ("A72", 2, RW),
    "el2-and-0": ("MAX", 2, RW | E2H),
    "el0-of-el2": ("MAX", 0, RW | E2H | TGE),
}


def in_ram(found):
    """Whether an access may be made: it faults, or ends in the pages that tell their number."""
    return found.fault is not None or (RAM + TABLE_BYTES <= found.pa < RAM + RAM_BYTES and found.pa >> 12 != CODE >> 12)


def stored_at(memory, found):
    """What a store left, which is taken back."""
    if found.fault is not None:
        return None
    word = memory.read_u64(found.pa)
    memory.write_u64(found.pa, page_word(found.pa))
    return word


@pytest.mark.parametrize("kind", KINDS)
def test_the_host_translates_as_unicorn_does(kind):
    model, el, hcr = KINDS[kind]
    memory = fresh_memory()
    mmu = TwoMmus(memory, model)
    mmu.set(HCR_EL2=hcr)
    rng, outcomes = random.Random(f"host {kind}"), Counter()
    for _ in range(60):
        scene = Scene(rng, memory, mmu, el, hcr)
        assert not is_beyond_unicorn(scene.regime)
        for pstate, privileged in scene.states():
            regime = scene.regime if privileged else replace(scene.regime, el=0)
            wanted = []
            for va in scene.addresses:
                for access in ACCESSES:
                    found = translate(memory, regime, va, access, privileged=privileged)
                    if in_ram(found) and (access is WalkAccess.FETCH or scene.can_run(privileged)):
                        wanted.append((access, va, found))
            natively = []
            for access, va, found in wanted:
                natively.append((mmu.access(access, pstate, scene.code, va), stored_at(memory, found)))
            mmu.host.serve(regime)
            for (access, va, found), (seen, stored) in zip(wanted, natively, strict=True):
                hosted = mmu.access(access, pstate, scene.code, va)
                assert (hosted.page, hosted.exception) == (seen.page, seen.exception), (access.name, hex(va), found)
                assert stored_at(memory, found) == stored
                outcomes[access, found.fault and found.fault.kind] += 1
            mmu.host.stop()
            mmu.flush()
    assert outcomes.total() > 1000
    kinds = {FaultKind.TRANSLATION, FaultKind.ACCESS_FLAG, FaultKind.PERMISSION, None}
    never = {(WalkAccess.LOAD, FaultKind.PERMISSION)} if el == 2 else set()
    assert {(access, kind) for access in ACCESSES for kind in kinds} - never <= set(outcomes)


class WideScene:
    """A regime of 64K granules with up to 52 bits of VA, and random tables; its code lies where both ranges end."""

    def __init__(self, rng, memory, mmu, *, e2h):
        pool = TablePool(memory, rng)
        sizes = [rng.randrange(12, 16), rng.randrange(12, 18)]
        self.trees = [
            Tree(pool, 16, 64 - size, leaf_attributes=stage1_leaf, table_attributes=stage1_table) for size in sizes
        ]
        self.code = rng.getrandbits(64 - sizes[0]) & ~0xFFFF
        self.trees[0].plant(self.code, to=CODE, attributes=0xC0 | 0x300 | AF)
        self.addresses = [self._address(rng) for _ in range(12)]
        self.regime = Regime(
            el=2 if e2h else 1,
            e2h=e2h,
            hcr=RW | (E2H if e2h else 0),
            sctlr=0x30D0_1805 & ~(1 << 23),
            tcr=sizes[0] | 1 << 14 | sizes[1] << 16 | 3 << 30 | 6 << 32,
            ttbr0=self.trees[0].root,
            ttbr1=self.trees[1].root,
            pa_bits=52,
            lva=True,
        )

    def _address(self, rng):
        upper = rng.random() < 0.5
        tree = self.trees[upper]
        va = random_address(rng, tree.input_bits, upper=upper) ^ rng.choice([0, 1 << 50, 1 << 48]) % (
            1 << tree.input_bits
        )
        tree.plant(va)
        return va ^ (1 << 53 if rng.random() < 0.05 else 0)


@pytest.mark.parametrize("e2h", [False, True])
def test_52_bits_are_translated_as_the_walker_does(e2h):
    memory = fresh_memory()
    mmu = TwoMmus(memory, "MAX")
    mmu.set(HCR_EL2=RW | (E2H if e2h else 0))
    rng, outcomes = random.Random(f"wide {e2h}"), Counter()
    for _ in range(60):
        scene = WideScene(rng, memory, mmu, e2h=e2h)
        assert is_beyond_unicorn(scene.regime)
        mmu.host.serve(scene.regime)
        for va in scene.addresses:
            for access in ACCESSES:
                found = translate(memory, scene.regime, va, access)
                if not in_ram(found):
                    continue
                seen = mmu.access(access, EL2H if e2h else EL1H, scene.code, va)
                what = f"{access.name} at {va:#x}: {seen} but {found}"
                number = INSTRUCTION_ABORT if access is WalkAccess.FETCH else DATA_ABORT
                assert seen.exception == (None if found.fault is None else number), what
                if found.fault is None and access is WalkAccess.STORE:
                    assert stored_at(memory, found) == STORED | va & 0xFFFF, what
                elif found.fault is None:
                    assert seen.page == (found.pa - RAM) >> 12, what
                outcomes[access, found.fault and (found.fault.kind, found.fault.level)] += 1
    for access in ACCESSES:
        for outcome in [None, *((FaultKind.TRANSLATION, level) for level in range(4)), (FaultKind.PERMISSION, 3)]:
            if (access, outcome) != (WalkAccess.LOAD, (FaultKind.PERMISSION, 3)):
                assert outcomes[access, outcome], (access.name, outcome)


def regime(**fields):
    return Regime(el=1, sctlr=0x30D0_1805, **fields)


def test_what_unicorn_cannot_serve():
    assert not is_beyond_unicorn(regime(tcr=16 | 16 << 16))
    assert not is_beyond_unicorn(regime(tcr=39 | 25 << 16))
    assert is_beyond_unicorn(regime(tcr=12 | 16 << 16, lva=True))
    assert is_beyond_unicorn(regime(tcr=16 | 12 << 16))
    assert is_beyond_unicorn(regime(tcr=40 | 16 << 16))
    assert not is_beyond_unicorn(regime(tcr=16 | 12 << 16 | 1 << 23)), "TTBR1 is disabled"
    assert not is_beyond_unicorn(replace(regime(tcr=12), sctlr=0)), "nothing is translated"
    assert is_beyond_unicorn(replace(regime(pa_bits=52), sctlr=0)), "nor is a PA of more than 44 bits"
    assert is_beyond_unicorn(regime(tcr=16 | 16 << 16, pa_bits=48))
    assert not is_beyond_unicorn(Regime(el=2, sctlr=1, tcr=16 | 0 << 16)), "EL2 has one range"


def test_giving_translation_back(capsys):
    """Stop while Unicorn stands: its own MMU goes on with the tables that it has."""
    memory = fresh_memory()
    mmu = TwoMmus(memory, "A72")
    for _ in range(3):
        mmu.host.serve(Regime(el=1, sctlr=0x30D0_0800))
        assert mmu.host.active
        mmu.host.stop()
        mmu.host.stop()
        assert not mmu.host.active
    assert mmu.load(EL1H, CODE, CODE + 0x10000).page == (CODE + 0x10000 - RAM) >> 12
    assert capsys.readouterr().err == ""
