"""Whether `asm`, `caches`, `emu` and `traces` are ours: common names, which a folder beside a script may have, too."""

import importlib.util
import os
import sys
from pathlib import Path

NAMES = ("asm", "caches", "emu", "traces")
_ROOT = Path(__file__).parent.parent


def check_own_packages() -> None:
    """Raise ImportError, one line, for a package of another's that Python would import under the name of one of ours.

    Python looks in the working directory first where it was started as `python -m` or without a script, and in the
    script's directory otherwise; the console script looks in neither. Nothing of the other package is executed.
    """
    for name in NAMES:
        try:
            found = importlib.util.find_spec(name)
        except ValueError:  # loaded already, and no module as Python loads them
            found = None
        places = list(found.submodule_search_locations or ()) if found else []
        if not any(os.path.realpath(place) == os.path.realpath(_ROOT / name) for place in places):
            other = (found.origin or (places or [""])[0]) if found else getattr(sys.modules.get(name), "__file__", None)
            hidden = f"hidden by {other}" if other else "missing"
            raise ImportError(
                f"Relocscope's package {name!r} ({_ROOT / name}) is {hidden}: rename that, start elsewhere, "
                "or use the command `relocscope` or `python -P`"
            )
