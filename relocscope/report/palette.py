"""Palette: the colours of causes, on light paper and on dark, in pages and in notebooks."""

from collections.abc import Mapping

LEAF_COLOURS: Mapping[str, str] = {
    "base": "#8a929a",
    "branch": "#b09c84",
    "fetch": "#2a9d8f",
    "device_load": "#c9485b",
    "device_store": "#ee8a5c",
    "l1d": "#63aedb",
    "l2": "#3f7fc1",
    "l3": "#5f6fc4",
    "dram_latency": "#8e6bbf",
    "dram_bandwidth": "#b98ad9",
    "store_buffer": "#c29a1e",
    "tlb_walk": "#dcb93a",
    "maintenance": "#6a994e",
    "barrier": "#a3c24f",
    "exception": "#6f7780",
}
"""Of the leaves of cycle stacks; on light paper and on dark."""
