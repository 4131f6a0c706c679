"""Compiled code is never older than what it was compiled from, whichever file changed."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import caches.compiled_from
import emu.compiled_from
from traces.code_cache import Sources

ROOT = Path(__file__).resolve().parents[2]
BOTH = pytest.mark.parametrize(
    "sources", [caches.compiled_from.SOURCES, emu.compiled_from.SOURCES], ids=["caches", "emu"]
)

PACKAGE = {
    "__init__.py": """
from pathlib import Path
from numba.core.caching import CacheImpl, InTreeCacheLocator, UserProvidedCacheLocator
from traces.code_cache import Sources
here = Path(__file__).resolve().parent
sources = Sources(here, (here.parent / "width.py",))
CacheImpl._locator_classes[:0] = sources.locators((UserProvidedCacheLocator, InTreeCacheLocator))
""",
    "parts.py": "from numba import njit\n@njit\ndef part(x):\n    return x + 1\n",
    "whole.py": """
from numba import njit
from compiled.parts import part
from width import WIDTH
@njit(cache=True)
def whole(x):
    return part(x) * WIDTH
""",
}
RUN = "from compiled.whole import whole; print(whole(1), sum(whole.stats.cache_hits.values()))"


def run(place, cache=None):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(place), str(ROOT)]), "NUMBA_DISABLE_JIT": "0"}
    environment.pop("NUMBA_CACHE_DIR", None)
    if cache:
        environment["NUMBA_CACHE_DIR"] = str(cache)
    command = [sys.executable, "-B", "-c", RUN]
    printed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    return tuple(int(word) for word in printed.split())


@pytest.mark.parametrize("chosen", [False, True], ids=["beside the source", "NUMBA_CACHE_DIR"])
def test_an_edit_of_any_module_compiles_anew_and_leaves_nothing_behind(tmp_path, chosen):
    cache = tmp_path / "cache" if chosen else None
    package = tmp_path / "compiled"
    package.mkdir()
    for name, text in PACKAGE.items():
        (package / name).write_text(text)
    (tmp_path / "width.py").write_text("WIDTH = 10\n")
    assert run(tmp_path, cache) == (20, 0)
    assert run(tmp_path, cache) == (20, 1)
    (package / "parts.py").write_text(PACKAGE["parts.py"].replace("x + 1", "x + 2"))
    assert run(tmp_path, cache) == (30, 0)
    (tmp_path / "width.py").write_text("WIDTH = 11\n")
    assert run(tmp_path, cache) == (33, 0)
    # Another line number, which is part of the names that Numba itself gives.
    (package / "whole.py").write_text("\n" + PACKAGE["whole.py"])
    assert run(tmp_path, cache) == (33, 0)
    assert run(tmp_path, cache) == (33, 1)
    kept = list(tmp_path.rglob("*.nb*"))
    assert sorted(path.suffix for path in kept) == [".nbc", ".nbi"]
    assert all((cache or package) in path.parents for path in kept)


def test_a_stamp_knows_names_and_contents(tmp_path):
    (tmp_path / "a.py").write_text("1")
    (tmp_path / "b.py").write_text("2")
    before = Sources(tmp_path).stamp
    assert Sources(tmp_path).stamp == before
    (tmp_path / "b.py").rename(tmp_path / "c.py")
    assert Sources(tmp_path).stamp != before
    (tmp_path / "c.py").rename(tmp_path / "b.py")
    (tmp_path / "b.py").write_text("3")
    assert Sources(tmp_path).stamp != before


@BOTH
def test_whatever_the_compiled_code_imports_of_ours_is_stamped(sources):
    stamped = set(sources)
    assert len(stamped) > 10
    for path in sorted(sources.package.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                if name.split(".")[0] in ("asm", "caches", "emu", "traces") and not name.endswith("compiled_from"):
                    assert (ROOT / name.replace(".", "/")).with_suffix(".py") in stamped, f"{path.name} imports {name}"


@BOTH
def test_compiled_functions_of_the_package_are_stamped(sources):
    from caches.kernels.tape import replay
    from emu.kernels.walk import walk

    function = {"caches": replay, "emu": walk}[sources.package.parent.name]
    impl = getattr(function, "_cache", None)
    if impl is not None:  # None under NUMBA_DISABLE_JIT
        assert impl._impl.locator.get_source_stamp() == sources.stamp
