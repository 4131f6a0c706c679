"""What the fuzzers found, each once more: refused in one line, or read as what it is."""

from pathlib import Path

import pytest

from fuzz import seeds
from fuzz.targets import BY_NAME
from traces.errors import InputError
from traces.files import load, read_header

DIGITS = b"9" * 5000  # more than Python turns into a number

TREE = seeds.device_trees()[0]
TOML = ("case", "core", "plan", "memory-map", "segments")

FOUND = [
    ("memory-map", b'[[memory]]\nkind = "ram"\npa = ' + DIGITS + b"\nsize = 4096\n", "not TOML"),
    ("segments", b"start = " + DIGITS + b"\n" + seeds.SEGMENTS.partition(b"\n")[2], "not TOML"),
    ("case", b'base = "v5.17-nvhe"\nseed = ' + DIGITS, "not TOML"),
    ("core", seeds.CORE.replace(b"100", DIGITS), "not TOML"),
    ("plan", seeds.PLAN.replace(b"seed = 2", b"seed = " + DIGITS), "not TOML"),
    ("kexec-debug", b"segment[" + DIGITS + b"].mem = 0x0\n", "no line names a segment"),
    ("core", seeds.CORE.replace(b'"1MiB"', b'"' + b"9" * 400 + b'MiB"'), "l2.size"),
    ("plan", seeds.PLAN.replace(b'"256KiB..', b'"nan..'), "no number"),
    ("plan", seeds.PLAN.replace(b"1MiB:x2", b"inf:x2"), "no number"),
    ("plan", seeds.PLAN.replace(b"1MiB:x2", b"1MiB:" + DIGITS), "number of values"),
    ("plan", seeds.PLAN.replace(b"1MiB:x2", b"1e300:x1.0000000001"), "more than 1,000,000 values"),
    ("plan", seeds.PLAN.replace(b"1MiB:x2", b"1e300:+1"), "more than 1,000,000 values"),
    ("plan", seeds.PLAN.replace(b"seed = 1", b"seed = -1"), "seed: -1 must be 0 or more"),
    ("kexec-debug", b"segment[0].mem = 0x0\nsegment[0].memsz = 0x" + DIGITS, "memsz is missing"),
    ("case", b'base = "v5.17-nvhe"\n[expect]\nentry_el = 0x' + DIGITS, "64 bits"),
    ("core", seeds.CORE.replace(b'"1MiB"', b'"0x' + DIGITS + b'"'), "l2.size"),
    ("options", DIGITS, None),
    ("din", b"2 2 2\n", None),
    ("din", b"2 8000000000000000 4\n2 1000 4\n", None),
    ("tinymembench", seeds.TINYMEMBENCH.replace(b"262144", DIGITS).replace(b"1000000", DIGITS), None),
    ("sweep-store", b"\x9b\n", None),
    ("sweep-store", b"[" * 3000, None),
    ("core", seeds.CORE.replace(b'trip_ns"]', b'trip\\ns"]'), r"trip\\x0as: no such field"),
    ("device-tree", TREE.replace(b"pool", b"p\nol").replace(b"\0\0\0\5", b"\xff\0\0\5"), "does not lie in"),
    ("core", b'base = "' + b"n" * 5000 + b'"', "no such preset"),
    ("memory-map", seeds.MEMORY_MAP.replace(b'"ram"', b"[]"), "must be one of"),
    ("assembly", seeds.ASSEMBLY.replace(b".balign 8", b".balign" + b" .balign" * 40 + b" !"), "not an expression"),
    *((name, b"a." * 1_000_000 + b"b = 1", "joined by dots") for name in TOML),
    *((name, b'["' + b"\".'a' . \"" * 400 + b'"]', "joined by dots") for name in TOML),
    *((name, b"x = " + b"[" * 1_000_000, "not TOML") for name in TOML),
    *((name, b"x = " + b"[" * 40 + b"]" * 40, "in one another") for name in TOML),
    *((name, (b"x = " + b"{a.b.c = " * 200 + b"1" + b"}" * 200), "not TOML") for name in TOML),
]


@pytest.mark.parametrize(("target", "data", "said"), FOUND)
def test_what_was_found_is_refused_in_one_line_or_read(target: str, data: bytes, said: str | None):
    if said is None:
        BY_NAME[target].read(data)
        return
    with pytest.raises(InputError, match=said) as error:
        BY_NAME[target].read(data)
    assert "\n" not in str(error.value)


def test_addresses_of_a_din_keep_all_their_bits():
    trace = BY_NAME["din"].read(b"2 ffff800008000004 4\n2 1000 4\n")
    assert sorted(trace.insns["va"].tolist()) == [0x1000, 0xFFFF_8000_0800_0004]


def test_a_store_file_that_names_another_place_is_as_good_as_not_there():
    key = b"aa" * 32
    for trace in (b"../../etc/passwd", b"bb"):
        captured, _, noted = BY_NAME["sweep-store"].read(b'{"key": "%b", "trace": "%b"}' % (key, trace))
        assert captured is None
        assert len(noted) == 1
    _, result, _ = BY_NAME["sweep-store"].read(b'{"key": "%b", "trace": "%b", "result": 5}' % (key, b"bb" * 32))
    assert result is None
    _, result, _ = BY_NAME["sweep-store"].read(b'{"key": "%b", "trace": "%b", "result": {}}' % (key, b"bb" * 32))
    assert result is not None


@pytest.mark.parametrize("flags", [0, 0x800])
def test_a_member_whose_name_is_no_text_is_refused_in_one_line(flags: int, tmp_path: Path):
    """Bit 11 says that names are UTF-8; zipfile then decodes them, in the directory and beside the member."""
    trace = seeds.traces()[0]
    local, entry = trace.index(b"PK\x03\x04"), trace.index(b"PK\x01\x02")
    for at in (local + 6, entry + 8):
        damaged = bytearray(trace)
        damaged[at : at + 2] = flags.to_bytes(2, "little")
        damaged[damaged.index(b"header.json", at)] = 0xD5
        path = tmp_path / "damaged.trace"
        path.write_bytes(damaged)
        for reader in (load, read_header):
            with pytest.raises(InputError, match=r"damaged\.trace: "):
                reader(path)
