"""Guided: libFuzzer (atheris) keeps the inputs that reach something in a reader, and damages those further.

atheris is Apache-2.0 and Unicorn GPL-2.0-only, so this is for development alone (docs/decisions.md).
"""

import functools
import importlib
import inspect
import os
import random
import shutil
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from fuzz import edits
from fuzz.attempt import Failure, attempt
from fuzz.drawn import MOST_FAILURES, kind
from fuzz.targets import Target, damaged, scratch


def functions(module: types.ModuleType) -> list[types.FunctionType]:
    """Return the functions that a module defines, alone and in its classes, behind whatever decorates them."""
    owners = [module, *(each for each in vars(module).values() if inspect.isclass(each) and _is_of(each, module))]
    found = {}
    for value in (value for owner in owners for value in vars(owner).values()):
        inner: Any = getattr(value, "fget", None) or getattr(value, "__func__", None) or value
        inner = inspect.unwrap(inner) if callable(inner) else inner
        inner = inner.func if isinstance(inner, functools.partial) else inner
        if isinstance(inner, types.FunctionType) and _is_of(inner, module):
            found[id(inner)] = inner
    return list(found.values())


def _is_of(value: Any, module: types.ModuleType) -> bool:
    return getattr(value, "__module__", None) == module.__name__


def fuzz(
    target: Target, count: int, seed: int, corpus: Path, note: Callable[[bytes], None], keep: Callable[[Failure], None]
) -> NoReturn:
    """Give a reader `count` inputs, and end the process; the status is 1 if any failed. `corpus` grows."""
    import atheris

    for name in target.modules:
        for function in functions(importlib.import_module(name)):
            atheris.instrument_func(function)
    seeds, kinds, done = target.seeds(), set[str](), 0

    def one(data: bytes) -> None:
        nonlocal done
        if done >= count or len(kinds) >= MOST_FAILURES:
            shutil.rmtree(scratch(), ignore_errors=True)
            os._exit(1 if kinds else 0)  # libFuzzer has no end of its own that would say so
        done += 1
        note(data)
        failure = attempt(target, data)
        if failure is not None and kind(failure) not in kinds:
            kinds.add(kind(failure))
            keep(failure)

    def mutated(data: bytes, longest: int, chance: int) -> bytes:
        """Half by libFuzzer, which knows what was compared with what, half by our edits, which know the format."""
        draw = random.Random(chance)
        if draw.random() < 0.5:
            made = atheris.Mutate(data, longest)
            return (target.repair(made) if target.repair and draw.random() < 0.5 else made)[:longest]
        return damaged(target, data, edits.draw(draw), seeds)[:longest]

    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(data)
    # Time and memory are bounded by `attempt` and `slate`; a timeout of 0 would be no time at all to atheris.
    options = [f"-seed={seed}", f"-max_len={edits.LONGEST_BYTES}", "-len_control=0", "-verbosity=0",
               "-timeout=600", "-rss_limit_mb=0", "-print_final_stats=0", str(corpus)]  # fmt: skip
    if target.words:
        words = scratch() / "words"
        words.write_text(_dictionary(target), encoding="ascii")
        options.append(f"-dict={words}")
    atheris.Setup(["fuzz", *options], one, custom_mutator=mutated)
    atheris.Fuzz()
    raise AssertionError("libFuzzer ends the process")


def _dictionary(target: Target) -> str:
    """Write the words of a format as libFuzzer reads them."""
    return "".join(
        '"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n' for word in target.words if 0 < len(word) < 64
    )
