"""Finding the kexec routines in machine code that carries no names, by what the routines cannot do without.

A kernel has millions of words of code, so each search begins with one exact word, found by NumPy, and decodes only the
few places where it occurs.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from asm.container import Buffer
from asm.decode import WORD_BYTES, Insn, decode
from asm.insn import bit, bits, signed
from traces.schema import Access, InsnClass, InsnFlag

_CHUNK_BYTES = 16 << 20
_MOST_SITES = 64

# The list walk: ldr x16, [x14], #8 (every version since 4.8), and behind it tbz w16, #2 (IND_DONE), backward.
_LIST_LOAD = 0xF840_85D0
_LIST_TEST, _LIST_TEST_MASK = 0x3614_0010, 0xFFFC_001F
_LONGEST_ROUTINE = 0x800

_READS_CTR, _READS_CTR_MASK = 0xD53B_0020, 0xFFFF_FFE0
_BTI_C = 0xD503_245F
_RET = 0xD65F_03C0

# __cpu_soft_restart: cbz x0, . + 12; mov x0, #1 (HVC_SOFT_RESTART); hvc #0; and its arguments moved down.
_SOFT_RESTART = (0xB400_0060, 0xD280_0020, 0xD400_0002)
_LONGEST_HEAD = 12

# EL2's answer to HVC_SOFT_RESTART: x2..x4 down to x0..x2, br to what was x1.
_RESTART_AT_EL2 = (0xAA02_03E0, 0xAA04_03E2, 0xAA01_03E4, 0xAA03_03E1, 0xD61F_0080)
_VECTOR_TABLE_BYTES = 0x800
_SLOT_BYTES = 0x80
_SYNC_FROM_LOWER_EL = 8  # the slot of an hvc from AArch64
HYP_STUB_BYTES = 0x1000
KEXEC_VECTORS_BYTES = _VECTOR_TABLE_BYTES


@dataclass(frozen=True, slots=True)
class Code:
    """A stretch of a file that may hold code."""

    data: Buffer
    start: int
    end: int
    va: int = 0
    """Address of `start`, as far as alignment goes: an Image's is its offset, a section's is its own."""

    def slot(self, at: int) -> tuple[int, int]:
        """Return the vector table that an offset would belong to, and which of its slots."""
        into = (at - self.start + self.va) % _VECTOR_TABLE_BYTES
        return at - into, into // _SLOT_BYTES

    def words(self, at: int, count: int) -> tuple[int, ...]:
        """Return up to `count` words from file offset `at`."""
        stop = min(self.end, at + count * WORD_BYTES)
        return tuple(np.frombuffer(self.data[at:stop][: (stop - at) & ~3], "<u4").tolist()) if stop > at else ()

    def insns(self, start: int, end: int) -> list[Insn]:
        """Decode [start, end), clipped; `va` of each is its file offset."""
        start, end = max(start, self.start), min(end, self.end)
        return decode(self.data[start:end], start) if end > start else []

    def find(self, *sequence: int) -> Iterator[int]:
        """Yield the offsets of a sequence of words; only the first few dozen, of which a kernel has one or two."""
        left = _MOST_SITES
        for start in range(self.start, self.end, _CHUNK_BYTES):
            # A sequence may begin in one chunk and end in the next.
            size = min(_CHUNK_BYTES + (len(sequence) - 1) * WORD_BYTES, self.end - start) & ~3
            words = np.frombuffer(self.data, "<u4", size // WORD_BYTES, start)
            count = len(words) - len(sequence) + 1
            if count < 1:
                return
            hits = words[:count] == sequence[0]
            for place, word in enumerate(sequence[1:], start=1):
                hits &= words[place : place + count] == word
            rows = np.flatnonzero(hits)[:left]
            yield from (start + int(row) * WORD_BYTES for row in rows)
            left -= len(rows)


@dataclass(frozen=True, slots=True)
class RelocateSite:
    """A relocation routine that was found: file offsets, and what it tells about its kernel."""

    start: int
    end: int
    next_entry: int
    each_entry: int
    page_bytes: int
    """From its masks."""
    kimage_offsets: dict[str, int] = field(default_factory=dict)
    """Empty of routines that are handed their arguments in registers."""


def find_relocate(code: Code, start: int | None = None) -> RelocateSite | None:
    """Find the relocation routine, at `start` where a symbol said so."""
    if start is not None:
        sites = list(Code(code.data, start, min(code.end, start + _LONGEST_ROUTINE)).find(_LIST_LOAD))
    else:
        sites = list(code.find(_LIST_LOAD))
    for at in sites:
        if site := _relocate_at(code, at, start):
            return site
    return None


def _relocate_at(code: Code, list_load: int, start: int | None) -> RelocateSite | None:
    test = code.words(list_load, 2)[1:]
    if not test or test[0] & _LIST_TEST_MASK != _LIST_TEST:
        return None
    each_entry = list_load + WORD_BYTES + 4 * signed(bits(test[0], 18, 5), 14)
    if start is None:
        start = _start_of(code, each_entry)
    body = code.insns(each_entry, list_load)
    page_bytes = _page_bytes(body)
    end = _end_of(code, list_load)
    if start is None or end is None or not page_bytes:
        return None
    insns = code.insns(start, end)
    return RelocateSite(start, end, list_load, each_entry, page_bytes, _kimage_offsets(insns, each_entry, list_load))


def _start_of(code: Code, each_entry: int) -> int | None:
    """Walk back from the read of CTR_EL0 over what fetches the arguments: moves from x0..x2, or loads from [x0]."""
    head = code.insns(each_entry - 64 * WORD_BYTES, each_entry)
    reads = [row for row, insn in enumerate(head) if insn.word & _READS_CTR_MASK == _READS_CTR]
    if not reads:
        return None
    row = reads[-1]
    while row and (_fetches_argument(head[row - 1]) or _tests_done(head[row - 1])):
        row -= 1
    if row and head[row - 1].word == _BTI_C:
        row -= 1
    return head[row].va


def _fetches_argument(insn: Insn) -> bool:
    moves = insn.word & 0xFFE0_FFE0 == 0xAA00_03E0 and bits(insn.word, 20, 16) <= 2
    return moves or _loads_from_x0(insn)


def _loads_from_x0(insn: Insn) -> bool:
    return insn.access is Access.LOAD and insn.size == 8 and insn.memory is not None and insn.memory.base == 0


def _tests_done(insn: Insn) -> bool:
    return insn.word & _LIST_TEST_MASK == _LIST_TEST & ~(1 << 18) | 1 << 24  # tbnz w16, #2, forward


def _end_of(code: Code, list_load: int) -> int | None:
    for insn in code.insns(list_load, list_load + _LONGEST_ROUTINE):
        if insn.cls is InsnClass.BRANCH_INDIRECT and insn.word != _RET:
            return insn.va + WORD_BYTES
    return None


def _page_bytes(body: list[Insn]) -> int:
    """Read the page size off `and x12, x16, #PAGE_MASK`: an AND with a run of ones that reaches bit 63."""
    for insn in body:
        if insn.word & 0xFF80_0000 == 0x9200_0000 and bits(insn.word, 9, 5) == 16 and bit(insn.word, 22):
            ones, rotated = bits(insn.word, 15, 10) + 1, bits(insn.word, 21, 16)
            if rotated == ones and 64 - ones in (12, 14, 16):
                return 1 << (64 - ones)
    return 0


def _kimage_offsets(insns: list[Insn], each_entry: int, list_load: int) -> dict[str, int]:
    """Name the fields that the routine loads from [x0] by what it does with them."""
    loaded = {insn.dst[0]: insn.memory.offset for insn in insns if _loads_from_x0(insn) and insn.memory and insn.dst}
    if not loaded:
        return {}
    used: dict[str, int | None] = {"head": 16}
    tables = [_ttbr1_source(insns, row) for row, insn in enumerate(insns) if insn.sysreg == (3, 0, 2, 0, 1)]
    used |= dict(zip(("zero_page", "ttbr1"), tables, strict=False))
    for insn in insns:
        if each_entry <= insn.va < list_load and insn.word & 0xFFE0_FC00 == 0xCB00_0000:  # sub x12, x12, x22
            used.setdefault("phys_offset", bits(insn.word, 20, 16))
        elif insn.va > list_load and bits(insn.word, 31, 24) == 0xB4:  # cbz x27
            used.setdefault("el2_vectors", bits(insn.word, 4, 0))
    used["start"] = bits(insns[-1].word, 9, 5)
    offsets = {name: loaded[number] for name, number in used.items() if number in loaded}
    # What is left is handed on in x0: the dtb.
    left = sorted(set(loaded.values()) - set(offsets.values()))
    return offsets | ({"dtb": left[0]} if len(left) == 1 else {})


def _ttbr1_source(insns: list[Insn], row: int) -> int | None:
    """Return the loaded register behind a write of TTBR1: through a move, or the orr/and pair of 52-bit kernels."""
    number = bits(insns[row].word, 4, 0)
    for insn in reversed(insns[max(0, row - 3) : row]):
        if number in insn.dst and insn.cls in (InsnClass.ALU, InsnClass.ALU_SHIFT) and insn.src:
            number = insn.src[0]
    return number


# ---- Leaving the kernel ---------------------------------------------------------------------------


def find_soft_restart(code: Code) -> tuple[int, int] | None:
    """Find (start, end) of __cpu_soft_restart."""
    for at in code.find(*_SOFT_RESTART):
        tail = code.insns(at + 3 * WORD_BYTES, at + 8 * WORD_BYTES)
        if len(tail) == 5 and tail[-1].cls is InsnClass.BRANCH_INDIRECT and _moves_down(tail[:4]):
            start = _start_of_soft_restart(code, at)
            return start, tail[-1].va + WORD_BYTES
    return None


def soft_restart_at(code: Code, start: int) -> tuple[int, int] | None:
    """Return (start, end) of the soft restart that a symbol names."""
    end = min(code.end, start + (_LONGEST_HEAD + 8) * WORD_BYTES)
    found = find_soft_restart(Code(code.data, start, end))
    return (start, found[1]) if found else None


def _moves_down(insns: list[Insn]) -> bool:
    """Say whether x1 goes to a scratch register and x2..x4 go to x0..x2."""
    if any(insn.word & 0xFFE0_FFE0 != 0xAA00_03E0 for insn in insns):
        return False
    moves = [(insn.dst, insn.src) for insn in insns]
    return moves[0][1] == (1,) and moves[1:] == [((0,), (2,)), ((1,), (3,)), ((2,), (4,))]


def _start_of_soft_restart(code: Code, branch: int) -> int:
    """Walk back over the clear of SCTLR_EL1: work on x12 and x13 alone, isb, and bti c at the very start."""
    head = code.insns(branch - _LONGEST_HEAD * WORD_BYTES, branch)
    start = branch
    for insn in reversed(head):
        computes = bool(insn.dst) and set(insn.dst) <= {12, 13}
        if insn.word == _BTI_C:
            return insn.va
        if not (computes or insn.cls is InsnClass.BARRIER or insn.sysreg == (3, 0, 1, 0, 0)):
            break
        start = insn.va
    return start


# ---- Vectors of EL2 -------------------------------------------------------------------------------


def find_hyp_stub(code: Code) -> tuple[int, int] | None:
    """Find (start, end) of __hyp_stub_vectors: a table of branches whose hvc slot leads to a handler behind it."""
    for at in code.find(*_RESTART_AT_EL2):
        block, _ = code.slot(at)
        for table in (block - _VECTOR_TABLE_BYTES, block - 2 * _VECTOR_TABLE_BYTES):
            if table < code.start:
                continue
            targets = _slot_targets(code, table)
            handler = targets[_SYNC_FROM_LOWER_EL] if len(targets) == 16 else None
            if None not in targets and handler and table + _VECTOR_TABLE_BYTES <= handler <= at < handler + 0x100:
                return table, min(code.end, table + HYP_STUB_BYTES)
    return None


def find_kexec_vectors(code: Code) -> tuple[int, int] | None:
    """Find (start, end) of trans_pgd_stub_vectors: the handler lies in its slot, all others branch near themselves."""
    for at in code.find(*_RESTART_AT_EL2):
        table, slot = code.slot(at)
        if slot != _SYNC_FROM_LOWER_EL or table < code.start or table + _VECTOR_TABLE_BYTES > code.end:
            continue
        targets = _slot_targets(code, table)
        others = targets[:_SYNC_FROM_LOWER_EL] + targets[_SYNC_FROM_LOWER_EL + 1 :]
        if len(others) == 15 and all(to is not None and table <= to < table + _VECTOR_TABLE_BYTES for to in others):
            return table, table + KEXEC_VECTORS_BYTES
    return None


def _slot_targets(code: Code, table: int) -> list[int | None]:
    """Return where each slot's first instruction branches to; None where it is no branch."""
    targets: list[int | None] = []
    for slot in range(16):
        at = table + slot * _SLOT_BYTES
        first = code.insns(at, at + WORD_BYTES)
        if not first:
            return []
        targets.append(first[0].target if first[0].cls is InsnClass.BRANCH else None)
    return targets


def copy_line(code: Code, site: RelocateSite) -> int | None:
    """Return where the loop of the page copy begins: the target of the conditional branch behind its stnp."""
    seen = False
    for insn in code.insns(site.each_entry, site.next_entry):
        seen |= InsnFlag.NON_TEMPORAL in insn.flags
        if seen and insn.cls is InsnClass.BRANCH_CONDITIONAL:
            return insn.target
    return None
