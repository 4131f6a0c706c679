"""A fitted core as a preset file, which builds on the one that it was fitted from."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from caches import load_core
from traces.errors import InputError
from traces.replacing import replacing


def preset_text(
    base: str, name: str, title: str, calibrated: tuple[str, ...], entries: Mapping[str, tuple[Any, str]]
) -> str:
    """Return TOML: the base, which numbers are calibrated, and each fitted one (value, source) in its table."""
    listed = ", ".join(map(_quoted, calibrated))
    lines = [
        "# Written by `relocscope calibrate`: what is not here is as the base has it.",
        f"base = {_quoted(base)}",
        f"name = {_quoted(name)}",
        f"title = {_quoted(title)}",
        f"calibrated = [{listed}]",
    ]
    tables: dict[str, list[str]] = {}
    for key, (value, source) in entries.items():
        table, _, field = key.partition(".")
        tables.setdefault(table, []).append(f"{field} = {{ value = {value!r}, source = {_quoted(source)} }}")
    for table, rows in tables.items():
        lines += ["", f"[{table}]", *rows]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Return a TOML basic string, whose escapes are JSON's."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def base_of(core: str, target: Path) -> str:
    """Return what a preset beside `target` calls that core: a preset's name, or a file's path from there."""
    return os.path.relpath(core, target.parent) if core.endswith(".toml") else core


def write_preset(target: Path, text: str) -> None:
    """Write the file whole or not at all, and see that it loads."""
    try:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", prefix=".", suffix=".toml", dir=target.parent) as trial:
            trial.write(text)
            trial.flush()
            load_core(trial.name)  # beside the target: its base may be named from there
    except OSError as error:
        raise InputError(f"-o: {target}: cannot be written: {error.strerror}") from None
    with replacing(target, "-o") as stream:
        stream.write(text.encode())
