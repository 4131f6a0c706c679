"""Registers out of what gdb, QEMU and people write."""

import json

import pytest

from emu.register_files import read_registers
from traces.errors import InputError

GDB = """\
x0             0x4298c002          1117306882
x9             0xffff8000100408b0  -140737219655504
x29            0xffff8000116dbc70  -140737195950992
sp             0xffff8000116dbc70  0xffff8000116dbc70
pc             0x41c0a000          0x41c0a000
cpsr           0x200003c5          [ EL=1 BTYPE=0 SSBS SP SS IL C ]
fpsr           0x0                 0
v0             {d = {f = {0x0, 0x0}, u = {0x7, 0x0}}}
ID_AA64PFR1_EL1 0x20               32
SCTLR          0x34d4c910          886360336
VBAR           0xffff800010010800  -140737219852288
TTBR0_EL1      0x41272000          1093083136
DBGBVR0_EL1    0x55                85
"""
MONITOR = """\

CPU#0
 PC=0000000041c0a000 X00=000000004298c002 X01=00000000418b0000
X02=0000000000000000 X29=ffff8000116dbc70 X30=ffff80001003a084  SP=ffff8000116dbc70
PSTATE=200003c5 --C- EL1h     FPCR=00000000 FPSR=00000000
Q00=0000000000000000:0000000000000007 Q01=0000000000000000:0000000000000000
"""


def read(tmp_path, text: str):
    (tmp_path / "registers").write_text(text)
    return dict(read_registers(tmp_path / "registers"))


def test_gdb(tmp_path):
    assert read(tmp_path, GDB) == {
        "X0": 0x4298C002,
        "X9": 0xFFFF8000100408B0,
        "X29": 0xFFFF8000116DBC70,
        "SP": 0xFFFF8000116DBC70,
        "PC": 0x41C0A000,
        "PSTATE": 0x200003C5,
        "ID_AA64PFR1_EL1": 0x20,
        "SCTLR_EL1": 0x34D4C910,
        "VBAR_EL1": 0xFFFF800010010800,
        "TTBR0_EL1": 0x41272000,
    }


def test_qemus_monitor(tmp_path):
    assert read(tmp_path, MONITOR) == {
        "PC": 0x41C0A000,
        "X0": 0x4298C002,
        "X1": 0x418B0000,
        "X2": 0,
        "X29": 0xFFFF8000116DBC70,
        "X30": 0xFFFF80001003A084,
        "SP": 0xFFFF8000116DBC70,
        "PSTATE": 0x200003C5,
    }


def test_both_pasted_into_one_file_must_agree(tmp_path):
    assert read(tmp_path, MONITOR + GDB)["X30"] == 0xFFFF80001003A084
    with pytest.raises(InputError, match=r"line 11: x0: 0x4298c003, and 0x4298c002 before; .* one moment"):
        read(tmp_path, MONITOR + "\n\n\n\nx0 0x4298c003\n")


@pytest.mark.parametrize(
    "text",
    [
        "x0 0x10\nsctlr_el1 0x30d0_0800\n",
        "x0 = 0x10\nSCTLR_EL1=0x30d00800\n",
        "x0: 0x10\n# a remark\nSCTLR: 0x30d00800\n",
        "(0) x0 (/64): 0x0000000000000010\n(90) SCTLR_EL1 (/64): 0x30d00800\n",
        json.dumps({"x0": 16, "SCTLR_EL1": "0x30d00800", "note": "the first try"}),
        json.dumps({"X0": "0x10", "SCTLR": 0x30D00800, "DBGBVR0_EL1": [1]}),
    ],
)
def test_other_lists(text, tmp_path):
    assert read(tmp_path, text) == {"X0": 0x10, "SCTLR_EL1": 0x30D00800}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no registers; expected"),
        ("nothing of the kind\n", "no registers"),
        ("{", "not JSON"),
        ("{" * 100_000, "not JSON"),
        ("{}", "no registers"),
        (json.dumps({"x0": 1.5}), "x0: 1.5 must be a number, or text"),
        (json.dumps({"x0": "ten"}), "x0: 'ten' must be a number, or text"),
        (json.dumps({"x0": True}), "x0: True must be a number"),
        (json.dumps({"x0": -1}), "x0: -0x1 must be a 64-bit value"),
        ("x0 0x10000000000000000\n", "line 1: x0: 0x10000000000000000 must be a 64-bit value"),
    ],
)
def test_what_is_refused(text, complaint, tmp_path):
    with pytest.raises(InputError) as refused:
        read(tmp_path, text)
    assert complaint in str(refused.value)
    assert "\n" not in str(refused.value)


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "binary").write_bytes(b"\xff\xfe\0\0")
    (tmp_path / "large").write_text("x0 0x10\n" * 600_000)
    for name, complaint in (
        ("binary", "not UTF-8 text"),
        ("large", "longer than 4194304 bytes"),
        ("none", "cannot be read: No such file"),
        (".", "cannot be read: Is a directory"),
    ):
        with pytest.raises(InputError, match=complaint):
            read_registers(tmp_path / name)
