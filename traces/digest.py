"""The name of what a trace holds: equal for equal traces, wherever and however they were made or stored."""

import hashlib
import json

import numpy as np

from traces.check import ARRAYS
from traces.schema import SCHEMA_VERSION
from traces.trace import Trace


def digest(trace: Trace) -> str:
    """Return the SHA-256 of every record and of the facts beside them, as hex text."""
    whole = hashlib.sha256(f"relocscope-trace {SCHEMA_VERSION}\n".encode())
    for name, dtype in ARRAYS.items():
        rows = np.ascontiguousarray(getattr(trace, name), dtype)
        whole.update(f"{name} {len(rows)}\n".encode())
        whole.update(rows.view(np.uint8).data)
    whole.update(json.dumps(dict(trace.meta), sort_keys=True, allow_nan=False).encode())
    return whole.hexdigest()
