"""The guided run: it finds what is planted behind comparisons, and gives every reader a bounded number of inputs."""

import importlib.util
import platform
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from fuzz.targets import TARGETS, Target

ROOT = Path(__file__).parents[2]
IS_INSTALLABLE = sys.version_info < (3, 12) and platform.machine() == "x86_64"
"""atheris has wheels for no other (setup.cfg says the same); elsewhere the drawn run alone has to do."""
NEEDS_ATHERIS = pytest.mark.skipif(not IS_INSTALLABLE, reason="atheris has no wheel for this Python")
INPUTS = 2000


@NEEDS_ATHERIS
def test_atheris_is_there():
    """Where it could be installed and is not, nothing below may pass for want of it."""
    assert importlib.util.find_spec("atheris"), "pip install '.[fuzz]'"


@pytest.mark.slow
@NEEDS_ATHERIS
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_guided_input_is_refused_in_one_line(target: Target, tmp_path: Path):
    inputs = INPUTS // 10 if target.is_slow else INPUTS
    command = [sys.executable, "-m", "fuzz", target.name, "--guided", "--inputs", str(inputs),
               "--failures", str(tmp_path / "failures"), "--corpus", str(tmp_path / "corpus")]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert len(list((tmp_path / "corpus" / target.name).iterdir())) > len(target.seeds())  # what reached more was kept


@pytest.mark.slow
@NEEDS_ATHERIS
def test_guidance_gets_where_chance_does_not(tmp_path: Path):
    """Four bytes, compared one after the other: chance needs four thousand million inputs, guidance some thousand."""
    (tmp_path / "planted_reader.py").write_text(
        textwrap.dedent("""
        def read(data):
            if len(data) > 3 and data[0] == 0xD0:
                if data[1] == 0x0D:
                    if data[2] == 0xFE:
                        if data[3] == 0xED:
                            raise ZeroDivisionError("planted")
    """)
    )
    (tmp_path / "run.py").write_text(
        textwrap.dedent(f"""
        import sys
        from pathlib import Path
        sys.path.insert(0, {str(ROOT)!r})
        import planted_reader
        from fuzz import guided
        from fuzz.targets import Target
        target = Target("planted", ("planted_reader",), lambda: (b"seed",), lambda data: planted_reader.read(data))
        guided.fuzz(target, 300_000, 1, Path("corpus"), lambda _: None,
                    lambda failure: print(failure.what, failure.data[:4], flush=True))
    """)
    )
    done = subprocess.run([sys.executable, "run.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "planted" in done.stdout, done.stderr
    assert r"b'\xd0\r\xfe\xed'" in done.stdout
    assert done.returncode == 1
