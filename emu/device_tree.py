"""What a flattened device tree (/sys/firmware/fdt) says of memory: banks, and what is reserved of them, mapped or not.

The format is the Devicetree Specification's (v0.4, chapter 5); reserved memory is its section 3.5. A reader of our own,
because the file may be damaged or hostile, and no library on the registry is both maintained and of a licence that
GPL-2.0-only code may be linked with (docs/decisions.md).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from emu.spans import PA_BITS, Span
from traces.errors import InputError
from traces.reading import read_bytes
from traces.schema import PAGE_BYTES

SIZE_MAX_BYTES = 2 << 20
"""The kernel's MAX_FDT_SIZE."""

_MAGIC = 0xD00DFEED
_HEADER = struct.Struct(">10I")
_OLDEST, _NEWEST_COMPATIBLE = 16, 17
_BEGIN_NODE, _END_NODE, _PROP, _NOP, _END = 1, 2, 3, 4, 9
_DEPTH_MAX = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceTreeMemory:
    """Ranges of physical memory, in whole pages outwards, in the order of the tree."""

    memory: tuple[Span, ...]
    """Banks (device_type = "memory")."""
    nomap: tuple[Span, ...]
    """Children of /reserved-memory with `no-map`: never to be mapped cacheable."""
    reserved: tuple[Span, ...]
    """The other children with an address, and the memory reservation block."""


@dataclass(slots=True)
class _Node:
    path: str
    cells: tuple[int, int]
    """#address-cells and #size-cells that `reg` of this node is written in: its parent's."""
    child_cells: list[int] = field(default_factory=lambda: [2, 1])
    properties: dict[str, bytes] = field(default_factory=dict)


def device_tree_memory(data: bytes, name: str) -> DeviceTreeMemory:
    """Read a flattened tree; `name` is the file for messages. InputError where it is damaged or says nothing of RAM."""
    memory: list[Span] = []
    nomap: list[Span] = []
    reserved: list[Span] = []
    structure, strings, reservations = _parts(data, name)
    for node in _nodes(structure, strings, name):
        parent = node.path.rpartition("/")[0]
        if node.properties.get("status", b"okay\0").rstrip(b"\0") not in (b"okay", b"ok"):
            continue
        if parent == "" and node.properties.get("device_type") == b"memory\0":
            memory += _reg(node, name)
        elif parent == "/reserved-memory":
            (nomap if "no-map" in node.properties else reserved).extend(_reg(node, name))
    if not memory:
        raise InputError(f'{name}: no node with device_type "memory"; a machine needs at least one')
    return DeviceTreeMemory(
        memory=tuple(memory), nomap=tuple(nomap), reserved=(*reserved, *_reservations(reservations, name))
    )


def device_tree_memory_from_file(path: Path) -> DeviceTreeMemory:
    """Read a tree from a file, at most SIZE_MAX_BYTES of it."""
    return device_tree_memory(read_bytes(path, SIZE_MAX_BYTES), str(path))


def _parts(data: bytes, name: str) -> tuple[bytes, bytes, bytes]:
    """Return structure, strings and reservation block, each known to lie in the file."""
    if len(data) < _HEADER.size or int.from_bytes(data[:4], "big") != _MAGIC:
        raise InputError(f"{name}: not a flattened device tree: it does not begin with d00dfeed")
    _, total, at_structure, at_strings, at_reservations, version, last, _, strings, structure = _HEADER.unpack_from(
        data
    )
    if version < _OLDEST or last > _NEWEST_COMPATIBLE:
        raise InputError(f"{name}: version {version} of the format; {_OLDEST} and {_NEWEST_COMPATIBLE} are known")
    if version == _OLDEST:  # it has no size of the structure
        structure = max(total - at_structure, 0)
    if total > len(data):
        raise InputError(f"{name}: says that it has {total} bytes; the file has {len(data)}")
    for what, first, size in (("structure", at_structure, structure), ("strings", at_strings, strings)):
        if first + size > total:
            raise InputError(f"{name}: its {what} block {first:#x}+{size:#x} does not lie in its {total:#x} bytes")
    if at_reservations > total:
        raise InputError(f"{name}: its reservation block {at_reservations:#x} does not lie in its {total:#x} bytes")
    return (
        data[at_structure : at_structure + structure],
        data[at_strings : at_strings + strings],
        data[at_reservations:total],
    )


def _nodes(structure: bytes, strings: bytes, name: str) -> Iterator[_Node]:
    """Yield each node when it ends."""
    open_nodes: list[_Node] = []
    at = 0
    while True:
        token, at = _word(structure, at, name)
        if token == _BEGIN_NODE:
            text, at = _text(structure, at, f"{name}: node name")
            at = -(-at // 4) * 4
            if len(open_nodes) == _DEPTH_MAX:
                raise InputError(f"{name}: nodes are nested deeper than {_DEPTH_MAX}")
            path = f"{open_nodes[-1].path.rstrip('/')}/{text}" if open_nodes else "/"
            cells = (open_nodes[-1].child_cells[0], open_nodes[-1].child_cells[1]) if open_nodes else (2, 1)
            open_nodes.append(_Node(path, cells))
        elif token == _PROP and open_nodes:
            at = _property(open_nodes[-1], structure, at, strings, name)
        elif token == _END_NODE and open_nodes:
            yield open_nodes.pop()
        elif token == _END and not open_nodes:
            return
        elif token != _NOP:
            raise InputError(f"{name}: structure block: {token:#x} at {at - 4:#x} is not what can stand there")


def _property(node: _Node, structure: bytes, at: int, strings: bytes, name: str) -> int:
    size, at = _word(structure, at, name)
    at_name, at = _word(structure, at, name)
    if at + size > len(structure):
        raise InputError(f"{name}: {node.path}: a property of {size} bytes does not lie in the structure block")
    key, _ = _text(strings, at_name, f"{name}: {node.path}: name of a property")
    value = structure[at : at + size]
    node.properties[key] = value
    if key in ("#address-cells", "#size-cells"):
        count = int.from_bytes(value, "big") if size == 4 else -1
        if not 0 <= count <= 4:
            raise InputError(f"{name}: {node.path}: {key} must be a number from 0 to 4")
        node.child_cells[key == "#size-cells"] = count
    return at + -(-size // 4) * 4


def _word(block: bytes, at: int, name: str) -> tuple[int, int]:
    if at + 4 > len(block):
        raise InputError(f"{name}: structure block: ends at {at:#x} without an end token")
    return int.from_bytes(block[at : at + 4], "big"), at + 4


def _text(block: bytes, at: int, where: str) -> tuple[str, int]:
    end = block.find(b"\0", at) if at < len(block) else -1
    if end < 0:
        raise InputError(f"{where}: at {at:#x}: has no end")
    return block[at:end].decode("latin1"), end + 1


def _reg(node: _Node, name: str) -> list[Span]:
    """Read `reg`: pairs of address and size. A reserved-memory child without one is placed by the kernel."""
    address, size = node.cells
    row = 4 * (address + size)
    value = node.properties.get("reg", b"")
    if not row or len(value) % row:
        raise InputError(f"{name}: {node.path}: reg has {len(value)} bytes, which is no multiple of its {row} a range")
    spans = []
    for at in range(0, len(value), row):
        first = int.from_bytes(value[at : at + 4 * address], "big")
        spans.append(_pages(first, int.from_bytes(value[at + 4 * address : at + row], "big"), f"{name}: {node.path}"))
    return [span for span in spans if span.size]


def _reservations(block: bytes, name: str) -> list[Span]:
    spans: list[Span] = []
    for at in range(0, len(block) - 15, 16):
        first, size = struct.unpack_from(">QQ", block, at)
        if not first and not size:
            return spans
        spans.append(_pages(first, size, f"{name}: reservation block"))
    raise InputError(f"{name}: reservation block: has no end")


def _pages(first: int, size: int, where: str) -> Span:
    if first + size > 1 << PA_BITS:
        raise InputError(f"{where}: {first:#x}+{size:#x} must lie within {PA_BITS}-bit physical addresses")
    start = first // PAGE_BYTES * PAGE_BYTES
    return Span(start, -(-(first + size) // PAGE_BYTES) * PAGE_BYTES - start if size else 0)
