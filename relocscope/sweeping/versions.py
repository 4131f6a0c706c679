"""What results depend on beside their inputs: our own sources, and the engine that runs guests.

A result is kept under the digest of the sources that made it. An edit of any of them makes everything anew, which is
more than it may need, and nobody has to think about which result depends on what.
"""

import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_FACE = _HERE.parent
_TOP = _FACE.parent


@cache
def capture_version() -> str:
    """Digest of what makes a trace: assembler, emulator, the record, and how a case becomes a machine."""
    made_by = f"unicorn {version('unicorn')}, keystone {version('keystone-engine')}"
    return _digest([*_sources("asm", "emu", "traces"), _FACE / "emulate.py"], made_by)


@cache
def model_version() -> str:
    """Digest of what makes a time of a trace: the timing model without its presets, the folds, and what is stated."""
    own = [_FACE / "runs.py", _FACE / "sampling.py", _HERE / "measured.py"]
    return _digest([*_sources("caches", "traces"), *own], "")


def _sources(*packages: str) -> Iterator[Path]:
    for package in packages:
        yield from sorted(path for ending in ("*.py", "*.S") for path in (_TOP / package).rglob(ending))


def _digest(files: list[Path], made_by: str) -> str:
    whole = hashlib.sha256(f"{made_by}\n".encode())
    for path in files:
        data = path.read_bytes()
        whole.update(f"{path.relative_to(_TOP)} {len(data)}\n".encode())
        whole.update(data)
    return whole.hexdigest()
