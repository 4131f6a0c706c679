"""What the compiled code of `emu` depends on: its package alone, whose numbers are its own."""

from pathlib import Path

from traces.code_cache import Sources

SOURCES = Sources(Path(__file__).resolve().parent / "kernels")
