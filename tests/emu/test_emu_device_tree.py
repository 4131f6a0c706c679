"""Device trees: what is read of one written by hand, and that damage of any kind is one line."""

import random
import struct

import pytest

from emu.device_tree import SIZE_MAX_BYTES, device_tree_memory, device_tree_memory_from_file
from emu.spans import Span
from traces.errors import InputError

Properties = dict[str, bytes]


def cells(*values: int) -> bytes:
    return b"".join(struct.pack(">I", value) for value in values)


def tree(*nodes: tuple[str, Properties, tuple], root: Properties | None = None, reserve: bytes = bytes(16)) -> bytes:
    """A flattened tree: nodes are (name, properties, children)."""
    strings = bytearray()

    def one(name: str, properties: Properties, children: tuple) -> bytes:
        text = name.encode() + b"\0"
        out = cells(1) + text + bytes(-len(text) % 4)
        for key, value in properties.items():
            out += cells(3, len(value), len(strings)) + value + bytes(-len(value) % 4)
            strings.extend(key.encode() + b"\0")
        return out + b"".join(one(*child) for child in children) + cells(2)

    plain = {"#address-cells": cells(2), "#size-cells": cells(2)}
    structure = one("", root or plain, nodes) + cells(9)
    header, at = 40, 40 + len(reserve)
    return (
        struct.pack(">10I", 0xD00DFEED, at + len(structure) + len(strings), at, at + len(structure), header, 17, 16, 0,
                    len(strings), len(structure))
        + reserve + structure + bytes(strings)
    )  # fmt: skip


def bank(first: int = 0x4000_0000, size: int = 1 << 30) -> tuple[str, Properties, tuple]:
    reg = cells(first >> 32, first & 0xFFFF_FFFF, size >> 32, size & 0xFFFF_FFFF)
    return ("memory@0", {"device_type": b"memory\0", "reg": reg}, ())


def reserved(*children: tuple[str, Properties, tuple]) -> tuple[str, Properties, tuple]:
    return ("reserved-memory", {"#address-cells": cells(1), "#size-cells": cells(1), "ranges": b""}, children)


SECURE = ("secure@0", {"reg": cells(0x4FF0_0000, 0x800), "no-map": b""}, ())
POOL = ("pool@0", {"reg": cells(0x4800_0000, 0x10_0000, 0x4A00_0000, 0x1000), "compatible": b"shared-dma-pool\0"}, ())
WHOLE = tree(bank(), reserved(SECURE, POOL), reserve=struct.pack(">4Q", 0x4100_0000, 0x123, 0, 0))


def test_banks_what_must_not_be_mapped_and_what_is_taken():
    found = device_tree_memory(WHOLE, "x.dtb")
    assert found.memory == (Span(0x4000_0000, 1 << 30),)
    assert found.nomap == (Span(0x4FF0_0000, 0x1000),)  # in whole pages
    assert found.reserved == (Span(0x4800_0000, 0x10_0000), Span(0x4A00_0000, 0x1000), Span(0x4100_0000, 0x1000))


def test_cells_are_the_parents():
    node = ("memory@0", {"device_type": b"memory\0", "reg": cells(0x8000_0000, 0x1000)}, ())
    one = {"#address-cells": cells(1), "#size-cells": cells(1)}
    assert device_tree_memory(tree(node, root=one), "x").memory == (Span(0x8000_0000, 0x1000),)


def test_what_is_disabled_or_has_no_address_is_passed_over():
    off = (SECURE[0], {**SECURE[1], "status": b"disabled\0"}, ())
    dynamic = ("later", {"size": cells(0x1000), "no-map": b""}, ())
    assert device_tree_memory(tree(bank(), reserved(off, dynamic)), "x").nomap == ()
    elsewhere = ("soc", {"#address-cells": cells(1), "#size-cells": cells(1)}, (SECURE,))
    assert device_tree_memory(tree(bank(), elsewhere), "x").nomap == ()


DAMAGED = {
    "nothing": (b"", "d00dfeed"),
    "no magic": (b"\0" * 100, "d00dfeed"),
    "cut in the middle": (WHOLE[:-30], "bytes; the file has"),
    "a version of the future": (WHOLE[:20] + cells(20, 19) + WHOLE[28:], "version 20"),
    "strings elsewhere": (WHOLE[:12] + cells(1 << 30) + WHOLE[16:], "does not lie"),
    "no memory": (tree(reserved(SECURE)), "no node with device_type"),
    "a range and a half": (tree(("memory@0", {"device_type": b"memory\0", "reg": cells(0, 0, 0)}, ())), "no multiple"),
    "beyond any address": (tree(bank(1 << 63)), "52-bit"),
    "cells without end": (tree(bank(), root={"#address-cells": cells(9)}), "from 0 to 4"),
    "reservations without end": (tree(bank(), reserve=b""), "reservation block"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_one_line_that_names_the_file(name):
    data, words = DAMAGED[name]
    with pytest.raises(InputError) as refused:
        device_tree_memory(data, "x.dtb")
    assert str(refused.value).startswith("x.dtb: ")
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_nothing_but_a_tree_or_one_line_comes_of_any_bytes():
    rng, said = random.Random(7), []
    for _ in range(3000):
        data = bytearray(WHOLE)
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(len(data))] = rng.choice([0, 1, 2, 3, 4, 9, 0x7F, 0xFF, rng.randrange(256)])
        try:
            device_tree_memory(bytes(data[: rng.choice([len(data), rng.randrange(len(data))])]), "x.dtb")
        except InputError as error:
            said.append(str(error))
    assert len(said) > 100
    assert not any("\n" in each for each in said)


def test_depth_and_size_are_bounded(tmp_path):
    deep: tuple[str, Properties, tuple] = bank()
    for _ in range(80):
        deep = ("n", {}, (deep,))
    with pytest.raises(InputError, match="deeper"):
        device_tree_memory(tree(deep), "x")
    (tmp_path / "long.dtb").write_bytes(bytes(SIZE_MAX_BYTES + 1))
    with pytest.raises(InputError, match="longer"):
        device_tree_memory_from_file(tmp_path / "long.dtb")
    with pytest.raises(InputError, match="cannot be read"):
        device_tree_memory_from_file(tmp_path)
