"""CASE as the command line takes it: a name, a case file, image:, elf:, program:, trace: or ram: and what they name."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relocscope.bare_program import PROGRAM_KEYS, BareProgram
from relocscope.case import BOOTS, KEYS, Case, case_from_file, case_names, override, shipped_case, unknown_key
from traces.errors import InputError
from traces.reading import is_file, is_there


@dataclass(frozen=True, kw_only=True, slots=True)
class Ram:
    """A real machine at its relocation: files of memory, each with its base where it does not say so itself."""

    files: tuple[tuple[Path, int | None], ...]
    registers: Path
    boot: str | None = None
    """None: what the registers say."""
    sctlr_c: int | None = None
    sctlr_i: int | None = None
    """0 or 1: SCTLR.C or I forced at the level that the routine runs at."""
    budget: int | None = None


_RAM_KEYS = {"copy.sctlr_c": "sctlr_c", "copy.sctlr_i": "sctlr_i", "budget": "budget"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Operand:
    """One side of a question: a case to run, a trace or a memory dump to replay, and what was asked of the core."""

    name: str
    case: Case | None
    trace_path: Path | None = None
    ram: Ram | None = None
    program: BareProgram | None = None
    core: str | None = None
    """Core asked for; None: the case's own."""
    core_settings: Mapping[str, Any] = field(default_factory=dict)
    sample: bool = False
    """Time the copy by a sample of it."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Everything that was set over the case, as it was written."""
    text: str = ""
    """What `operand` makes it of again, from any directory; empty for what is no text."""


def operand(text: str) -> Operand:
    """Find out what is meant. Raises InputError where nothing is."""
    kind, colon, rest = text.partition(":")
    if colon and kind in _KINDS:
        return _KINDS[kind](text, rest)
    if text.endswith(".toml"):
        case = case_from_file(Path(text))
        return Operand(name=case.name, case=case, text=str(Path(text).absolute()))
    if text not in case_names() and ("/" in text or is_file(text)):
        raise InputError(f"{text}: a case file ends in .toml; a kernel is written image:PATH@BOOT, a trace trace:FILE")
    return Operand(name=text, case=shipped_case(text), text=text)


def _image(text: str, rest: str) -> Operand:
    path, boot = _split(text, rest, "image:PATH@el1, image:PATH@nvhe or image:PATH@vhe")
    if boot not in BOOTS:
        raise InputError(f"{text}: boot {boot!r} must be one of {', '.join(BOOTS)}")
    return Operand(name=text, case=kernel_case(text, path, boot), text=f"image:{path.absolute()}@{boot}")


def _elf(text: str, rest: str) -> Operand:
    path, symbol = _split(text, rest, "elf:PATH@SYMBOL")
    case = kernel_case(text, path, "nvhe", symbol)
    return Operand(name=text, case=case, text=f"elf:{path.absolute()}@{symbol}")


def _program(text: str, rest: str) -> Operand:
    path, at, symbol = rest.rpartition("@")
    if not at or is_file(rest):
        path, symbol = rest, ""
    if not path or (at and path != rest and not symbol):
        raise InputError(f"{text}: expected program:PATH or program:PATH@SYMBOL")
    return program_operand(path, symbol, name=text)


def _trace(text: str, rest: str) -> Operand:
    if not rest:
        raise InputError(f"{text}: expected trace:FILE")
    return Operand(name=text, case=None, trace_path=Path(rest))


def _dump(text: str, rest: str) -> Operand:
    *files, registers = rest.split(",")
    if not files or not all(files) or not registers:
        raise InputError(f"{text}: expected ram:FILE[@BASE][,FILE[@BASE]...],REGISTERS")
    return ram_operand(files, registers, name=text)


_KINDS: Mapping[str, Callable[[str, str], Operand]] = {
    "image": _image,
    "elf": _elf,
    "program": _program,
    "trace": _trace,
    "ram": _dump,
}


def program_operand(path: str, symbol: str, *, name: str = "") -> Operand:
    """Make the operand of a bare-metal program."""
    if not is_file(path):
        raise InputError(f"{path}: no such file")
    text = f"program:{path}@{symbol}" if symbol else f"program:{path}"
    return Operand(name=name or text, case=None, program=BareProgram(path=Path(path), symbol=symbol))


def ram_operand(files: Sequence[str], registers: str, *, boot: str | None = None, name: str = "") -> Operand:
    """Make the operand of a memory dump: FILE of an ELF core, FILE@BASE of raw memory."""
    parts = tuple(_based(file) for file in files)
    return Operand(
        name=name or f"ram:{','.join([*files, registers])}",
        case=None,
        ram=Ram(files=parts, registers=Path(registers), boot=boot),
        text=_ram_text(parts, Path(registers)) if boot is None else "",
    )


def _ram_text(parts: Sequence[tuple[Path, int | None]], registers: Path) -> str:
    files = [f"{path.absolute()}" if base is None else f"{path.absolute()}@{base:#x}" for path, base in parts]
    return f"ram:{','.join([*files, str(registers.absolute())])}"


def _based(text: str) -> tuple[Path, int | None]:
    """Split FILE@BASE; a file whose own name has an @ in it is taken as it is."""
    path, at, base = text.rpartition("@")
    if not at or is_there(text):
        return Path(text), None
    try:
        return Path(path), int(base.replace("_", ""), 0)
    except ValueError:
        raise InputError(f"--ram: {text}: base {base!r} must be an address such as 0x40000000") from None


def _split(text: str, rest: str, form: str) -> tuple[Path, str]:
    path, at, tail = rest.rpartition("@")
    if not at or not path or not tail:
        raise InputError(f"{text}: expected {form}")
    if not is_file(path):
        raise InputError(f"{text}: {path}: no such file")
    return Path(path), tail


def kernel_case(name: str, path: Path, boot: str, symbol: str = "") -> Case:
    """Make a case of a person's own kernel: its routines on the path of the generation that they belong to."""
    from relocscope.emulate import generation, imported

    base = shipped_case(f"{generation(path, symbol)}-{boot}")
    return dataclasses.replace(
        base,
        name=name,
        title=f"{path.name}, {_BOOT_WORDS[boot]}",
        source=str(path),
        kernel=f"{path}@{symbol}" if symbol else str(path),
        granule_bytes=imported(path, symbol).page_bytes,
        relocate="",
        soft_restart="",
        hyp_stub="",
        kexec_vectors="",
        expect={},
    )


_BOOT_WORDS = {"el1": "booted at EL1", "nvhe": "booted at EL2 without VHE", "vhe": "booted at EL2 with VHE"}


def with_settings(
    subject: Operand, settings: Mapping[str, Any], *, core: str | None = None, sample: bool | None = None
) -> Operand:
    """Return the operand with `--core` and settings: keys of the case applied, those of the core kept for it."""
    of_case = {key: value for key, value in settings.items() if key in KEYS or key in PROGRAM_KEYS}
    of_core = {key: value for key, value in settings.items() if key not in of_case}
    groups = {key.partition(".")[0] for key in (*KEYS, *PROGRAM_KEYS) if "." in key}
    for key in of_core:
        if "." not in key or key.partition(".")[0] in groups:
            raise InputError(f"--set: {key}: {unknown_key(key, KEYS)}")
    case, ram, program = subject.case, subject.ram, subject.program
    if program is not None:
        program = program.with_settings(of_case)
    elif ram is not None:
        ram = _ram_with(ram, of_case)
    elif case is None:
        for key in of_case:
            if key not in ("initial", "seed", "core"):
                raise InputError(
                    f"--set: {key}: a recorded trace is fixed; only initial, seed and keys of the core can change"
                )
    else:
        foreign = [key for key in of_case if key not in KEYS]
        if foreign:
            raise InputError(f"--set: {foreign[0]}: belongs to program:PATH@SYMBOL, not to a case")
        case = override(case, of_case)
    return dataclasses.replace(
        subject,
        case=case,
        ram=ram,
        program=program,
        core=core or of_case.get("core") or subject.core,
        sample=subject.sample if sample is None else sample,
        core_settings={**subject.core_settings, **of_core},
        settings={**subject.settings, **settings},
    )


def _ram_with(ram: Ram, settings: Mapping[str, Any]) -> Ram:
    """Return the dump with what can be changed about it."""
    changed: dict[str, Any] = {}
    for key, value in settings.items():
        if key in _RAM_KEYS:
            changed[_RAM_KEYS[key]] = KEYS[key][1](value, f"--set: {key}")
        elif key not in ("initial", "seed", "core"):
            raise InputError(
                f"--set: {key}: a memory dump is fixed; only initial, seed, {', '.join(_RAM_KEYS)} "
                "and keys of the core can change"
            )
    return dataclasses.replace(ram, **changed)


def parse_setting(text: str) -> tuple[str, str]:
    """Split KEY=VALUE."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip() or not value.strip():
        raise InputError(f"--set: {text!r} must be KEY=VALUE")
    return key.strip(), value.strip()


def label(name: str) -> str:
    """Shorten image:, elf:, trace: and ram: operands to the (first) file's own name."""
    kind, colon, rest = name.partition(":")
    file = rest.partition(",")[0].partition("@")[0] if kind == "ram" else rest
    return f"{kind}:{file.rpartition('/')[2]}" if colon else name
