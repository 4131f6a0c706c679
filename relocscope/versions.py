"""What is installed: the version of Relocscope (setup.cfg has it), and of what its results depend on."""

import platform
from importlib.metadata import version

_COMPONENTS = ("unicorn", "capstone", "keystone-engine", "numba", "llvmlite", "numpy")


def own_version() -> str:
    """Return the version of Relocscope."""
    return version("relocscope")


def components() -> dict[str, str]:
    """Return the version of Python and of each engine, by name. None of them is loaded."""
    return {"python": platform.python_version()} | {name: version(name) for name in _COMPONENTS}


def described() -> str:
    """Return what `relocscope --version` prints: one line of Relocscope, then one a component."""
    place = f"{platform.python_implementation()}, {platform.system()} {platform.machine()}"
    lines = [f"{name:<16} {number}" for name, number in components().items()]
    return "\n".join([f"relocscope {own_version()} ({place})", *lines])
