"""A folder that has the name of one of our packages is named in one line where Python would take it for ours."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from relocscope.own_packages import NAMES, check_own_packages

OTHERS = "raise SystemExit('code of another package ran')\n"


def started(where: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(params=NAMES)
def beside(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a directory with a package of that name."""
    (tmp_path / request.param).mkdir()
    (tmp_path / request.param / "__init__.py").write_text(OTHERS)
    return tmp_path


@pytest.mark.parametrize(
    "words", [("-m", "relocscope", "cases"), ("-c", "import relocscope")], ids=["module", "import"]
)
def test_a_package_in_the_working_directory_is_named_and_not_run(words: tuple[str, ...], beside: Path):
    done = started(beside, *words)
    (line,) = [line for line in done.stderr.splitlines() if "Relocscope's package" in line]
    assert f"is hidden by {beside}" in line
    assert "another package ran" not in done.stderr + done.stdout
    assert done.returncode == 1


@pytest.mark.parametrize("words", [("-P", "-m", "relocscope", "--help"), ("-P", "-c", "import relocscope, traces")])
def test_it_does_no_harm_where_python_does_not_look(words: tuple[str, ...], beside: Path):
    assert started(beside, *words).returncode == 0


def test_a_sweep_started_there_has_workers_that_look_elsewhere(tmp_path: Path):
    for name in NAMES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(OTHERS)
    done = started(tmp_path, "-P", "-m", "relocscope", "sweep", "rfc-v1-nvhe", "--size", "4KiB", "--grid",
                   "l2.size=1MiB,2MiB", "-o", "out", "--workers", "2")  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_ours_are_ours(monkeypatch: pytest.MonkeyPatch):
    check_own_packages()
    monkeypatch.setitem(sys.modules, "traces", type(sys)("traces"))
    with pytest.raises(ImportError, match=r"'traces'.* is missing"):
        check_own_packages()
