"""What shells complete: asked of the script that `relocscope completion` prints, in the shells themselves."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import caches
from relocscope.answers.shipped import plan_names
from relocscope.case import KEYS, case_names

BIN = Path(sys.executable).parent
ASK = """
source {script}
COMP_LINE={line!r} COMP_POINT={length}
compopt() {{ echo "option $2"; }}
{function} relocscope
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def asked(line: str) -> list[str]:
    """Return what the program answers, as the scripts of bash ask it."""
    words = line.split(" ")
    given = {"_RELOCSCOPE_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        [BIN / "relocscope"], env=os.environ | given, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("relocscope run ", case_names()),
        ("relocscope explain v4.19-nvhe v5.17-n", ("v5.17-nvhe",)),
        ("relocscope run v5.17-nvhe --core ", caches.core_names()),
        ("relocscope sweep --plan ", plan_names()),
        ("relocscope explain --within ", caches.GROUPS),
        ("relocscope run --set map.t", ("map.tables=", "map.t0sz=", "map.tcr_irgn=", "map.tcr_orgn=", "map.tcr_sh=")),
        ("relocscope explain --set b.program.m", ("b.program.mmu=",)),
        ("relocscope sweep --grid dram.lat", ("dram.latency_ns=",)),
    ],
)
def test_names_are_completed(line, found):
    assert sorted(asked(line)) == sorted(f"plain,{name}" for name in found)


def test_every_key_of_a_case_is_one_of_set():
    assert {f"plain,{key}=" for key in KEYS} < set(asked("relocscope run --set "))


def test_what_is_no_name_is_a_file():
    assert asked("relocscope run my-") == ["file,my-"]


def _script(tmp_path: Path, shell: str) -> Path:
    script = tmp_path / f"completion.{shell}"
    script.write_bytes(
        subprocess.run([BIN / "relocscope", "completion", shell], capture_output=True, check=True).stdout
    )
    return script


def _in_bash(tmp_path: Path, line: str) -> list[str]:
    text = ASK.format(script=_script(tmp_path, "bash"), line=line, length=len(line), function="_relocscope_completion")
    path = f"{BIN}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", text], env=os.environ | {"PATH": path}, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1]


def test_bash_completes_words_that_have_colons_and_equals_signs_in_them(tmp_path):
    assert _in_bash(tmp_path, "relocscope expl") == ["explain"]
    assert _in_bash(tmp_path, "relocscope run v5.17-n") == ["v5.17-nvhe"]
    assert _in_bash(tmp_path, "relocscope run --set map.tab") == ["option nospace", "map.tables="]
    assert _in_bash(tmp_path, "relocscope run --core=rpi4") == ["rpi4"]
    assert _in_bash(tmp_path, "relocscope run image:/boot/x") == ["option default", ""]


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_take_their_script_and_complete(tmp_path, shell):
    assert shutil.which(shell), f"{shell} must be installed"
    script = _script(tmp_path, shell)
    ask = {
        "fish": f"source {script}; complete -C 'relocscope run v5.17-n'",
        "zsh": f"autoload -U compinit; compinit -u; source {script}; print ${{_comps[relocscope]}}",
    }
    env = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    done = subprocess.run([shell, "-c", ask[shell]], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [{"fish": "v5.17-nvhe", "zsh": "_relocscope_completion"}[shell]]
