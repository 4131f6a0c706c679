"""Lowering: what is folded, what is late, and that the addresses are those Unicorn really uses."""

import random
import struct
from itertools import pairwise

import pytest
import unicorn
from unicorn import arm64_const

from asm.blocks import Capture, LateCapture, LoweredBlock, lower
from asm.decode import SXTW, UXTW, UXTX, decode
from traces.schema import INSN, NO_REGISTER, Access, InsnFlag

CODE_VA = 0x1_0000
DATA_VA = 0x4000_0000
DATA_BYTES = 0x10_0000


def lowered(*words: int, pa: int = CODE_VA) -> LoweredBlock:
    return lower(decode(struct.pack(f"<{len(words)}I", *words), CODE_VA), pa)


def plain(base: int) -> Capture:
    return Capture(base, NO_REGISTER, UXTX, 0)


def test_rows_carry_the_record() -> None:
    block = lowered(0xF8408DD0, 0x54000041, pa=0x8000)  # ldr x16, [x14, #8]!; b.ne
    assert block.rows.dtype == INSN
    assert block.rows["va"].tolist() == [CODE_VA, CODE_VA + 4]
    assert block.rows["pa"].tolist() == [0x8000, 0x8004]
    row = block.rows[0]
    assert (row["word"], row["access"], row["size"], row["slot"], row["offset"]) == (0xF8408DD0, Access.LOAD, 8, 0, 8)
    assert row["dst"].tolist() == [14, 16, NO_REGISTER]
    assert row["src"].tolist() == [14, NO_REGISTER, NO_REGISTER, NO_REGISTER]
    assert block.rows[1]["slot"] == -1


def test_constants_fold_through_moves_additions_and_writeback() -> None:
    block = lowered(
        0xA94006A0,  # ldp x0, x1, [x21]
        0x910102B5,  # add x21, x21, #64
        0xF84086A5,  # ldr x5, [x21], #8
        0xF94002A6,  # ldr x6, [x21]
        0x910003EC,  # mov x12, sp
        0xF81F0D80,  # str x0, [x12, #-16]!
        0xD50B7E2C,  # dc civac, x12
        0xD50B742D,  # dc zva, x13
        0xF1400694,  # subs x20, x20, #1, lsl #12
        0x39400281,  # ldrb w1, [x20]
        0xAA1403E2,  # mov x2, x20
        0xF9400441,  # ldr x1, [x2, #8]
    )
    assert block.entry == (plain(21), plain(31), plain(13), plain(20))
    assert block.late == ()
    assert block.rows["slot"].tolist() == [0, -1, 0, 0, -1, 1, 1, 2, -1, 3, -1, 3]
    assert block.rows["offset"].tolist() == [0, 0, 64, 72, 0, -16, -16, 0, 0, -4096, 0, -4088]


def test_loaded_and_computed_bases_are_late() -> None:
    block = lowered(
        0xF94000A5,  # ldr x5, [x5]
        0xF9400CA6,  # ldr x6, [x5, #24]
        0x910004A5,  # add x5, x5, #1
        0xF94000A7,  # ldr x7, [x5]
        0x0B020021,  # add w1, w1, w2
        0xF9400020,  # ldr x0, [x1]
    )
    assert block.entry == (plain(5),)
    assert block.late == (
        LateCapture(1, 1, plain(5)),
        LateCapture(3, 2, plain(5)),
        LateCapture(5, 3, plain(1)),
    )
    assert [bool(flags & InsnFlag.LATE) for flags in block.rows["flags"]] == [False, True, False, True, False, True]
    assert block.rows["offset"].tolist() == [0, 24, 0, 0, 0, 0]


def test_indexes_fold_only_where_they_cannot_wrap() -> None:
    block = lowered(
        0xF86A7927,  # ldr x7, [x9, x10, lsl #3]
        0xF86A5927,  # ldr x7, [x9, w10, uxtw #3]
        0x9100094A,  # add x10, x10, #2
        0xF86A7927,  # ldr x7, [x9, x10, lsl #3]
        0xF86A5927,  # ldr x7, [x9, w10, uxtw #3]
        0xF86AD927,  # ldr x7, [x9, w10, sxtw #3]
    )
    assert block.entry == (Capture(9, 10, UXTX, 3), Capture(9, 10, UXTW, 3))
    assert [late.capture for late in block.late] == [Capture(9, 10, UXTW, 3), Capture(9, 10, SXTW, 3)]
    assert block.rows["offset"].tolist() == [0, 0, 0, 16, 0, 0]


def test_literals_need_no_capture() -> None:
    block = lowered(0x58FFFFE1)  # ldr x1, . - 4
    assert block.entry == block.late == ()
    assert (block.rows[0]["slot"], block.rows[0]["offset"]) == (-1, -4)


def test_what_is_not_understood_forgets_every_register() -> None:
    block = lowered(0xF9400020, 0xFFFFFFFF, 0xF9400020)  # ldr x0, [x1]; undefined; ldr x0, [x1]
    assert [late.insn for late in block.late] == [2]


def test_a_base_that_is_loaded_over_is_forgotten() -> None:
    block = lowered(0xF8408421, 0xF9400020)  # ldr x1, [x1], #8 (CONSTRAINED UNPREDICTABLE); ldr x0, [x1]
    assert [late.insn for late in block.late] == [1]


# ---- Against Unicorn ------------------------------------------------------------------------------

REGISTERS = [*(getattr(arm64_const, f"UC_ARM64_REG_X{number}") for number in range(31)), arm64_const.UC_ARM64_REG_SP]


def any_word(rng: random.Random) -> int:
    """Return one instruction on x0..x5 and sp that loads, stores, or moves addresses about."""
    rd, rn, rm, rt = rng.randrange(6), rng.choice([0, 1, 2, 3, 4, 5, 31]), rng.randrange(6), rng.randrange(8, 16)
    into = rng.choice([rd, rt])
    small = rng.randrange(8) * 8
    return rng.choice(
        [
            0xF9400000 | small // 8 << 10 | rn << 5 | into,  # ldr x
            0xF9000000 | small // 8 << 10 | rn << 5 | rt,  # str x
            0xF8400400 | small << 12 | rn << 5 | rt,  # ldr x, post
            0xF8000C00 | small << 12 | rn << 5 | rt,  # str x, pre
            0xA9400000 | small // 8 << 15 | 16 << 10 | rn << 5 | into,  # ldp
            0xA8800000 | small // 8 << 15 | 16 << 10 | rn << 5 | rt,  # stp, post
            0xA8000000 | small // 8 << 15 | 16 << 10 | rn << 5 | rt,  # stnp
            0x4CDF2C00 | rn << 5 | rt,  # ld1, four registers, post
            0xF8606800 | 6 << 16 | rn << 5 | rt,  # ldr x, [xn, x6]
            0xF8607800 | 6 << 16 | rn << 5 | rt,  # ldr x, [xn, x6, lsl #3]
            0xF860C800 | 7 << 16 | rn << 5 | rt,  # ldr x, [xn, w7, sxtw]
            0x91000000 | small << 10 | rn << 5 | rd,  # add
            0xD1000000 | small << 10 | rn << 5 | rd,  # sub
            0xF1000000 | small << 10 | rn << 5 | rd,  # subs
            0xAA0003E0 | rm << 16 | rd,  # mov
            0x910020C6,  # add x6, x6, #8
            0x8B0600C6,  # add x6, x6, x6: not folded
            0x110020E7,  # add w7, w7, #8
            0xB24003E0 | rd if rng.random() < 0.02 else 0xD503201F,  # mov xd, #1: an address that faults; else nop
        ]
    )


def formed_by_lowering(block: LoweredBlock, entry: list[int], before: list[list[int]]) -> list[int]:
    """Form every address as a consumer of the trace would."""

    def value(capture: Capture, registers: list[int]) -> int:
        if capture.index == NO_REGISTER:
            return registers[capture.base]
        index = registers[capture.index]
        if capture.extend in (UXTW, SXTW):
            index &= 0xFFFF_FFFF
            if capture.extend == SXTW and index >> 31:
                index -= 1 << 32
        return registers[capture.base] + (index << capture.shift)

    values = [value(capture, entry) for capture in block.entry]
    values += [value(late.capture, before[late.insn]) for late in block.late if late.insn < len(before)]
    reached = block.rows[: len(before)]
    return [(values[row["slot"]] + int(row["offset"])) % 2**64 for row in reached if row["access"]]


@pytest.mark.parametrize("seed", range(8))
def test_addresses_are_those_that_unicorn_uses(seed: int) -> None:
    rng = random.Random(seed)
    accesses = 0
    for _ in range(40):
        words = [any_word(rng) for _ in range(rng.randrange(2, 24))]
        uc = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
        uc.mem_map(CODE_VA, 0x1000)
        uc.mem_map(DATA_VA, DATA_BYTES)
        uc.mem_write(CODE_VA, struct.pack(f"<{len(words)}I", *words))
        uc.mem_write(DATA_VA, struct.pack("<Q", DATA_VA + DATA_BYTES // 2) * (DATA_BYTES // 8))
        for number, register in enumerate(REGISTERS):
            uc.reg_write(register, DATA_VA + DATA_BYTES // 4 + number * 0x1000)
        uc.reg_write(REGISTERS[6], rng.randrange(8))
        uc.reg_write(REGISTERS[7], rng.randrange(-64, 64) % 2**64)
        # One Python hook an instruction: registers before it, and where its first byte went.
        before: list[list[int]] = []
        used: dict[int, int] = {}

        def on_insn(uc: unicorn.Uc, *_: object, before: list[list[int]] = before) -> None:
            before.append([uc.reg_read(register) for register in REGISTERS])

        def on_access(
            _uc: unicorn.Uc,
            _kind: int,
            va: int,
            *_: object,
            used: dict[int, int] = used,
            before: list[list[int]] = before,
        ) -> None:
            used.setdefault(len(before) - 1, va)

        uc.hook_add(unicorn.UC_HOOK_CODE, on_insn)
        uc.hook_add(unicorn.UC_HOOK_MEM_READ | unicorn.UC_HOOK_MEM_WRITE, on_access)
        try:
            uc.emu_start(CODE_VA, CODE_VA + 4 * len(words))
        except unicorn.UcError:
            before.pop()  # the one that faulted
        block = lowered(*words)
        formed = formed_by_lowering(block, before[0] if before else [], before)
        assert formed == [va for position, va in sorted(used.items()) if position < len(before)]
        accesses += len(formed)
        assert all(earlier.slot < later.slot for earlier, later in pairwise(block.late))
    assert accesses > 150
