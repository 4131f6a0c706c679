"""Bare programs: a bare-metal program as one side of a question, and what can be set of it."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relocscope.case import KEYS
from traces.errors import InputError
from traces.sizes import parse_size

if TYPE_CHECKING:
    from traces.trace import Trace

_ARGUMENTS_MAX = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class BareProgram:
    """A bare-metal program, and how it is called."""

    path: Path
    symbol: str = ""
    """Where it is entered; empty: its start."""
    el: int = 1
    mmu: bool = False
    leaf_bytes: int = 2 << 20
    arguments: tuple[int, ...] = ()
    ram: tuple[tuple[int, int], ...] = ()
    """(address, bytes) of RAM besides its own."""
    sctlr_c: int | None = None
    sctlr_i: int | None = None
    budget: int | None = None

    def with_settings(self, settings: Mapping[str, Any]) -> "BareProgram":
        """Return the program called as the settings say. Raises InputError for what cannot be set of one."""
        changed: dict[str, Any] = {}
        for key, value in settings.items():
            if key in PROGRAM_KEYS:
                name, parse, _ = PROGRAM_KEYS[key]
                changed[name] = parse(value, f"--set: {key}")
            elif key not in ("initial", "seed", "core"):
                raise InputError(
                    f"--set: {key}: of a program only {', '.join(PROGRAM_KEYS)}, initial, seed and keys of the core "
                    "can change"
                )
        return dataclasses.replace(self, **changed)

    def run(self) -> "Trace":
        """Run it in Unicorn; that it hangs or faults is a result."""
        from asm.program import read_program
        from emu.program import Call, run_program
        from emu.spans import Span
        from relocscope.warm import compiled_meanwhile

        program = read_program(self.path, self.symbol)
        call = Call(
            el=self.el,
            mmu=self.mmu,
            leaf_bytes=self.leaf_bytes,
            arguments=self.arguments,
            ram=tuple(Span(*each) for each in self.ram),
            sctlr_c=self.sctlr_c,
            sctlr_i=self.sctlr_i,
            budget=self.budget,
        )
        with compiled_meanwhile():
            return run_program(program, call)


def _address(text: str, where: str) -> int:
    try:
        return int(text.replace("_", ""), 0)
    except ValueError:
        raise InputError(f"{where}: {text!r} must be a number such as 0x40000000") from None


def _listed(value: object, where: str) -> list[str]:
    if isinstance(value, list | tuple):
        return [str(each) for each in value]
    if isinstance(value, int):
        return [str(value)]
    if not isinstance(value, str):
        raise InputError(f"{where}: {value!r} must be text, with commas between values")
    return [part.strip() for part in value.split(",") if part.strip()]


def _arguments(value: object, where: str) -> tuple[int, ...]:
    numbers = tuple(_address(text, where) for text in _listed(value, where))
    if len(numbers) > _ARGUMENTS_MAX or any(not 0 <= number < 1 << 64 for number in numbers):
        raise InputError(f"{where}: at most {_ARGUMENTS_MAX} numbers of 64 bits, for x0 and so on")
    return numbers


def _ram(value: object, where: str) -> tuple[tuple[int, int], ...]:
    spans = []
    for text in _listed(value, where):
        base, plus, size = text.partition("+")
        if not plus:
            raise InputError(f"{where}: {text!r} must be ADDRESS+SIZE, such as 0x80000000+64MiB")
        spans.append((_address(base.strip(), where), parse_size(size.strip(), where)))
    return tuple(spans)


def _level(value: object, where: str) -> int:
    if str(value) not in ("1", "2"):
        raise InputError(f"{where}: {value!r} must be 1 or 2")
    return int(str(value))


def _switch(value: object, where: str) -> bool:
    words = {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}
    if str(value).lower() not in words:
        raise InputError(f"{where}: {value!r} must be on or off")
    return words[str(value).lower()]


def _leaf(value: object, where: str) -> int:
    size = parse_size(value, where)
    if size not in (4 << 10, 2 << 20, 1 << 30):
        raise InputError(f"{where}: {value} must be one of 4KiB, 2MiB, 1GiB")
    return size


PROGRAM_KEYS: Mapping[str, tuple[str, Callable[[object, str], Any], str]] = {
    "program.el": ("el", _level, "exception level that it is called at: 1 or 2"),
    "program.mmu": ("mmu", _switch, "on: all its memory is mapped to itself, Normal-WB, with MMU and caches on"),
    "program.args": ("arguments", _arguments, "x0, x1 and so on, with commas between"),
    "program.ram": ("ram", _ram, "RAM besides its own: ADDRESS+SIZE, several with commas"),
    "map.leaf": ("leaf_bytes", _leaf, "leaf size of that map"),
    "copy.sctlr_c": ("sctlr_c", KEYS["copy.sctlr_c"][1], "SCTLR.C forced"),
    "copy.sctlr_i": ("sctlr_i", KEYS["copy.sctlr_i"][1], "SCTLR.I forced"),
    "budget": ("budget", KEYS["budget"][1], "instructions after which it is stopped"),
}
"""What can be set of a program: the field, how its value is read, and what it means."""
