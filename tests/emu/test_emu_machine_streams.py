"""The addresses that a trace gives are those that Unicorn touches, guest by guest."""

import random
from collections.abc import Callable

import pytest
from guests import CODE, DATA, DEVICE, MORE, NORMAL, RAM, TABLES, VECTORS, Guest, touched, touched_natively

from traces.expand import accesses

COPY = """
    mov x11, #3
    mov x12, #DATA
    mov x13, #MORE
page:
    mov x20, x13
    mov x21, x12
line:
    ldp x0, x1, [x21]
    ldp x2, x3, [x21, #16]
    ldp x4, x5, [x21, #32]
    ldp x6, x7, [x21, #48]
    add x21, x21, #64
    stnp x0, x1, [x20]
    stnp x2, x3, [x20, #16]
    stnp x4, x5, [x20, #32]
    stnp x6, x7, [x20, #48]
    add x20, x20, #64
    tst x21, #0xfff
    b.ne line
    add x13, x13, #0x1000
    add x12, x12, #0x1000
    subs x11, x11, #1
    b.ne page
    br x30
"""


def identity(guest: Guest) -> None:
    guest.translate_el1(guest.identity())


def swapped(guest: Guest) -> None:
    """DATA and MORE change places, page by page and in falling order."""
    tables = guest.identity()
    for page in range(8):
        tables.map(DATA + 0x1000 * page, MORE + 0x7000 - 0x1000 * page, 0x1000, NORMAL, 4096)
        tables.map(MORE + 0x1000 * page, DATA + 0x7000 - 0x1000 * page, 0x1000, NORMAL, 4096)
    guest.translate_el1(tables)


def list_at_data(guest: Guest) -> None:
    """A linked list through both areas, with a payload behind each link; it ends in 0."""
    places = [DATA, MORE + 0x1008, DATA + 0x2FF0, MORE + 0x10, DATA + 0x800, MORE + 0x3FF0]
    for here, there in zip(places, [*places[1:], 0], strict=True):
        guest.words(here, there, here ^ 0x5555)


def list_translated(guest: Guest) -> None:
    list_at_data(guest)
    identity(guest)


def handler_at_el2(guest: Guest) -> None:
    """hvc at EL1 comes here: add 1 to x5, store it, return."""
    guest.cpu.sysreg["VBAR_EL2"] = VECTORS
    guest.place(VECTORS + 0x400, "add x5, x5, #1\nstr x5, [x12]\nldr x6, [x12]\neret\n")


def skipping_handler(guest: Guest) -> None:
    """An abort at EL1 comes here: note FAR, step over the instruction."""
    identity(guest)
    guest.cpu.sysreg["VBAR_EL1"] = VECTORS
    guest.place(
        VECTORS + 0x200,
        """
        mrs x8, far_el1
        mrs x9, esr_el1
        stp x8, x9, [x12, #16]
        mrs x10, elr_el1
        add x10, x10, #4
        msr elr_el1, x10
        eret
        """,
    )


def random_program(seed: int) -> str:
    """Loads and stores of every addressing mode among arithmetic on their bases, in blocks that loop."""
    rng = random.Random(seed)
    text = ["mov x1, #DATA", "mov x2, #MORE", "mov x3, #8", "mov x4, #12", "mov x9, #DATA", "mov x10, x1"]
    for block in range(4):
        text.append(f"block{block}:")
        text += [rng.choice(_STEPS).format(base=rng.choice(("x1", "x2", "x9")), n=rng.randrange(16)) for _ in range(24)]
        text += ["and x1, x1, #0xfffffffffffffff8", "sub x4, x4, #1", f"tbnz x4, #0, block{block}"]
    return "\n".join([*text, "br x30"])


_STEPS = (
    "ldr x5, [{base}, #{n}]",
    "ldr x6, [{base}], #8",
    "ldr x5, [{base}, #16]!",
    "str x6, [{base}, x3]",
    "str w6, [{base}, w3, uxtw #2]",
    "ldrb w5, [{base}, x3]",
    "strh w5, [{base}], #2",
    "ldp x5, x6, [{base}, #32]",
    "stp x5, x6, [{base}], #-16",
    "ldnp x5, x7, [{base}]",
    "stnp w5, w7, [{base}, #8]",
    "ldp q0, q1, [{base}, #-64]",
    "str q0, [{base}, #48]",
    "ldrsw x7, [{base}, x3, lsl #2]",
    "add {base}, {base}, #{n}",
    "sub {base}, {base}, #{n}",
    "mov x10, {base}",
    "ldr x7, [x10, #8]",
    "mov x9, x1",
    "add x3, x3, #{n}",
    "and x3, x3, #0xff",
    "add x9, {base}, x3",
    "prfm pldl1keep, [{base}, #64]",
    "nop",
)


def remapping(guest: Guest) -> None:
    """x9, x10: the leaf of DATA, and what it is to become (MORE)."""
    tables = guest.identity()
    guest.translate_el1(tables)
    leaf = tables.lookup(DATA)
    guest.cpu.x[9], guest.cpu.x[10] = leaf.pa, leaf.value + (MORE - DATA)
    guest.words(MORE, 0x1234)


GUESTS = {
    "copy-el1": Guest(COPY),
    "copy-el2": Guest(COPY, el=2),
    "copy-translated": Guest(COPY, prepare=swapped),
    "copy-max-el2": Guest(COPY, el=2, model="max"),
    "widths": Guest(
        """
        mov x1, #DATA
        mov x2, #8
        ldrb w3, [x1, #1]
        ldrh w4, [x1, #2]
        ldrsw x5, [x1, #4]
        ldr x6, [x1, x2]
        ldr x7, [x1, x2, lsl #3]
        mov x9, #MORE
        strb w3, [x9], #1
        strh w4, [x9, #1]!
        str w5, [x9, #2]!
        str x6, [x9, #4]!
        ldr q0, [x1]
        str q0, [x9, #8]
        ldp q1, q2, [x1, #32]
        stp d1, d2, [x9, #16]!
        ldur x3, [x9, #-8]
        ld1 {v3.16b, v4.16b}, [x1]
        ldr x10, literal
        mov w11, #-8
        ldr x12, [x9, w11, sxtw]
        br x30
        .balign 8
        literal: .quad 0x1122334455667788
        """,
        prepare=identity,
    ),
    "page-crossing": Guest(
        """
        mov x1, #DATA
        add x1, x1, #0xffc
        ldr x2, [x1]
        mov x3, #MORE
        add x3, x3, #0xff8
        stp x2, x2, [x3]
        ldp x4, x5, [x3]
        br x30
        """,
        prepare=swapped,
    ),
    "window-over-pages": Guest(
        """
        mov x1, #DATA
        mov x3, #MORE
        mov x4, #0x180
        again:
        ldp x5, x6, [x1, #8]
        ldr x7, [x1, #0x100]
        str x7, [x3, #-16]
        strb w7, [x3, #0x7f]
        add x1, x1, #48
        add x3, x3, #56
        subs x4, x4, #1
        b.ne again
        br x30
        """,
        prepare=swapped,
    ),
    "list-walk": Guest(
        """
        mov x1, #DATA
        mov x4, #0
        next:
        ldr x2, [x1, #8]
        add x4, x4, x2
        ldr x1, [x1]
        cbnz x1, next
        br x30
        """,
        prepare=list_at_data,
    ),
    "pointer-chase-in-one-block": Guest(
        """
        mov x1, #DATA
        ldr x2, [x1]
        ldr x3, [x2]
        ldr x4, [x3]
        ldr x5, [x4, #8]
        str x5, [x2, #8]
        ldr x6, [x3, #8]
        br x30
        """,
        prepare=list_translated,
    ),
    "literal-pointers": Guest(
        """
        ldr x1, pointer
        ldr x2, [x1]
        add x1, x1, #8
        str x2, [x1], #8
        ldr x3, [x1, #8]!
        br x30
        .balign 8
        pointer: .quad 0x40100100
        """
    ),
    "hvc-and-eret": Guest(
        """
        mov x12, #DATA
        mov x5, #7
        str x5, [x12, #8]
        hvc #3
        ldr x7, [x12]
        hvc #4
        str x7, [x12, #16]
        br x30
        """,
        prepare=handler_at_el2,
    ),
    "aborts-handled": Guest(
        """
        mov x12, #DATA
        mov x1, #0x80000000
        str x12, [x12]
        ldr x2, [x1]
        str x2, [x12, #8]
        stp x1, x2, [x1, #64]
        ldr x3, [x12]
        ldr x4, [x1]
        br x30
        """,
        prepare=skipping_handler,
    ),
    "zero-block": Guest(
        "mov x1, #DATA\nadd x2, x1, #100\ndc zva, x2\ndc zva, x1\nldr x3, [x2]\nbr x30\n", prepare=identity
    ),
    "maintenance": Guest(
        """
        mov x1, #DATA
        mov x3, #4
        line:
        dc civac, x1
        dc cvac, x1
        add x1, x1, #64
        str x1, [x1]
        subs x3, x3, #1
        b.ne line
        ic ivau, x1
        dsb sy
        isb
        br x30
        """,
        prepare=identity,
    ),
    "exclusives": Guest(
        """
        mov x1, #DATA
        mov x5, #3
        again:
        ldxr x2, [x1]
        add x2, x2, #1
        stxr w3, x2, [x1]
        cbnz w3, again
        stlr x2, [x1, #0]
        ldar x4, [x1]
        subs x5, x5, #1
        b.ne again
        br x30
        """,
        prepare=identity,
    ),
    "long-straight-code": Guest(
        "mov x1, #DATA\n" + "str x3, [x1], #8\nldr x2, [x1, #-8]\n" * 700 + "br x30\n", prepare=identity
    ),
    "self-modifying": Guest(
        """
        mov x1, #DATA
        mov x4, #2
        adr x2, patched
        ldr w3, replacement
        again:
        patched: str x1, [x1]
        subs x4, x4, #1
        b.mi done
        str w3, [x2]
        dc cvau, x2
        dsb ish
        ic ivau, x2
        dsb ish
        isb
        b again
        done: br x30
        replacement: ldr x5, [x1, #0x40]
        """
    ),
    "table-store": Guest(
        """
        mov x1, #DATA
        ldr x2, [x1]
        str x2, [x1, #8]
        str x10, [x9]
        dsb ish
        tlbi vmalle1
        dsb ish
        isb
        ldr x2, [x1]
        str x2, [x1, #16]
        br x30
        """,
        prepare=remapping,
    ),
}


@pytest.mark.parametrize("name", GUESTS)
def test_trace_touches_what_unicorn_touches(name: str) -> None:
    guest = GUESTS[name]
    result = guest.run()
    assert (result.outcome, result.reason) == ("completed", "")
    expected = touched_natively(guest)
    assert expected
    assert touched(result.trace) == expected


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("prepare", [identity, swapped])
def test_random_programs(seed: int, prepare: Callable[[Guest], None]) -> None:
    guest = Guest(random_program(seed), prepare=prepare)
    result = guest.run()
    assert result.outcome == "completed", result
    expected = touched_natively(guest)
    assert len(expected) > 100
    assert touched(result.trace) == expected


@pytest.mark.parametrize("name", GUESTS)
def test_unfolding_in_numpy_agrees(name: str) -> None:
    trace = GUESTS[name].run().trace
    first_bytes = accesses(trace)
    moves = first_bytes[first_bytes["size"] > 0]
    assert len(moves)
    assert set(moves["pa"].tolist()) <= {pa for pa, _ in touched(trace)} | {int(pa) for pa in moves["pa"] if pa % 64}


def test_every_guest_memory_byte_agrees_with_an_unobserved_run() -> None:
    guest = GUESTS["copy-translated"]
    machine = guest.build()
    guest.memory.write(DATA, bytes(range(256)) * 128)
    machine.run(stop_pa=guest.stop_pa, capture=False)
    plain = guest.memory.read(RAM, TABLES - RAM)
    machine = guest.build()
    guest.memory.write(DATA, bytes(range(256)) * 128)
    machine.run(stop_pa=guest.stop_pa)
    assert guest.memory.read(RAM, TABLES - RAM) == plain
    assert plain[CODE - RAM :][:4] != bytes(4)
    assert DEVICE != NORMAL
