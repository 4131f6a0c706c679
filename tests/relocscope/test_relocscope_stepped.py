"""What can be stepped: cases with a purgatory, memory dumps; the source of the code."""

import dataclasses

import dumped
import pytest
from stepping_digest import digest

from emu.layout import default_layout
from emu.scenario import prepare
from emu.spans import Span
from relocscope.case import shipped_case
from relocscope.emulate import scenario
from relocscope.operand import operand, with_settings
from relocscope.runs import run_operand
from relocscope.stepping import views
from relocscope.stepping.commands import run
from relocscope.stepping.control import Control
from relocscope.stepping.session import Session
from traces.errors import InputError


def dump_of(name: str, folder) -> str:
    """Write the memory and the registers of a case's machine as a person has them; return the operand."""
    layout = default_layout(64 * 4096, ram=Span(0x8000_0000, 96 << 20))
    where = {"memory_map": layout.memory_map, "segments": layout.segments, "start": layout.start}
    guest = prepare(dataclasses.replace(scenario(shipped_case(name)), **where, soft_restart=None))
    return f"ram:{dumped.raw(guest.memory, folder / 'ram')},{dumped.registers(guest, folder / 'regs')}"


@pytest.mark.parametrize("name", ["v4.19-nvhe", "v5.17-nvhe"])
def test_a_memory_dump_is_stepped_forwards_and_back(name: str, tmp_path):
    subject = operand(dump_of(name, tmp_path))
    before = (tmp_path / "ram").read_bytes()
    session = Session(subject)
    whole = run_operand(subject)
    session.go(1000)
    there = digest(session)
    session.go(session.timeline.end)
    assert session.cycles == whole.cycles
    assert session.pc == int(str(whole.entry["pc"]), 16)
    session.go(1000)
    assert digest(session) == there
    assert (tmp_path / "ram").read_bytes() == before


def test_what_is_set_by_hand_in_a_dump_runs_on_from_there(tmp_path):
    control = Control(Session(operand(dump_of("v4.19-nvhe", tmp_path))))
    run(control, "step 20")
    run(control, "set x9 0x77")
    assert run(control, "continue").facts["end"].startswith("completed")
    assert control.session.machine.cpu.x[9] == 0x77


def test_a_recorded_trace_says_why_it_cannot_be_stepped(tmp_path):
    with pytest.raises(InputError, match="no registers or memory; step the case itself"):
        Session(operand(f"trace:{tmp_path / 'any.trace'}"))


def test_a_run_with_a_purgatory_ends_at_the_new_kernel():
    session = Session(with_settings(operand("purgatory-off"), {"size": "256KiB"}))
    session.go(session.timeline.end)
    assert session.pc == int(str(run_operand(session.subject).entry["pc"]), 16)
    session.go(session.timeline.end - 1000)
    assert session.number == session.timeline.end - 1000


def here(control: Control, **where: int) -> dict:
    return next(line for line in views.code(control.session, **where) if line["current"])


def test_code_of_ours_is_shown_with_its_source_until_it_is_patched():
    control = Control(Session(with_settings(operand("rfc-v1-nvhe"), {"size": "64KiB"})))
    run(control, "until pc invalidate_line")
    assert here(control)["source"]["text"] == "dc ivac, x0"
    run(control, "until pc each_entry")
    there = here(control, at=control.session.symbols["check_head"])
    assert there["source"]["text"] == "and x12, x16, #~(PAGE_BYTES - 1)"
    run(control, 'patch pc "and x12, x16, #0xfffffffffffff000"')
    assert here(control)["source"] is not None
    run(control, 'patch pc "nop"')
    assert here(control)["source"] is None
