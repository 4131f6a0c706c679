"""The walker against Unicorn's own MMU, over random tables, regimes and accesses.

Checked: where a load, store or fetch goes; the abort it takes, with kind, level, stage and address; and through the AT
instructions also addresses outside RAM, memory attributes and shareability.

Where Unicorn 2.1.4 (QEMU 5.0) is known to be wrong or not to implement the feature, tables keep clear of it, and
test_emu_walker.py has the rule by hand: address size faults (PS is ignored), blocks at levels that have none, sizes
outside 16..39, hardware access flag and dirty state, 52-bit addresses, SCTLR.C = 0 in PAR_EL1.
"""

import random
from collections import Counter

import pytest
from mmu_scene import E2H, RW, TGE, Scene, check_access, check_at
from unicorn_mmu import UnicornMmu, fresh_memory

from emu.walker import FaultKind, WalkAccess

KINDS = {
    # name: (CPU model, level, HCR_EL2)
    "el1": ("A72", 1, RW),
    "el1-max": ("MAX", 1, RW),
    "el2": ("A72", 2, RW),
    "el2-max": ("MAX", 2, RW),
    "el2-and-0": ("MAX", 2, RW | E2H),
    "el0-of-el2": ("MAX", 0, RW | E2H | TGE),
}
ACCESSES = (WalkAccess.LOAD, WalkAccess.STORE, WalkAccess.FETCH)


@pytest.fixture(scope="module", params=KINDS)
def place(request):
    """Memory, PE, level and HCR of one kind of regime; built once, because Unicorn's start is slow."""
    model, el, hcr = KINDS[request.param]
    memory = fresh_memory()
    mmu = UnicornMmu(memory, model)
    mmu.set(HCR_EL2=hcr)
    return memory, mmu, el, hcr


def run_scenes(place, seed, scenes):
    """Compare everything in some scenes; return how often each (access, fault kind, level) came up."""
    rng = random.Random(f"{seed} {place[2]} {place[3]}")
    outcomes = Counter()
    for _ in range(scenes):
        scene = Scene(rng, *place)
        for va in scene.addresses:
            for pstate, privileged in scene.states():
                outcomes.update(check_access(scene, access, pstate, privileged, va) for access in ACCESSES)
            # QEMU 5.0 has no AT for EL2&0.
            for operation, access, privileged in () if scene.regime.e2h else scene.at_operations():
                check_at(scene, operation, access, privileged, va)
                outcomes["AT", operation] += 1
    return outcomes


def what_never_came_up(outcomes, el):
    """Which outcomes the scenes failed to make, of all that are possible."""
    wanted = {(access, kind, level) for access in ACCESSES for kind in FaultKind for level in range(4)}
    never = {
        (access, kind, level) for access, kind, level in wanted if kind in (FaultKind.EXTERNAL, FaultKind.ADDRESS_SIZE)
    }
    never |= {(access, kind, 0) for access, kind, _ in wanted if kind is not FaultKind.TRANSLATION}
    if el == 2:  # privileged loads are never refused
        never |= {(WalkAccess.LOAD, FaultKind.PERMISSION, level) for level in range(4)}
    return wanted - never - set(outcomes)


def test_the_walker_agrees_with_unicorn(place):
    outcomes = run_scenes(place, seed=1, scenes=90)
    assert not what_never_came_up(outcomes, place[2])
    assert outcomes.total() - outcomes[None] >= 2500


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 4))
def test_the_walker_agrees_with_unicorn_at_length(place, seed):
    outcomes = run_scenes(place, seed=seed, scenes=200)
    assert outcomes.total() - outcomes[None] >= 6000
