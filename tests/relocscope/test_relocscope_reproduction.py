"""What history says each row does: all of it found, and each row flips when one rule of its guest is broken."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from asm.assemble import assemble
from asm.routines import Routine
from relocscope.case import case_names
from relocscope.emulate import scenario
from relocscope.expectations import mismatches
from relocscope.operand import with_settings
from relocscope.reproduction import Row, compare, rows
from relocscope.runs import core_config, measure

ROWS = {row.id: row for row in rows()}
SIZE = "1MiB"


def test_every_row_states_what_is_expected_and_where_it_stands():
    assert len(ROWS) == len(rows())
    assert {f"R{number}" for number in range(1, 24)} <= set(ROWS)
    for number, row in enumerate(rows()):
        assert row.source, row.id
        assert "outcome" in row.expect, row.id
        # A row is compared with rows that ran before it, or its bounds would never be looked at.
        assert {time.of for time in row.times} <= {above.id for above in rows()[:number]}, row.id


def test_every_case_that_ships_has_a_row_of_its_own():
    assert {row.case for row in rows() if not row.set} == set(case_names())


def test_every_row_but_its_times_holds_for_a_small_image_too():
    found = {each.row.id: each for each in compare(rows(), {"size": SIZE})}
    assert {identifier: each.refused for identifier, each in found.items() if each.refused} == {}
    wrong = {identifier: [m for m in each.mismatches if "time:" not in m] for identifier, each in found.items()}
    assert {identifier: broken for identifier, broken in wrong.items() if broken} == {}


@pytest.mark.slow
def test_every_row_does_what_its_source_says():
    found = {each.row.id: (each.refused, each.mismatches) for each in compare(rows())}
    assert {identifier: broken for identifier, broken in found.items() if any(broken)} == {}


@dataclass(frozen=True)
class Flip:
    """One rule of a row's guest broken: text of a routine replaced, or a setting; and the statement that it breaks."""

    row: str
    breaks: str
    set: tuple[tuple[str, Any], ...] = ()
    relocate: tuple[str, str] = ("", "")
    soft_restart: tuple[str, str] = ("", "")
    purgatory: tuple[str, str] = ("", "")


STAYS_ON = ("msr     sctlr_el1, x12", "nop")
FLIPS = (
    Flip("R1", "mmu", soft_restart=STAYS_ON, set=(("map.tables", "rfc-v1"),)),
    Flip("R2", "copy_el", set=(("el2_switch", False),)),
    Flip("R3", "mmu", set=(("map.tables", "rfc-v1"),), soft_restart=STAYS_ON,
         relocate=("bic     x0, x0, x1\n        msr     sctlr_el2", "msr     sctlr_el2")),
    Flip("R4", "copy_el", set=(("el2_switch", False),)),
    Flip("R5", "hazards", relocate=("b.ne    copy_line\n", "b.ne    copy_line\n" + """
        sub     x0, x20, #PAGE_BYTES
again:  dc      civac, x0
        add     x0, x0, x15
        cmp     x0, x20
        b.lo    again
""")),
    Flip("R5s", "dirty", set=(("copy.sctlr_c", 0),)),
    Flip("R5v", "mmu", relocate=("mrs     x0, ctr_el0", """
        mrs     x0, sctlr_el1
        bic     x0, x0, #1
        msr     sctlr_el1, x0
        isb
        mrs     x0, ctr_el0""")),
    Flip("R6", "copy_el", set=(("el2_switch", True), ("map.clear_xn", True))),
    Flip("R7", "outcome", set=(("map.clear_xn", True),)),
    Flip("R8", "outcome", set=(("map.clear_xn", False),)),
    Flip("R9", "hazards", relocate=("dc      cvau, x9", "dc      civac, x9")),
    Flip("R9s", "image_visible", relocate=("dc      cvau, x9", "dc      civac, x9")),
    Flip("R10", "image_visible", relocate=("dc      ivac, x19", "dc      civac, x19")),
    Flip("R11", "image_visible", set=(("map.stage2", "none"),)),
    Flip("R12", "image_visible", relocate=("dc      civac, x19", "nop")),
    Flip("R12e", "no_hazards", relocate=("dc      civac, x19", "nop")),
    Flip("R13", "image_visible", relocate=("dc      civac, x19", "dc      ivac, x19")),
    Flip("R14", "outcome", set=(("image.kimage_in_destination", False),)),
    Flip("R14f", "outcome", set=(("routine.relocate", "relocate-v5.16"),)),
    Flip("R15", "copies", set=(("kdump", False), ("map.tables", "merged"),
                               ("routine.kexec_vectors", "kexec-vectors-v5.17"))),
    Flip("R16", "data_type", set=(("copy.sctlr_c", 1),)),
    Flip("R16c", "image_visible", set=(("initial", "kernel-dirty"),)),
    Flip("R17", "fetch_type", set=(("copy.sctlr_i", 0),)),
    Flip("R18", "data_type", set=(("map.stage2", "vm"),)),
    Flip("R19", "outcome", set=(("map.t0sz", 16),)),
    Flip("R19t", "outcome", set=(("map.t0sz", 25),)),
    Flip("R20", "entry_el", relocate=("cbz     x27, same_level", "b       same_level")),
    Flip("R20b", "outcome", set=(("map.t0sz", 39),)),
    Flip("R21", "mmu", relocate=("orr     x1, x1, x2\n", "\n")),
    Flip("R22", "outcome", purgatory=("add     w17, w17, w18\n", "sub     w17, w17, w18\n")),
    Flip("R22d", "image_visible", purgatory=("dc      civac, x12", "nop")),
    Flip("R23", "hazards", relocate=("mov     x1, #PAGE_BYTES", "add     x1, x19, #PAGE_BYTES")),
    Flip("R23s", "image_visible", relocate=("mov     x1, #PAGE_BYTES", "add     x1, x19, #PAGE_BYTES")),
)  # fmt: skip


def changed(routine: Routine, change: tuple[str, str]) -> Routine:
    """Assemble the routine anew with its text changed."""
    assert change[0] in routine.text
    assembly = assemble(routine.text.replace(*change, 1), name="changed")
    return replace(routine, code=assembly.code, symbols=dict(assembly.symbols))


def broken(flip: Flip, row: Row) -> list[str]:
    """Run the row with its guest changed, and return what it then does not bear out."""
    from emu.scenario import prepare

    subject = with_settings(row.subject(), {"size": row.set.get("size", SIZE), **dict(flip.set)})
    assert subject.case is not None
    described = scenario(subject.case)
    edits: dict[str, Routine] = {}
    for name in ("relocate", "soft_restart", "purgatory"):
        if getattr(flip, name)[0]:
            edits[name] = changed(getattr(described, name), getattr(flip, name))
    trace = prepare(replace(described, **edits)).run().trace
    run = measure(trace, core_config(subject), name="", initial=subject.case.initial, seed=subject.case.seed)
    return mismatches(run, row.expect)


@pytest.mark.slow
@pytest.mark.parametrize("flip", FLIPS, ids=lambda flip: flip.row)
def test_a_row_flips_when_one_rule_of_its_guest_is_broken(flip: Flip):
    found = broken(flip, ROWS[flip.row])
    assert flip.breaks in [statement.partition(":")[0] for statement in found], found


def test_every_row_of_the_table_is_flipped_by_something():
    numbers = {identifier.rstrip("abcdefstv") for identifier in (flip.row for flip in FLIPS)}
    assert numbers == {f"R{number}" for number in range(1, 24)}
