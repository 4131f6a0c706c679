"""The assembler: what it accepts, and that everything Keystone would get wrong in silence is refused in one line."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asm.assemble import assemble
from asm.decode import decode
from asm.expression import evaluate
from traces.errors import InputError

VA = 0x8_0000


def texts(source: str, va: int = VA) -> list[str]:
    return [insn.text for insn in decode(assemble(source, name="t.S", va=va).code, va)]


def test_labels_constants_macros_and_repetition() -> None:
    assembly = assemble(
        """
        .equ FLAG, 1 << 2            // a comment
        .macro double a, b
                add     \\a, \\a, \\b
        .Lagain\\@: cbz \\a, .Lagain\\@
        .endm
        /* one that spans
           lines */
        start:  mov     x0, #(FLAG | 3)
                and     x12, x16, #~(0x1000 - 1); ldr x0, [x1, #FLAG*8]
                double  x1, x2
                double  x3, x4
        last:   .rept FLAG >> 1
                nop
                .endr
        """,
        name="t.S",
        va=VA,
    )
    assert [insn.text for insn in decode(assembly.code, VA)] == [
        "mov x0, #7",
        "and x12, x16, #0xfffffffffffff000",
        "ldr x0, [x1, #0x20]",
        "add x1, x1, x2",
        f"cbz x1, #{VA + 16:#x}",
        "add x3, x3, x4",
        f"cbz x3, #{VA + 24:#x}",
        "nop",
        "nop",
    ]
    assert assembly.symbols == {"start": 0, ".Lagain1": 16, ".Lagain2": 24, "last": 28}
    assert assembly.lines == {0: 9, 4: 10, 8: 10, 12: 11, 16: 11, 20: 12, 24: 12, 28: 14, 32: 14}


def test_data_and_alignment() -> None:
    assembly = assemble("b over\n.p2align 4\nvalue: .quad value, 0x12, -1\n.word 7\nover: nop", name="t.S", va=VA)
    assert assembly.symbols == {"value": 16, "over": 44}
    assert assembly.code[4:16] == bytes.fromhex("1f2003d5") * 3
    assert assembly.code[16:40] == (VA + 16).to_bytes(8, "little") + (18).to_bytes(8, "little") + b"\xff" * 8


@pytest.mark.parametrize("va", [0, 0x1000, VA, 0xFFFF_0000_0800_0000])
def test_addresses_of_labels_are_right_wherever_the_code_lies(va: int) -> None:
    source = """
    back: nop
        b back; bl ahead; b.ne ahead; cbnz w1, back; tbz x2, #40, ahead; adr x3, back; adr x4, ahead; ldr x5, ahead; b .
    ahead: nop
    """
    assembly = assemble(source, name="t.S", va=va)
    back, ahead = va, va + assembly.symbols["ahead"]
    targets = [insn.target for insn in decode(assembly.code, va)[1:-1]]
    assert targets == [back, ahead, ahead, back, ahead, back, ahead, ahead, va + 36]


def test_numbers_are_absolute_addresses() -> None:
    assert texts("adr x0, 0x81004; b 0x80010; adrp x1, 0x83000") == [
        "adr x0, #0x81004",
        "b #0x80010",
        "adrp x1, #0x83000",
    ]


def test_system_registers_and_maintenance() -> None:
    source = "dc civac, x1; ic iallu; tlbi alle2; msr S3_5_C1_C0_0, x0; mrs x0, CurrentEL; hvc #0; eret; dsb nsh"
    assert texts(source) == [
        *(
            "dc civac, x1",
            "ic iallu",
            "tlbi alle2",
            "msr sctlr_el12, x0",
            "mrs x0, currentel",
            "hvc #0",
            "eret",
            "dsb nsh",
        ),
    ]


REFUSED = {
    ".inst 0xd503201f": "t.S:1: directive .inst is not supported",
    "count .req x0": "t.S:1: count .req x0: assembles to 0 bytes",
    "nop\n.text": "t.S:2: directive .text is not supported",
    ".pushsection .rodata": "t.S:1: directive .pushsection is not supported",
    "#include <linux/linkage.h>\n\nSYM_CODE_START(x)": "t.S:3: 'sym_code_start(x)' is not an instruction",
    "add x0, x0, :lo12:name": "t.S:1: 'x0, x0, :lo12:name': operands are not supported",
    "ldr x0, =0x1234": "t.S:1: literal pools",
    "bti c": "t.S:1: bti c: Invalid",
    "ldadd x0, x1, [x2]": "t.S:1: ldadd x0, x1, [x2]: Invalid operand",
    "nop\nnop\nbogus x0": "t.S:3: bogus x0: Invalid mnemonic",
    "mov x0, #0xbadca11": "t.S:1: mov x0, #0xbadca11: not encodable",
    "mov x0, #UNKNOWN": "t.S:1: unknown name 'UNKNOWN'",
    "b nowhere": "t.S:1: b nowhere: ",
    "1: b 1b": "t.S:1: ",
    "b 0x10000000000": "which names another address",
    "tbz x0, #3, 0x200000": "which names another address",
    "x: nop\nx: nop": "t.S:2: 'x' is defined twice",
    ".macro m\nnop": "t.S:1: .macro without .endm",
    ".macro m a\nadd \\a, \\a, \\b\n.endm\nm x0": "t.S:4: macro has no parameter 'b'",
    ".macro m a\nnop\n.endm\nm x0, x1": "t.S:4: macro takes 1 arguments, not 2",
    ".macro m\nm\n.endm\nm": "t.S:4: macros nested too deeply",
    ".macro m\n.rept 60000\nnop\n.endr\n.endm\nm\nm": "more than 65536 statements",
    ".rept 99999999\nnop\n.endr": "t.S:1: .rept 99999999: must be 0 to 65536",
    ".p2align 40": "t.S:1: .p2align 40: must be a power of two",
    ".balign 3": "t.S:1: .balign 3: must be a power of two",
    ".word 1 << 40": "t.S:1: 1 << 40 does not fit 4 bytes",
    ".byte 1\nnop": "t.S:2: instruction after data that does not fill a word",
    ".quad 1 << 4000": "t.S:1: cannot shift by 4000",
    ".quad __import__('os')": "t.S:1: not an expression",
    ".quad 'a'": "t.S:1: not an expression",
    ".quad (": "t.S:1: not an expression",
    ".equ 7, x": "t.S:1: .equ needs a name and a value",
    "": "t.S: assembles to no bytes",
    "// nothing": "t.S: assembles to no bytes",
    "only_a_label:": "t.S: assembles to no bytes",
}


@pytest.mark.parametrize("source", REFUSED, ids=lambda source: repr(source)[:40])
def test_what_cannot_be_assembled_exactly_is_refused_in_one_line(source: str) -> None:
    with pytest.raises(InputError) as caught:
        assemble(source, name="t.S", va=VA)
    message = str(caught.value)
    assert REFUSED[source] in message
    assert "\n" not in message


def test_unaligned_addresses_are_refused() -> None:
    with pytest.raises(InputError, match=r"t\.S: address 0x2: instructions are word-aligned"):
        assemble("nop", name="t.S", va=2)


@given(st.text(alphabet=st.sampled_from(list("nopaddxb0123#,[]():;.\\\n \t~-+*/mrs=!{}&|<>@'\"\x00é")), max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_text_assembles_or_is_refused_in_one_line(source: str) -> None:
    try:
        assembly = assemble(source, name="t.S")
        message = ""
    except InputError as problem:
        assembly, message = None, str(problem)
    assert "\n" not in message
    assert assembly is None or assembly.code


@pytest.mark.parametrize(
    ("text", "value"),
    [("1 << 4 | 3", 19), ("~0xfff", -4096), ("-(2 + 3) * 4", -20), (".Lx + 1", 8), ("a & 0xf0 ^ 1", 0x31)],
)
def test_expressions(text: str, value: int) -> None:
    assert evaluate(text, {".Lx": 7, "a": 0x35}) == value
