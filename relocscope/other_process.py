"""Python processes of our own: what is importable here is importable there, and nothing else."""

import os
import subprocess
import sys
from typing import Any


def python(module: str, *arguments: str, **options: Any) -> "subprocess.Popen[bytes]":
    """Start `python -m module arguments`, without what lies in the working directory or the caller's main module."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen([sys.executable, "-P", "-m", module, *arguments], env=environment, **options)
