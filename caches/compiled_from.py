"""What the compiled timing model depends on: its package, and what is written into its code of other modules."""

from pathlib import Path

import traces.schema
from traces.code_cache import Sources

_HERE = Path(__file__).resolve().parent

SOURCES = Sources(
    _HERE / "kernels",
    (
        _HERE / "lanes.py",
        _HERE / "mechanisms.py",
        _HERE / "state.py",
        _HERE / "views.py",
        Path(traces.schema.__file__).resolve(),
    ),
)
