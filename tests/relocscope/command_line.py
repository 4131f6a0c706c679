"""What the `relocscope` fixture is, for the type of a test's argument."""

from collections.abc import Callable

Relocscope = Callable[..., tuple[int, str, str]]
"""Runs the command line with these words: (status, stdout, stderr)."""
