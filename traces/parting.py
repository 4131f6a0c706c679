"""Parting: where two runs first do something different, instruction by instruction."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from traces.schema import Access
from traces.trace import Records, Trace
from traces.window import EXECUTED, executed, whole

KINDS = ("pc", "word", "regime", "access", "address", "translation", "memory_type")
"""What can differ in one instruction: its VA; its encoding (an operand or all of it); the regime it runs under; whether
and how it reaches memory; the VA that it reaches; the PA behind that; the memory type."""

END = "end"
"""One run ends where the other goes on."""

_REGIME = ("el", "e2h", "stage1", "stage2", "dcache", "icache")


class Parting(NamedTuple):
    """The first instruction at which two runs differ in one way."""

    kind: str
    number: int
    """Instructions of either run before it."""
    a: Records | None
    """EXECUTED[1]; None where that run has ended."""
    b: Records | None


def partings(a: Trace, b: Trace) -> list[Parting]:
    """Return for each kind where the runs first differ in it, in the order in which it happens.

    Instructions are compared by number, so nothing is looked at behind the first that differs in `pc`, or the shorter
    run's end.
    """
    found: list[Parting] = []
    for of_a, of_b in _abreast(a, b):
        common = min(len(of_a), len(of_b))
        differs = _differences(a, of_a[:common], b, of_b[:common])
        apart = int(differs["pc"].argmax()) if differs["pc"].any() else common
        seen = {parting.kind for parting in found}
        for kind in KINDS:
            here = np.flatnonzero(differs[kind][: apart + (kind == "pc")])
            if kind not in seen and len(here):
                at = slice(int(here[0]), int(here[0]) + 1)
                found.append(Parting(kind, int(of_a["number"][here[0]]), of_a[at], of_b[at]))
        if differs["pc"].any():
            break
        if len(of_a) != len(of_b):
            longer = of_a if len(of_a) > common else of_b
            rest = longer[common : common + 1]
            ended = (rest, None) if longer is of_a else (None, rest)
            found.append(Parting(END, int(rest["number"][0]), *ended))
            break
    return sorted(found, key=lambda parting: (parting.number, [*KINDS, END].index(parting.kind)))


def _abreast(a: Trace, b: Trace) -> Iterator[tuple[Records, Records]]:
    """Yield both runs' instructions, equally many of each but in the last pair."""
    sources = [executed(a, whole(a)), executed(b, whole(b))]
    rest = [np.zeros(0, EXECUTED), np.zeros(0, EXECUTED)]
    while True:
        for side, source in enumerate(sources):
            if not len(rest[side]):
                rest[side] = next(source, rest[side])
        common = min(len(rest[0]), len(rest[1]))
        if common == 0:
            if len(rest[0]) or len(rest[1]):
                yield rest[0], rest[1]
            return
        yield rest[0][:common], rest[1][:common]
        rest = [rows[common:] for rows in rest]


def _differences(a: Trace, of_a: Records, b: Trace, of_b: Records) -> dict[str, NDArray[np.bool_]]:
    insns_a, insns_b = a.insns[of_a["insn"]], b.insns[of_b["insn"]]
    regime_a, regime_b = a.epochs[of_a["epoch"]], b.epochs[of_b["epoch"]]
    access = (of_a["access"] != of_b["access"]) | (of_a["size"] != of_b["size"])
    both = (of_a["access"] != Access.NONE) & ~access
    return {
        "pc": insns_a["va"] != insns_b["va"],
        "word": insns_a["word"] != insns_b["word"],
        "regime": np.logical_or.reduce([regime_a[name] != regime_b[name] for name in _REGIME]),
        "access": access,
        "address": both & (of_a["va"] != of_b["va"]),
        "translation": both & (of_a["va"] == of_b["va"]) & (of_a["pa"] != of_b["pa"]),
        "memory_type": both & (of_a["memory_type"] != of_b["memory_type"]),
    }
