"""Decoding: golden records, and Capstone's own view of registers on a broad sample where it can be trusted."""

import random
import struct
from pathlib import Path

import capstone
import pytest

from asm.decode import Insn, decode
from asm.insn import UXTX
from traces.schema import FLAGS_REGISTER, NO_REGISTER, InsnClass, InsnFlag

GOLDEN = Path(__file__).with_name("golden_decode.txt").read_text().splitlines()


def word_bytes(*words: int) -> bytes:
    return struct.pack(f"<{len(words)}I", *words)


def register_name(number: int) -> str:
    if number in (31, FLAGS_REGISTER):
        return "sp" if number == 31 else "nzcv"
    return f"v{number - 64}" if number >= 64 else f"x{number}"


def describe(insn: Insn) -> str:
    """Write a record as golden_decode.txt does."""
    words = [insn.cls.name]
    if insn.dst:
        words.append("dst=" + ",".join(map(register_name, insn.dst)))
    if insn.src:
        words.append("src=" + ",".join(map(register_name, insn.src)))
    if insn.access:
        words.append(f"{insn.access.name}:{insn.size}/{insn.element}")
    if memory := insn.memory:
        index = "" if memory.index == NO_REGISTER else f"+x{memory.index}:{memory.extend}:{memory.shift}"
        words.append(f"[{register_name(memory.base)}{index}{memory.offset:+}]{memory.writeback:+}")
    if insn.maintenance:
        words.append(insn.maintenance.name)
    if insn.barrier:
        words.append(f"{insn.barrier.name}:{insn.barrier_option}")
    if insn.flags:
        words.append(str(insn.flags.name))
    if insn.sysreg:
        words.append("s{}_{}_c{}_c{}_{}".format(*insn.sysreg))
    if insn.target is not None:
        words.append(f"->{insn.target:#x}")
    return " ".join(words)


@pytest.mark.parametrize("line", GOLDEN, ids=lambda line: line.split(" ", 1)[1].split(" ;")[0])
def test_golden(line: str) -> None:
    word, rest = line.split(" ", 1)
    text, record = rest.split(" ; ")
    [insn] = decode(word_bytes(int(word, 16)), 0x1000)
    assert insn.text == text
    assert describe(insn) == record


def test_undefined_words_are_counted_and_shift_nothing() -> None:
    code = word_bytes(0xD503201F, 0xFFFFFFFF, 0x00000000, 0xFFFFFFFF, 0xD503201F) + b"\x1f\x20"
    insns = decode(code, 0x4000)
    assert [insn.text for insn in insns] == ["nop", ".inst 0xffffffff", "udf #0", ".inst 0xffffffff", "nop"]
    assert [insn.va for insn in insns] == [0x4000, 0x4004, 0x4008, 0x400C, 0x4010]
    assert [insn.cls for insn in insns[1:4]] == [InsnClass.OTHER, InsnClass.EXCEPTION, InsnClass.OTHER]
    assert decode(b"", 0) == []
    assert decode(b"\x00\x00\x00", 0) == []


def test_addresses_wrap() -> None:
    [insn] = decode(word_bytes(0x14000001), 2**64 - 4)
    assert insn.target == 0


# Capstone 5 lists the discarded destination of comparisons as a destination, that of bitfield moves as a source, the
# flags as a source of cbz, and forgets operands of atomics, memory tagging, pacga and system instructions.
CAPSTONE_IS_WRONG = (
    *("adds", "subs", "cm", "tst", "asr", "lsl", "lsr", "sbf", "ubf", "cb", "bc."),
    *("pacga", "subg", "addg", "subp", "irg", "gmi", "ldra", "stlur"),
)
MODELLED_BY_NAME = {InsnClass.ATOMIC, InsnClass.SYSTEM_READ, InsnClass.SYSTEM_WRITE, InsnClass.MAINTENANCE}
VECTOR = {InsnClass.SIMD, InsnClass.FP, InsnClass.CRYPTO}


def capstone_number(name: str) -> int | None:
    if name in ("sp", "wsp"):
        return 31
    if name == "nzcv":
        return FLAGS_REGISTER
    if name in ("fp", "lr"):
        return 29 if name == "fp" else 30
    if name in ("xzr", "wzr"):
        return None
    return int(name[1:]) if name[0] in "xw" else 64 + int(name[1:])


def names_modelled_registers(names: list[str]) -> bool:
    return all(name[0] in "xwbhsdqv" or name in ("sp", "wsp", "nzcv", "fp", "lr") for name in names)


def test_registers_agree_with_capstone_where_it_can_be_trusted() -> None:
    engine = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_LITTLE_ENDIAN)
    engine.detail = True
    rng = random.Random(20240717)
    compared = dict.fromkeys(InsnClass, 0)
    for _ in range(30000):
        code = word_bytes(rng.getrandbits(32))
        theirs = next(engine.disasm(code, 0x1000), None)
        [ours] = decode(code, 0x1000)
        if theirs is None or ours.cls in {InsnClass.OTHER, *MODELLED_BY_NAME}:
            continue
        if theirs.mnemonic.startswith(CAPSTONE_IS_WRONG) or InsnFlag.VECTOR in ours.flags or len(ours.src) == 4:
            continue
        read, written = ([theirs.reg_name(number) for number in numbers] for numbers in theirs.regs_access())
        if not names_modelled_registers(read + written) or not read + written:
            continue
        compared[ours.cls] += 1
        src, dst = ({capstone_number(name) for name in names} - {None} for names in (read, written))
        if ours.cls in VECTOR:  # whether they also keep part of their destination it gets wrong both ways
            src |= set(ours.dst) if src else set(ours.src)
            assert set(ours.src) | set(ours.dst) == src | set(ours.dst), ours.text
        else:
            assert set(ours.src) == src, ours.text
            assert set(ours.dst) == dst, ours.text
    assert all(
        compared[cls] > 15 for cls in (InsnClass.ALU, InsnClass.LOAD, InsnClass.STORE, InsnClass.MUL, InsnClass.FP)
    )


def test_addresses_agree_with_capstone_on_a_broad_sample() -> None:
    """Base, index and displacement are what Capstone does get right."""
    engine = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_LITTLE_ENDIAN)
    engine.detail = True
    rng = random.Random(20240726)
    compared = 0
    for _ in range(20000):
        # bits 27 and 25 are what the group of loads and stores has in common
        code = word_bytes(rng.getrandbits(32) & ~(1 << 25) | 1 << 27)
        [ours] = decode(code, 0x1000)
        if ours.memory is None:
            continue
        theirs = next(engine.disasm(code, 0x1000))
        [operand] = [operand for operand in theirs.operands if operand.type == capstone.arm64.ARM64_OP_MEM]
        assert ours.memory.base == capstone_number(theirs.reg_name(operand.mem.base)), ours.text
        index = theirs.reg_name(operand.mem.index) if operand.mem.index else None
        named = None if index in (None, "xzr", "wzr") else capstone_number(index)
        assert ours.memory.index == (NO_REGISTER if named is None else named), ours.text
        post_indexed = "], " in ours.text
        if not post_indexed:
            assert ours.memory.offset == operand.mem.disp, ours.text
        if named is None:
            assert (ours.memory.extend, ours.memory.shift) == (UXTX, 0)
        else:
            assert ours.memory.shift == operand.shift.value, ours.text
        assert bool(ours.memory.writeback) <= (ours.memory.base in ours.dst)
        compared += 1
    assert compared > 5000
