import importlib.resources
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from relocscope import doctor
from relocscope.bare_program import BareProgram

RELOCSCOPE = Path(sys.executable).with_name("relocscope")


def test_every_check_passes_and_is_in_json(tmp_path):
    out = tmp_path / "doctor.json"
    done = subprocess.run([RELOCSCOPE, "doctor", "--json", out], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(out.read_text())
    schema = json.loads((importlib.resources.files("relocscope") / "schemas" / "doctor.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(result)
    checks = {check["name"]: check["detail"] for check in result["checks"]}
    assert len(done.stdout.splitlines()) == len(checks)
    assert Path(checks["compiled code is kept"].removeprefix("in ")).is_dir()


def test_where_code_cannot_be_kept_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    assert doctor._kept()[0]
    monkeypatch.setattr(doctor.os, "access", lambda *_: False)
    ok, detail = doctor._kept()
    assert not ok
    assert "NUMBA_CACHE_DIR" in detail


def test_a_hook_that_misses_an_instruction_is_found(monkeypatch: pytest.MonkeyPatch):
    assert doctor._hooks()[0]
    run = BareProgram.run

    def forgetful(program: BareProgram):
        trace = run(program)
        return replace(trace, executions=trace.executions[:-2])

    monkeypatch.setattr(BareProgram, "run", forgetful)
    assert not doctor._hooks()[0]
