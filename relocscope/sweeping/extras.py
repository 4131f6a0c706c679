"""Libraries that not every sweep needs: imported when asked for, and named by the command that installs them."""

import importlib
from typing import Any

from traces.errors import InputError


def imported(module: str, extra: str) -> Any:
    """Return the module; InputError naming the extra of ours that brings it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise InputError(f"{module.partition('.')[0]} is not installed: pip install 'relocscope[{extra}]'") from None
