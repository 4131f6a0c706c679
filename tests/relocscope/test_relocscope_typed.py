"""What docs/api.md offers is typed completely: whoever uses it gets a type for every name, argument and result."""

import importlib
import json
import os
import pydoc
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("asm", "caches", "emu", "relocscope", "traces")
MODULE, CLASS = (re.compile(rf"\.\. auto{kind}:: ([\w.]+)") for kind in ("module", "class"))


def offered() -> tuple[set[str], set[str]]:
    """Return the modules of docs/api.md, and the classes and functions, by where they are defined."""
    text = (ROOT / "docs" / "api.md").read_text()
    names = CLASS.findall(text)
    modules = set(MODULE.findall(text))
    for package in modules & set(PACKAGES):  # offers what its __init__ lists, not all of its modules
        names += [f"{package}.{name}" for name in importlib.import_module(package).__all__]
        modules = modules - {package}
    found = [pydoc.locate(name) for name in names]
    return modules, {f"{each.__module__}.{each.__qualname__}" for each in found if hasattr(each, "__qualname__")}


def untyped(package: str, place: Path) -> tuple[set[str], set[str]]:
    """Return every public name of a package as pyright finds it installed, and those without a known type."""
    done = subprocess.run(
        [Path(sys.executable).with_name("basedpyright"), "--verifytypes", package, "--ignoreexternal", "--outputjson"],
        cwd=place,
        env=os.environ | {"PYTHONPATH": str(place), "VIRTUAL_ENV": sys.prefix},
        capture_output=True,
        text=True,
        check=False,
    )
    symbols = json.loads(done.stdout)["typeCompleteness"]["symbols"]
    unknown = {each["name"] for each in symbols if not each["isTypeKnown"] or each["isTypeAmbiguous"]}
    return {each["name"] for each in symbols}, unknown


@pytest.mark.slow
def test_everything_offered_has_a_known_type(tmp_path):
    for package in PACKAGES:
        (tmp_path / package).symlink_to(ROOT / package)
    modules, names = offered()
    assert {"relocscope.attached.Model", "relocscope.explain", "caches.config.CoreConfig"} <= names
    assert "traces.outcome" in modules
    for package in ("relocscope", "caches", "traces"):
        known, unknown = untyped(package, tmp_path)
        own = {each for each in modules | names if each.partition(".")[0] == package}
        for each in own:
            assert any(name == each or name.startswith(f"{each}.") for name in known), each
        assert sorted(name for name in unknown if any(f"{name}.".startswith(f"{each}.") for each in own)) == []
