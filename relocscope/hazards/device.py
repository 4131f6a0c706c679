"""What Device memory does not allow: unaligned accesses and DC ZVA. The machine raises the fault; these say why."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from relocscope.hazards.registry import Finding
from relocscope.hazards.subject import Subject
from relocscope.regimes import place, register
from traces.schema import Access

_DATA_ABORTS = (0x24, 0x25)
_ALIGNMENT_FAULT = 0b100001
_SCTLR_A = 1 << 1


def findings(subject: Subject) -> Iterator[Finding]:
    """Yield the reason of an alignment fault that SCTLR.A did not ask for."""
    fault = subject.trace.meta.get("fault")
    if not fault or int(fault.get("ec", 0)) not in _DATA_ABORTS or int(fault.get("iss", 0)) & 0x3F != _ALIGNMENT_FAULT:
        return
    epoch = _epoch_of(subject)
    zeroes = _at(subject, int(fault["elr"]), Access.ZERO)
    if int(subject.trace.epochs[epoch]["sctlr"]) & _SCTLR_A and not zeroes:
        return
    yield Finding(
        id="zva-on-device" if zeroes else "unaligned-device",
        where=place(subject.trace, int(fault["elr"])),
        evidence=f"va {int(fault['far']):#x} under {register(subject.trace, epoch, 'SCTLR')}: {_reason(fault)}",
    )


def _reason(fault: dict[str, Any]) -> str:
    return str(fault.get("reason", "")) or "alignment fault"


def _epoch_of(subject: Subject) -> int:
    """Return the epoch under which the first exception that was not meant was taken."""
    trace = subject.trace
    taken = trace.exceptions[trace.exceptions["meant"] == 0]
    at = max(int(taken[0]["at"]) - 1, 0) if len(taken) else max(len(trace.executions) - 1, 0)
    for epoch, first, end in subject.epochs_run:
        if first <= at < end:
            return epoch
    return 0


def _at(subject: Subject, va: int, access: Access) -> bool:
    insns = subject.trace.insns
    return bool(np.any((insns["va"] == np.uint64(va)) & (insns["access"] == access)))
