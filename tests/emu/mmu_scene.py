"""A regime with random tables, set up in Unicorn, and one question asked of both sides."""

from random_tables import AF, TablePool, Tree, random_address, stage1_leaf, stage1_table
from unicorn_mmu import (
    CODE,
    DATA_ABORT,
    EL0T,
    EL1H,
    EL2H,
    INSTRUCTION_ABORT,
    RAM,
    RAM_BYTES,
    TABLE_BYTES,
    page_word,
)

from emu.fields import attribute_type
from emu.regime import Regime
from emu.walker import Translation, WalkAccess, translate
from traces.schema import MemoryType

RW, E2H, TGE = 1 << 31, 1 << 34, 1 << 27
GRANULES = (12, 14, 16)
TG0 = {12: 0, 14: 2, 16: 1}
TG1 = {12: 2, 14: 1, 16: 3}
MAIR_BYTES = (0x00, 0x04, 0x08, 0x0C, 0x44, 0xFF, 0xBB, 0x4F, 0xF4, 0xAA, 0x77, 0x33)
READ_ONLY_CODE = 0xC0 | 0x300 | AF
"""AP = 11, neither PXN nor UXN: every level may execute it, WXN or not."""


class Scene:
    """One regime with random tables, set up in Unicorn, and addresses to try."""

    at_prefix = "S1"

    def __init__(self, rng, memory, mmu, el, hcr):
        self.memory, self.mmu, self.el = memory, mmu, el
        self.two_ranges = el != 2 or bool(hcr & E2H)
        pool = self.pool = TablePool(memory, rng)
        self.granules = [rng.choice(GRANULES) for _ in range(2)]
        self.sizes = [rng.randrange(16, 40) for _ in range(2)]
        self.tbi = [rng.random() < 0.3 for _ in range(2)]
        self.disabled = [False, self.two_ranges and rng.random() < 0.1]
        # Nothing above the PE's 44 bits is ever mapped, so PS = 5 (48 bits) never shows (see above).
        tcr = self.sizes[0] | TG0[self.granules[0]] << 14 | (rng.getrandbits(6) << 8)
        if self.two_ranges:
            tcr |= self.sizes[1] << 16 | TG1[self.granules[1]] << 30 | 5 << 32 | rng.getrandbits(6) << 24
            tcr |= self.tbi[0] << 37 | self.tbi[1] << 38 | self.disabled[1] << 23
        else:
            tcr |= 5 << 16 | self.tbi[0] << 20 | 1 << 23 | 1 << 31
        self.trees = [
            Tree(pool, granule, 64 - size, leaf_attributes=stage1_leaf, table_attributes=stage1_table)
            for granule, size in zip(self.granules, self.sizes, strict=True)
        ]
        self.code = self._plant_code(rng)
        self.addresses = [self._address(rng) for _ in range(12)]
        wxn = rng.random() < 0.2
        self.regime = Regime(
            el=el,
            e2h=bool(hcr & E2H),
            hcr=hcr,
            sctlr=0x30D0_1805 & ~(1 << 23) | wxn << 19,
            tcr=tcr,
            mair=int.from_bytes(bytes(rng.choice(MAIR_BYTES) for _ in range(8)), "little"),
            # Bits below the table's own alignment do not count.
            ttbr0=self.trees[0].root | rng.getrandbits(self.trees[0].first_log2) | rng.getrandbits(8) << 48,
            ttbr1=self.trees[1].root if self.two_ranges else 0,
        )
        self._load_registers()

    def _plant_code(self, rng):
        granule = self.granules[0]
        va = rng.getrandbits(64 - self.sizes[0]) & ~((1 << granule) - 1)
        self.trees[0].plant(va, to=CODE, attributes=READ_ONLY_CODE)
        return va

    def _address(self, rng):
        upper = self.two_ranges and rng.random() < 0.4
        tree = self.trees[upper]
        va = random_address(rng, tree.input_bits, upper=upper)
        tree.plant(va)
        if rng.random() < 0.05:
            va ^= 1 << rng.randrange(tree.input_bits, 64)  # in neither range, unless TBI forgives it
        elif self.tbi[upper] and rng.random() < 0.5:
            va = va & ~(0xFF << 56) | rng.getrandbits(8) << 56
        return va

    def _load_registers(self):
        level, regime = (1 if self.regime.name == "EL1&0" else 2), self.regime
        values = {"SCTLR": regime.sctlr, "TCR": regime.tcr, "MAIR": regime.mair, "TTBR0": regime.ttbr0}
        if self.two_ranges:
            values["TTBR1"] = regime.ttbr1
        self.mmu.set(**{f"{name}_EL{level}": value for name, value in values.items()})
        self.mmu.flush()

    def states(self):
        """(PSTATE, privileged) in which accesses can be made under this regime."""
        if self.el == 2:
            return [(EL2H, True)]
        return [(EL1H, True), (EL0T, False)] if self.el == 1 else [(EL0T, False)]

    def can_run(self, privileged):
        """Whether the code that loads and stores can be fetched: stage 2 may hide the tables that lead to it."""
        return translate(self.memory, self.regime, self.code, WalkAccess.FETCH, privileged=privileged).fault is None

    def at_operations(self):
        """(operation, access, privileged) of the AT instructions for this regime."""
        if not self.two_ranges:
            return [("S1E2R", WalkAccess.LOAD, True), ("S1E2W", WalkAccess.STORE, True)]
        return [
            (f"{self.at_prefix}E{el}{letter}", access, el == 1)
            for el in (1, 0)
            for letter, access in (("R", WalkAccess.LOAD), ("W", WalkAccess.STORE))
        ]


def check_access(scene, access, pstate, privileged, va):
    """One real access in Unicorn against the walker: (access, fault kind, level), or None where it cannot be made."""
    expected = translate(scene.memory, scene.regime, va, access, privileged=privileged)
    if expected.fault is None and not RAM + TABLE_BYTES <= expected.pa < RAM + RAM_BYTES:
        return None  # AT tells; a real access would leave RAM or hit the tables
    if expected.fault is None and expected.pa >> 12 == CODE >> 12:
        return None
    if access is not WalkAccess.FETCH and not scene.can_run(privileged):
        return None
    if access is WalkAccess.FETCH:
        seen = scene.mmu.fetch(pstate, va)
    elif access is WalkAccess.LOAD:
        seen = scene.mmu.load(pstate, scene.code, va)
    else:
        seen = scene.mmu.store(pstate, scene.code, va, 0x5EE4_0000_0000_0000 | va & 0xFFFF)
    what = f"{access.name} at {va:#x} privileged={privileged}: {seen} but {expected}"
    if expected.fault is not None:
        check_abort(scene, expected, seen, access, what)
    elif access is WalkAccess.STORE:
        assert seen.exception is None, what
        assert scene.memory.read_u64(expected.pa) == 0x5EE4_0000_0000_0000 | va & 0xFFFF, what
        scene.memory.write_u64(expected.pa, page_word(expected.pa))
    else:
        assert seen.page == (expected.pa - RAM) >> 12, what
    return access, expected.fault and expected.fault.kind, expected.fault.level if expected.fault else expected.level


def check_abort(scene, expected: Translation, seen, access, what):
    """The syndrome, and the addresses, of an abort."""
    fault = expected.fault
    number = INSTRUCTION_ABORT if access is WalkAccess.FETCH else DATA_ABORT
    assert (seen.exception, seen.on_walk) == (number, fault.on_walk), what
    # QEMU 5.0 forgets stage 2's fault when it meets it on a walk of stage 1, and says Translation at stage 1's level.
    assert fault.on_walk or seen.fsc == fault.fsc, what
    if scene.el == 1:
        assert seen.target_el == fault.stage, what  # stage 1 goes to EL1, stage 2 to EL2
    if fault.stage == 2:
        assert seen.hpfar == fault.ipa >> 12 << 4, what
    tagged = scene.tbi[expected.va >> 55 & 1 if scene.two_ranges else 0]
    assert tagged or seen.far == expected.va, what
    if access is not WalkAccess.FETCH:
        assert seen.esr >> 6 & 1 == (access is WalkAccess.STORE), what  # WnR


def check_at(scene, operation, access, privileged, va):
    """The same question put by an AT instruction, which also gives attributes."""
    expected = translate(scene.memory, scene.regime, va, access, privileged=privileged)
    par = scene.mmu.at(operation, va)
    what = f"{operation} {va:#x}: PAR {par:#x} but {expected}"
    if expected.fault is not None:
        assert par & 1, what
        assert expected.fault.on_walk or par >> 1 & 0x3F == expected.fault.fsc, what
        assert (par >> 9 & 1, par >> 8 & 1) == (expected.fault.stage == 2, expected.fault.on_walk), what
        return
    assert not par & 1, what
    assert par & (1 << 48) - (1 << 12) == expected.pa & ~0xFFF, what
    if scene.regime.stage2 and expected.memory_type.is_device:
        # QEMU 5.0 combines Device with Normal by the low nibbles alone: Normal-NC (0x44) makes GRE nGnRE.
        assert attribute_type(par >> 56) <= expected.memory_type, what
    else:
        assert attribute_type(par >> 56) == expected.memory_type, what
    if expected.memory_type > MemoryType.NORMAL_NC:  # Device and Non-cacheable are Outer Shareable, whatever SH says
        assert par >> 7 & 3 in (expected.shareability, 1), what
