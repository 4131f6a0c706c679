"""Listing: the disassembly of a trace's instructions, and the lines of our own routines that they come from."""

import bisect
from importlib import resources
from pathlib import Path

from traces.exports.subject import Line
from traces.trace import Trace

_WORD_BYTES = 4


def texts(trace: Trace) -> tuple[str, ...]:
    """Return for each row of Trace.insns its disassembly; of encoding 0, which imported traces have, nothing."""
    from asm.decode import decode

    return tuple(
        decode(word.to_bytes(_WORD_BYTES, "little"), va)[0].text if word else ""
        for word, va in zip(trace.insns["word"].tolist(), trace.insns["va"].tolist(), strict=True)
    )


def source_lines(trace: Trace) -> dict[int, Line]:
    """Return row of Trace.insns -> its source line, for what is one of our routines in every word executed."""
    from asm.assemble import assemble
    from asm.routines import routine, routine_names

    symbols, known = dict(trace.meta.get("symbols") or {}), {}
    by_va = sorted((int(va), row) for row, va in enumerate(trace.insns["va"]))
    page_bytes = 1 << int(trace.epochs["granule_log2"].max(initial=12))
    for name in sorted(set(symbols) & set(routine_names())):
        one = routine(name, page_bytes)
        base = int(symbols[name]) - one.entry
        file = one.source.removeprefix("own: ").split(",")[0]
        path = Path(str(resources.files("asm").joinpath("routines", file)))
        lines = assemble(one.text, name=file).lines
        start = bisect.bisect_left(by_va, (base, 0))
        stop = bisect.bisect_left(by_va, (base + len(one.code), 0))
        rows = {row: va - base for va, row in by_va[start:stop]}
        if all(_word(one.code, offset) == int(trace.insns["word"][row]) for row, offset in rows.items()):
            known.update({row: Line(path, lines[offset]) for row, offset in rows.items() if offset in lines})
    return known


def _word(code: bytes, offset: int) -> int:
    return int.from_bytes(code[offset : offset + _WORD_BYTES], "little")
