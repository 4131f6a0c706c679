"""The plugin: what anybody's engine ran, on a modelled core."""

import subprocess
import sys
from pathlib import Path

import pytest
from test_relocscope_programs import linked
from unicorn import UC_ARCH_ARM64, UC_MODE_ARM, Uc, arm64_const

import caches
import relocscope
from asm.assemble import assemble
from relocscope.attached import EVENTS
from traces.errors import InputError

CODE, DATA = 0x1_0000, 0x10_0000
COPY = """
    mov x3, #0x4000
again:
    ldp x4, x5, [x0], #16
    stp x4, x5, [x1], #16
    subs x3, x3, #16
    b.ne again
"""


def copying() -> tuple[Uc, int]:
    """An engine that is to copy 16 KiB, and where its code ends."""
    uc, code = Uc(UC_ARCH_ARM64, UC_MODE_ARM), assemble(COPY, name="copy", va=CODE).code
    uc.mem_map(CODE, 0x1000)
    uc.mem_write(CODE, code)
    uc.mem_map(DATA, 0x10_0000)
    uc.mem_write(DATA, bytes(range(256)) * 64)
    uc.reg_write(arm64_const.UC_ARM64_REG_X0, DATA)
    uc.reg_write(arm64_const.UC_ARM64_REG_X1, DATA + 0x8_0000)
    return uc, CODE + len(code)


@pytest.fixture(scope="module")
def model():
    uc, end = copying()
    with relocscope.attach(uc, core="rpi4", untranslated="Normal-WB") as attached:
        uc.emu_start(CODE, end)
    assert bytes(uc.mem_read(DATA + 0x8_0000, 0x4000)) == bytes(range(256)) * 64
    return attached


def test_the_outcome_counts_and_sums(model):
    outcome = model.outcome()
    assert outcome.instructions == model.instructions == 1 + 4 * 1024
    assert sum(outcome.cycle_stack.values()) == outcome.cycles == sum(model.cycle_stack().values())
    assert outcome.seconds == outcome.cycles / outcome.frequency_hz
    assert outcome.counters["l1d"]["accesses"] == 2048


def test_costs_of_instructions_sum_to_the_whole(model):
    costs = [model.cost(CODE + 4 * place) for place in range(5)]
    assert [each.count for each in costs] == [1, 1024, 1024, 1024, 1024]
    assert sum(each.cycles for each in costs) == model.outcome().cycles
    assert all(sum(each.cycle_stack.values()) == each.cycles for each in costs)
    assert model.cost(0x1234).count == 0


def test_memory_with_the_mmu_off_is_device_unless_the_owner_says_otherwise(model):
    uc, end = copying()
    with relocscope.attach(uc, core="rpi4") as bare:
        uc.emu_start(CODE, end)
    assert bare.cycle_stack()["device_load"] > bare.outcome().cycles / 4
    assert model.cycle_stack()["device_load"] == 0
    assert bare.outcome().cycles > 20 * model.outcome().cycles


@pytest.mark.parametrize("kind", ["l1d miss", "l2 miss"])
def test_there_is_an_event_for_each_count(model, kind):
    events = list(model.events(kind))
    ((part, counter),) = EVENTS[kind]
    assert len(events) == model.outcome().counters[part][counter] > 10
    assert [each.cycle for each in events] == sorted(each.cycle for each in events)
    assert {each.pc for each in events} <= {CODE, CODE + 4, CODE + 8}  # the first is of its fetch


def test_listeners_are_called_in_order_when_the_engine_is_detached():
    uc, end = copying()
    heard = []
    with relocscope.attach(uc, core="rpi4", untranslated="Normal-WB") as model:
        model.on("l2 miss", heard.append)
        model.on("l1d miss", heard.append)
        uc.emu_start(CODE, end)
        assert heard == []
    counters = model.outcome().counters
    assert len(heard) == counters["l1d"]["misses"] + counters["l2"]["misses"]
    assert [each.cycle for each in heard] == sorted(each.cycle for each in heard)


INVALIDATES = """
    mov x1, #7
    str x1, [x0]
    dc ivac, x0
    dsb sy
    ldr x2, [x0]
"""


def test_a_hazard_is_an_event():
    uc, code = Uc(UC_ARCH_ARM64, UC_MODE_ARM), assemble(INVALIDATES, name="invalidates", va=CODE).code
    uc.mem_map(CODE, 0x1000)
    uc.mem_write(CODE, code)
    uc.mem_map(DATA, 0x1000)
    uc.reg_write(arm64_const.UC_ARM64_REG_X0, DATA)
    heard = []
    loses = {"maintenance.ivac_cleans": False}
    with relocscope.attach(uc, untranslated="Normal-WB", set=loses) as model:
        model.on("hazard", heard.append)
        uc.emu_start(CODE, CODE + len(code))
    assert [(each.kind, each.pc) for each in heard] == [("hazard", CODE + 8)]
    assert [each.kind for each in model.events("lost line", "stale read")] == ["lost line"]


def test_fields_of_the_core_can_be_set(model):
    uc, end = copying()
    with relocscope.attach(uc, "rpi4", untranslated="Normal-WB", set={"dram.latency_ns": 1000}) as slower:
        uc.emu_start(CODE, end)
    assert slower.outcome().cycles > 1.2 * model.outcome().cycles


def test_runs_after_an_outcome_are_added():
    uc, end = copying()
    with relocscope.attach(uc, core="rpi4", untranslated="Normal-WB") as model:
        uc.emu_start(CODE, end)
        first = model.outcome().cycles
        uc.emu_start(CODE, end)
        assert model.outcome().instructions == 2 * (1 + 4 * 1024)
    assert model.outcome().cycles > first


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"core": "z80"}, "z80"),
        ({"untranslated": "fast"}, "untranslated = 'fast'"),
        ({"set": {"l9.size": 1}}, "l9"),
    ],
)
def test_bad_input_is_one_line_and_leaves_the_engine_alone(arguments, said):
    uc, _ = copying()
    before = dict(vars(uc))
    with pytest.raises(InputError, match=said), relocscope.attach(uc, **arguments):
        pass
    assert vars(uc) == before


def test_an_unknown_event_is_refused():
    uc, _ = copying()
    with relocscope.attach(uc) as model, pytest.raises(InputError, match="event 'l9 miss'"):
        model.on("l9 miss", print)


@pytest.mark.slow
def test_programs_in_qiling_are_timed(tmp_path):
    source = f"""
        sub x0, sp, #2048
        sub x1, sp, #1024
        {COPY.replace("#0x4000", "#256")}
        mov x0, #0
        mov x8, #93
        svc #0
    """
    program = linked(tmp_path, source, va=0x40_4000)
    (tmp_path / "root").mkdir()
    example = Path(__file__).parents[2] / "examples" / "in_qiling.py"
    done = subprocess.run(
        [sys.executable, example, tmp_path / "root", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.partition(",")[0]) == (0, "70 instructions"), done.stderr
    assert "dram_latency" in done.stdout


def test_the_state_of_the_caches_at_the_start_can_be_chosen():
    models = []
    for initial in ("cold", "kernel-dirty"):
        uc, end = copying()
        with relocscope.attach(uc, core="rpi4", untranslated="Normal-WB", initial=initial) as model:
            uc.emu_start(CODE, end)
        models.append(model)
    assert models[0].outcome().cycles != models[1].outcome().cycles
    assert len(list(models[1].events("l2 miss"))) == models[1].outcome().counters["l2"]["misses"]


def test_an_engine_is_left_as_it_was_when_the_owner_raises():
    uc, end = copying()
    before, heard = dict(vars(uc)), []
    attached = relocscope.attach(uc)
    model = attached.__enter__()
    model.on("l1d miss", heard.append)
    uc.emu_start(CODE, end)
    assert not attached.__exit__(ZeroDivisionError, ZeroDivisionError(), None)
    assert (vars(uc), heard) == (before, [])
    assert model.outcome().instructions == 1 + 4 * 1024


def test_a_core_of_ones_own_and_listeners_twice():
    uc, end = copying()
    heard = []
    with relocscope.attach(uc, caches.core("rpi4"), untranslated="Normal-WB") as model:
        model.on("l2 miss", heard.append)
        model.on("l2 miss", heard.append)
        uc.emu_start(CODE, end)
    assert len(heard) == 2 * model.outcome().counters["l2"]["misses"] > 0


def test_nothing_that_ran_is_no_error_to_a_listener_and_refusals_are_told():
    uc, _ = copying()
    with relocscope.attach(uc) as model:
        model.on("l2 miss", print)
    uc.reg_write(arm64_const.UC_ARM64_REG_X0, DATA + 4)
    with relocscope.attach(uc) as model:
        uc.emu_start(CODE, CODE + 8)
    assert [(each.kind, count) for each, count in model.refusals.items()] == [("unaligned-device", 1)]
    with relocscope.attach(uc), pytest.raises(InputError, match="attached already"), relocscope.attach(uc):
        pass
