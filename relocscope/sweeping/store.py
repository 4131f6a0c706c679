"""Store: what a sweep has done, in a directory, under the digest of what it was made from.

    captures/KEY.json      {"key", "trace": HASH}, or {"key", "error": why no trace can be had}
    traces/HASH.trace      an ordinary trace file
    results/KE/KEY.json    {"key", "trace", "result": {...}}, or {"key", "error"}
    computed.jsonl         one line for each thing done: what, by whom, seconds on the host; not part of any result

Every file is written whole or not at all, under a name that says what is in it: two sweeps may write here at once, both
write the same. What cannot be read as what its name says is as good as not there.
"""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from traces.errors import InputError
from traces.files import load, save
from traces.replacing import replacing
from traces.trace import Trace

COMPUTED = "computed.jsonl"


def result_key(trace_hash: str, config_hash: str, *, initial: str, seed: int, sample: bool, version: str) -> str:
    """Return the key of one replay's result: the digest of all that it depends on."""
    facts = [trace_hash, config_hash, initial, seed, sample, version]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


class Store:
    """What lies in one directory. Nothing of it is kept in memory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def prepare(self) -> None:
        """Make the directory; InputError where that cannot be."""
        try:
            for name in ("captures", "traces", "results"):
                (self.directory / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"-o: {self.directory}: cannot be made: {error.strerror}") from None

    def capture(self, key: str) -> dict[str, Any] | None:
        """Return what is known of a capture: `trace` or `error`; None where it has to be done."""
        found = _read(self._capture_path(key), key, "trace")
        if found is not None and "trace" in found and not self.trace_path(found["trace"]).is_file():
            return None
        return found

    def keep_capture(self, key: str, facts: Mapping[str, Any]) -> None:
        """Write what is known of a capture; its trace is there by now."""
        _write(self._capture_path(key), {"key": key, **facts})

    def _capture_path(self, key: str) -> Path:
        return self.directory / "captures" / f"{key}.json"

    def trace_path(self, trace_hash: str) -> Path:
        """Return where the trace of that digest is."""
        return self.directory / "traces" / f"{trace_hash}.trace"

    def keep_trace(self, trace_hash: str, trace: Trace) -> None:
        """Write a trace, if it is not there."""
        if not self.trace_path(trace_hash).is_file():
            save(trace, self.trace_path(trace_hash))

    def trace(self, trace_hash: str) -> Trace:
        """Read a trace; its file is whole, and is ours."""
        return load(self.trace_path(trace_hash), verify=False)

    def result(self, key: str) -> dict[str, Any] | None:
        """Return what is known of a replay: `result` or `error`; None where it has to be done."""
        return _read(self._result_path(key), key, "result", "trace")

    def keep_result(self, key: str, facts: Mapping[str, Any]) -> None:
        """Write what a replay came to."""
        _write(self._result_path(key), {"key": key, **facts})

    def _result_path(self, key: str) -> Path:
        return self.directory / "results" / key[:2] / f"{key}.json"

    def note(self, facts: Mapping[str, Any]) -> None:
        """Add a line to what was computed; one write, so that two sweeps do not mix their lines."""
        line = json.dumps(facts) + "\n"
        handle = os.open(self.directory / COMPUTED, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)

    def noted(self) -> Iterator[dict[str, Any]]:
        """Yield the lines of what was computed; one that was cut off by a kill is left out."""
        computed = self.directory / COMPUTED
        with contextlib.suppress(FileNotFoundError), computed.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                with contextlib.suppress(ValueError, RecursionError):
                    if isinstance(facts := json.loads(line), dict):
                        yield facts


_DIGEST = re.compile(r"[0-9a-f]{64}")


def _read(path: Path, key: str, *needed: str) -> dict[str, Any] | None:
    """Return the facts of a file; None unless they have `needed`, each of its kind, or `error`."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("key") != key:
        return None
    if "error" in found:
        return found if isinstance(found["error"], str) and not set(needed[:1]) & set(found) else None
    return found if all(_KINDS[name](found.get(name)) for name in needed) else None


_KINDS: Mapping[str, Callable[[object], bool]] = {
    "trace": lambda value: isinstance(value, str) and bool(_DIGEST.fullmatch(value)),  # it becomes a file's name
    "result": lambda value: isinstance(value, dict),
}


def _write(path: Path, facts: Mapping[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as stream:
        stream.write(json.dumps(facts, allow_nan=False).encode())
