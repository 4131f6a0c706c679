"""What maintenance that is not by address names: its operands, as the trace has them, are the registers' values."""

import pytest
from guests import DATA, Guest

from traces.schema import TAKES_OPERAND, Access, InsnClass, Maintenance


def operands(trace):
    """(kind, operand) of each executed set/way operation or TLBI by an operand, in order; XZR is 0."""
    found, value = [], 0
    for row in trace.executions:
        block = trace.blocks[row]
        for insn in trace.insns[int(block["first"]) :][: int(block["count"])]:
            kind = Maintenance(int(insn["maintenance"]))
            if kind in TAKES_OPERAND:
                assert (insn["cls"], insn["access"]) == (InsnClass.MAINTENANCE, Access.NONE)
                slot = int(insn["slot"])
                raw = 0 if slot < 0 else int(trace.values[value + slot]) + int(insn["offset"])
                found.append((kind, raw % (1 << 64)))
        value += int(block["values"])
    return found


SWEEP = """
    mov x9, #3
each:
    lsl x10, x9, #6
    dc cisw, x10
    orr x10, x10, #2
    dc isw, x10
    subs x9, x9, #1
    b.hs each
    add x10, x10, #64
    dc csw, x10
    dc csw, xzr
    br x30
"""


def test_set_and_way_operands_are_recorded_as_the_register_had_them():
    expected = []
    for number in (3, 2, 1, 0):
        expected += [(Maintenance.DC_CISW, number << 6), (Maintenance.DC_ISW, number << 6 | 2)]
    result = Guest(SWEEP).run()
    assert result.outcome == "completed"
    assert operands(result.trace) == [*expected, (Maintenance.DC_CSW, 2 + 64), (Maintenance.DC_CSW, 0)]


TLBI = """
    ldr x0, page
    ldr x1, [x0, #8]
    tlbi vae1, x0
    tlbi vale1is, x1
    tlbi vaae1, x0
    tlbi vaale1, x1
    tlbi aside1is, x0
    tlbi vae1, xzr
    br x30
    .balign 8
page: .quad DATA
"""


def test_tlbi_operands_are_recorded_whatever_formed_them():
    def prepare(guest):
        guest.words(DATA, 0, 0x1234_0000_0000_0042)

    result = Guest(TLBI, prepare=prepare).run()
    assert operands(result.trace) == [
        (Maintenance.TLBI_VAE1, DATA),
        (Maintenance.TLBI_VALE1, 0x1234_0000_0000_0042),
        (Maintenance.TLBI_VAAE1, DATA),
        (Maintenance.TLBI_VAALE1, 0x1234_0000_0000_0042),
        (Maintenance.TLBI_ASIDE1, DATA),
        (Maintenance.TLBI_VAE1, 0),
    ]


@pytest.mark.parametrize("el", [1, 2])
def test_an_operand_is_no_address(el):
    """Nothing is translated, watched or refused for it, whatever it holds."""
    result = Guest("mvn x0, xzr\ntlbi vae1, x0\ndc cisw, x0\nbr x30\n", el=el).run()
    assert result.outcome == "completed"
    assert [operand for _, operand in operands(result.trace)] == [(1 << 64) - 1] * 2
    assert len(result.trace.translations) == 0


@pytest.mark.parametrize(("model", "l2"), [("cortex-a72", [1024, 16]), ("max", [2048, 16])])
def test_the_trace_says_what_the_guest_was_told_of_its_caches(model, l2):
    assert Guest("br x30\n", model=model).run().trace.meta["data_caches"] == [[256, 2], l2]


def test_reading_the_caches_leaves_the_selection_as_it_was():
    guest = Guest("mrs x1, csselr_el1\nbr x30\n")
    guest.build()
    guest.cpu.sysreg["CSSELR_EL1"] = 3
    assert guest.cpu.data_caches
    assert guest.cpu.sysreg["CSSELR_EL1"] == 3
