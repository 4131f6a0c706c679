"""Microbenchmarks: small assembly programs through the same machine and model as the relocation itself."""

from relocscope.microbench.measure import (
    COPY_BYTES,
    LADDER_BYTES,
    LEAF_BYTES,
    READ_BYTES,
    UNCACHED_TYPES,
    WIDTHS,
    Microbenchmarks,
    latency,
    measure,
    memcpy,
    memset,
    uncached_reads,
)

__all__ = [
    "COPY_BYTES",
    "LADDER_BYTES",
    "LEAF_BYTES",
    "READ_BYTES",
    "UNCACHED_TYPES",
    "WIDTHS",
    "Microbenchmarks",
    "latency",
    "measure",
    "memcpy",
    "memset",
    "uncached_reads",
]
