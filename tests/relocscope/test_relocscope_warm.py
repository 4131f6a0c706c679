"""The first run after an install: a second process compiles the timing model, and nothing depends on it."""

import pickle
import subprocess
import sys
import time
from pathlib import Path

import pytest

from caches.compiled_from import SOURCES
from relocscope import warm


def test_nothing_is_started_where_the_model_is_compiled(monkeypatch):
    monkeypatch.setattr(warm, "compiled", lambda: True)
    monkeypatch.setattr(subprocess, "Popen", None)
    with warm.compiled_meanwhile():
        pass


def test_an_empty_cache_is_cold(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert not warm.compiled()
    index = tmp_path / "kernels_0" / "tape.replay-stamped.py311.nbi"
    index.parent.mkdir()
    index.write_bytes(pickle.dumps("0.0") + pickle.dumps(("0" * 64, {})))
    assert not warm.compiled()
    index.write_bytes(pickle.dumps("0.0") + pickle.dumps((SOURCES.stamp, {})))
    assert warm.compiled()


def test_what_numba_keeps_of_the_model_is_found():
    from caches.replaying import compile_ahead

    compile_ahead()
    assert warm.compiled()


@pytest.mark.parametrize("executable", ["/bin/false", "/nonexistent"])
def test_a_second_process_that_fails_is_ignored(monkeypatch, executable):
    monkeypatch.setattr(warm, "compiled", lambda: False)
    monkeypatch.setattr(sys, "executable", executable)
    with warm.compiled_meanwhile():
        done = True
    assert done


def test_the_second_process_ends_with_an_error_of_the_first(monkeypatch, tmp_path):
    sleeper = tmp_path / "sleeper"
    sleeper.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 600\n")
    sleeper.chmod(0o755)
    monkeypatch.setattr(warm, "compiled", lambda: False)
    monkeypatch.setattr(sys, "executable", str(sleeper))

    def body():
        with warm.compiled_meanwhile():
            while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
                time.sleep(0.01)
            raise KeyError("the guest")

    with pytest.raises(KeyError, match="the guest"):
        body()
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


def test_the_second_process_does_not_outlive_a_parent_that_is_gone():
    # Its parent is not the process it is told to serve: it must leave at once, without compiling.
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "relocscope.warm", "1"], check=True)
    assert time.perf_counter() - started < 10
