"""Case: one kexec to run, as data. A TOML file and `--set KEY=VALUE` go through the same table of keys and rules."""

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from traces.errors import InputError
from traces.reading import read_text
from traces.sizes import parse_size, size_text
from traces.toml import parse_toml

BOOTS = ("el1", "nvhe", "vhe")
TABLE_STYLES = ("none", "rfc-v1", "rfc-v2", "window", "merged")
STAGES2 = ("none", "vm", "dc")
SOURCE_PATTERNS = ("scatter", "sequential")
INITIAL_STATES = ("cold", "kernel-dirty")
OPTIONAL_PHASES = ("tables", "list-flush")
"""What a kernel does beside the relocation, in the order in which it does it."""
HASHING_PHASE = "purgatory"
"""What kexec-tools puts between the relocation and the new kernel, unless it is told not to; no part of `all`."""
OUTCOMES = ("completed", "hang", "fault", "budget")


_RAM_BYTES = 8 << 30
"""Of the default machine."""

_LABEL = {"functional": False}
"""Metadata of a field that has no part in the functional run: one run serves all its values."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """Everything that decides what is run; nothing that is found out by running it."""

    name: str = dataclasses.field(metadata=_LABEL)
    title: str = dataclasses.field(default="", metadata=_LABEL)
    source: str = dataclasses.field(default="", metadata=_LABEL)
    """Where the case stands in the history: a mail, a commit, a row of a table."""
    core: str = dataclasses.field(default="stingray", metadata=_LABEL)
    boot: str
    size_bytes: int = 25 << 20
    initial: str = dataclasses.field(default="kernel-dirty", metadata=_LABEL)
    seed: int = 1
    kdump: bool = False
    el2_switch: bool = True
    relocate: str = ""
    soft_restart: str = ""
    hyp_stub: str = ""
    kexec_vectors: str = ""
    purgatory: str = ""
    kernel: str = ""
    """Image or ELF file that the routines come from instead, with the symbol of the routine behind an @."""
    tables: str = "none"
    va_bits: int = 48
    granule_bytes: int = 4096
    leaf_bytes: int | None = None
    mair: int
    clear_xn: bool = False
    t0sz: int | None = None
    tcr_irgn: int = 1
    tcr_orgn: int = 1
    tcr_sh: int = 3
    stage2: str = "none"
    copy_sctlr_c: int | None = None
    copy_sctlr_i: int | None = None
    sources: str = "scatter"
    ram_base: int | None = None
    kimage_in_destination: bool = False
    self_copies: int | None = None
    """None: four, or as many as the image has pages."""
    memory_map: str = ""
    segments: str = ""
    instruction_budget: int | None = None
    phases: tuple[str, ...] = ()
    """Of OPTIONAL_PHASES and HASHING_PHASE: what is run and timed beside the relocation, as far as a kernel does it."""
    expect: Mapping[str, Any] = dataclasses.field(default_factory=dict, compare=False, metadata=_LABEL)
    """What its source says should come out; no part of what is run."""

    def __post_init__(self) -> None:
        if self.boot not in BOOTS:
            raise InputError(f"{self.name}: boot: {self.boot!r} must be one of {', '.join(BOOTS)}")
        if bool(self.relocate) == bool(self.kernel):
            raise InputError(f"{self.name}: routine.relocate or kernel: one of the two must be given, and not both")
        if self.boot == "nvhe" and self.relocate and not self.hyp_stub:
            raise InputError(f"{self.name}: routine.hyp_stub: must be given when boot is nvhe, it answers hvc at EL2")


def is_functional(attribute: str) -> bool:
    """Whether a field of Case decides what is run; what does not is a label, or concerns only what is timed."""
    (found,) = (entry for entry in dataclasses.fields(Case) if entry.name == attribute)
    return bool(found.metadata.get("functional", True))


def functional_part(case: Case) -> Case:
    """Return the case with every field left empty that has no part in the functional run."""
    return dataclasses.replace(case, **_no_labels())


@cache
def _no_labels() -> dict[str, Any]:
    empty = {entry.name: entry.default for entry in dataclasses.fields(Case) if not is_functional(entry.name)}
    return empty | {"name": "", "expect": {}}


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"{where}: {value!r} must be text")
    return value


_LONGEST_NUMBER = 100
"""Characters: what is cut off makes no difference to being too large."""


def _whole(value: object, where: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = _text(value, where)
    try:
        return int(text[:_LONGEST_NUMBER].replace("_", ""), 0)
    except ValueError:
        raise InputError(f"{where}: {text!r:.80} must be a whole number") from None


def _between(low: int, high: int) -> Callable[[object, str], int]:
    def parse(value: object, where: str) -> int:
        number = _whole(value, where)
        if not low <= number <= high:
            raise (
                InputError(f"{where}: {number:#x} must be between {low:#x} and {high:#x}")
                if high > 1 << 20
                else (InputError(f"{where}: {number} must be between {low} and {high}"))
            )
        return number

    return parse


def _ram_base(value: object, where: str) -> int:
    base = _between(0, (1 << 44) - _RAM_BYTES)(value, where)
    if base % (1 << 30):
        raise InputError(f"{where}: {base:#x} must be a multiple of 0x40000000")
    return base


def _truth(value: object, where: str) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    if isinstance(value, str) and value.lower() in ("true", "false", "1", "0"):
        return value.lower() in ("true", "1")
    raise InputError(f"{where}: {value!r} must be true or false")


def _shareability(value: object, where: str) -> int:
    number = _whole(value, where)
    if number not in (0, 2, 3):
        raise InputError(f"{where}: {number} must be 0 (Non-shareable), 2 (Outer) or 3 (Inner); 1 is reserved")
    return number


def _choice(*choices: str) -> Callable[[object, str], str]:
    def parse(value: object, where: str) -> str:
        if not isinstance(value, str) or value not in choices:
            raise InputError(f"{where}: {value!r} must be one of {', '.join(choices)}")
        return value

    return parse


def _size(*choices: int, low: int = 1, high: int = 1 << 40) -> Callable[[object, str], int]:
    def parse(value: object, where: str) -> int:
        size = parse_size(value, where)
        if choices and size not in choices:
            raise InputError(f"{where}: {size_text(size)} must be one of {', '.join(map(size_text, choices))}")
        if not low <= size <= high:
            raise InputError(f"{where}: {size_text(size)} must be between {size_text(low)} and {size_text(high)}")
        return size

    return parse


def _phases(value: object, where: str) -> tuple[str, ...]:
    named = value if isinstance(value, list | tuple) else [part.strip() for part in _text(value, where).split(",")]
    choices = ("loop", "all", *OPTIONAL_PHASES, HASHING_PHASE)
    for name in named:
        if name not in choices:
            raise InputError(f"{where}: {name!r} must be one of {', '.join(choices)}, or several with commas")
    kernels = tuple(phase for phase in OPTIONAL_PHASES if phase in named or "all" in named)
    return (*kernels, HASHING_PHASE) if HASHING_PHASE in named else kernels


_LEAVES = (4 << 10, 16 << 10, 64 << 10, 2 << 20, 32 << 20, 512 << 20, 1 << 30)

KEYS: Mapping[str, tuple[str, Callable[[object, str], object], str]] = {
    "title": ("title", _text, "one line for people"),
    "source": ("source", _text, "the mail, commit or table row that the case stands for"),
    "core": ("core", _text, "default core"),
    "boot": ("boot", _choice(*BOOTS), "el1, nvhe (EL2 without VHE) or vhe"),
    "size": ("size_bytes", _size(low=1, high=64 << 30), "bytes of the image that is moved"),
    "initial": ("initial", _choice(*INITIAL_STATES), "state of the caches at the start"),
    "seed": ("seed", _between(0, (1 << 32) - 1), "of the page allocator's order"),
    "kdump": ("kdump", _truth, "a crash kernel: loaded in place, nothing is copied"),
    "el2_switch": ("el2_switch", _truth, "false: the soft restart does not go up to EL2"),
    "phases": ("phases", _phases, "loop (the relocation alone); tables and list-flush, or all; purgatory; with commas"),
    "budget": ("instruction_budget", _between(1, 1 << 40), "instructions after which the run is stopped"),
    "kernel": ("kernel", _text, "kernel image or ELF file that the routines come from"),
    "routine.relocate": ("relocate", _text, "arm64_relocate_new_kernel"),
    "routine.soft_restart": ("soft_restart", _text, "cpu_soft_restart; empty where the era has none on this path"),
    "routine.hyp_stub": ("hyp_stub", _text, "the vectors at EL2"),
    "routine.kexec_vectors": ("kexec_vectors", _text, "the copy of them that kexec installs (v5.16 and later)"),
    "routine.purgatory": ("purgatory", _text, "what runs between the relocation and the new kernel"),
    "map.tables": ("tables", _choice(*TABLE_STYLES), "whose page tables the copy finds"),
    "map.va_bits": ("va_bits", _between(36, 52), "VA bits of the old kernel"),
    "map.granule": ("granule_bytes", _size(4 << 10, 16 << 10, 64 << 10), "translation granule"),
    "map.leaf": ("leaf_bytes", _size(*_LEAVES), "largest leaf used"),
    "map.mair": ("mair", _between(0, (1 << 64) - 1), "MAIR_EL1 of the old kernel"),
    "map.clear_xn": ("clear_xn", _truth, "clear bit 54 (XN at EL2) in the leaf of the relocation code"),
    "map.t0sz": ("t0sz", _between(16, 39), "T0SZ of kexec's own identity map; the era's if not given"),
    "map.tcr_irgn": (
        "tcr_irgn",
        _between(0, 3),
        "TCR.IRGN of the kernel: walks 0 Non-cacheable, 1 Write-Back, 2 Write-Through, 3 Write-Back, no write-allocate",
    ),
    "map.tcr_orgn": ("tcr_orgn", _between(0, 3), "the same of outer caches, TCR.ORGN; the weaker of the two counts"),
    "map.tcr_sh": ("tcr_sh", _shareability, "TCR.SH of them: 0 Non-shareable, 2 Outer, 3 Inner Shareable"),
    "map.stage2": ("stage2", _choice(*STAGES2), "HCR_EL2.VM or DC of a hypervisor below boot el1, with stage 2 tables"),
    "copy.sctlr_c": ("copy_sctlr_c", _between(0, 1), "SCTLR.C forced at the copy's level"),
    "copy.sctlr_i": ("copy_sctlr_i", _between(0, 1), "SCTLR.I forced at the copy's level"),
    "image.sources": ("sources", _choice(*SOURCE_PATTERNS), "order of the source pages"),
    "image.self_copies": ("self_copies", _between(0, 1 << 20), "source pages that lie where they belong"),
    "image.ram_base": ("ram_base", _ram_base, "where RAM begins (8 GiB of it); 0x80000000 if not given"),
    "image.kimage_in_destination": (
        "kimage_in_destination",
        _truth,
        "struct kimage lies in memory that the image will be copied to",
    ),
    "image.memory_map": ("memory_map", _text, "TOML or /proc/iomem text; the default fits the size"),
    "image.segments": ("segments", _text, "TOML or `kexec -d` text; the default fits the size"),
}
"""Every key of a case file and of `--set`: the field it sets, the rule for its value, and what it means."""


def _texts(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise InputError(f"{where}: {value!r} must be a list of texts")
    return tuple(value)


_EXPECT: Mapping[str, Callable[[object, str], object]] = {
    "outcome": _choice(*OUTCOMES),
    "copy_el": _between(1, 2),
    "e2h": _truth,
    "sctlr": _text,
    "mmu": _truth,
    "dcache": _truth,
    "icache": _truth,
    "entry_el": _between(0, 2),
    "image_ok": _truth,
    "image_visible": _truth,
    "lost": _truth,
    "dirty": _truth,
    "copies": _truth,
    "data_type": _text,
    "fetch_type": _text,
    "walk_type": _text,
    "fault_el": _between(0, 2),
    "fault_ec": _text,
    "hazards": _texts,
    "no_hazards": _texts,
    "source": _text,
}
"""What may be stated of a result (relocscope/reproduction.toml, a table [expect] in a case file)."""


def flattened(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a table with its tables' keys dotted: TOML's `map.leaf = 1` is `"map.leaf" = 1`."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def unknown_key(key: str, known: Mapping[str, Any] | tuple[str, ...]) -> str:
    """Say that a key is not known, with the nearest ones that are."""
    near = difflib.get_close_matches(key, list(known), n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "`relocscope run --help` lists the keys"
    return f"unknown key; {hint}"


def _fields(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for key, value in values.items():
        if key not in KEYS:
            raise InputError(f"{where}: {key}: {unknown_key(key, KEYS)}")
        attribute, parse, _ = KEYS[key]
        fields[attribute] = parse(value, f"{where}: {key}")
    return fields


def case_from_toml(text: str, *, name: str, where: str, directory: Path | None = None) -> Case:
    """Make a case from TOML text. `base = "NAME"` starts from another case; files it names lie beside `directory`."""
    document = parse_toml(text, where)
    expect = document.pop("expect", {})
    if not isinstance(expect, Mapping):
        raise InputError(f"{where}: expect: must be a table")
    base = document.pop("base", None)
    fields = _fields(flattened(document), where)
    for key in ("memory_map", "segments", "kernel"):
        if directory is not None and fields.get(key):
            fields[key] = str(directory / fields[key])
    stated = expectations(expect, where)
    if base is not None:
        inherited = shipped_case(_text(base, f"{where}: base"))
        return dataclasses.replace(inherited, name=name, expect=stated, **fields)
    for key, attribute in (("boot", "boot"), ("map.mair", "mair")):
        if attribute not in fields:
            raise InputError(f"{where}: {key}: must be given")
    return Case(name=name, expect=stated, **fields)


def expectations(expect: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Check what a file states of a result, key by key; relocscope.expectations compares it with a run."""
    stated: dict[str, Any] = {}
    for key, value in expect.items():
        if key not in _EXPECT:
            raise InputError(f"{where}: expect.{key}: {unknown_key(key, _EXPECT)}")
        stated[key] = _EXPECT[key](value, f"{where}: expect.{key}")
    return stated


def case_names() -> tuple[str, ...]:
    """Return the names of the cases that ship, in the order in which the history had them."""
    found = {entry.name.removesuffix(".toml") for entry in _shipped().iterdir() if entry.name.endswith(".toml")}
    listed = [name for name in _HISTORY if name in found]
    return (*listed, *sorted(found - set(listed)))


_HISTORY = (
    *(f"v4.19-{boot}" for boot in BOOTS),
    *(f"rfc-v1-{boot}" for boot in BOOTS),
    "rfc-v2-el1",
    "rfc-v2-nvhe",
    "rfc-v2-nvhe-xn-clear",
    "patch-v11-nvhe",
    "v12-vhe",
    "v12-guest",
    "v15-new-macro",
    "v5.16-kimage-overwritten",
    *(f"v5.17-{boot}" for boot in BOOTS),
    "kdump",
    "v4.19-guest-dc",
    "seattle-39bit",
    "purgatory-off",
    "purgatory-on",
)


def _shipped() -> Any:
    return resources.files("relocscope") / "cases"


def shipped_case(name: str) -> Case:
    """Return a case that ships, by its name."""
    if name not in case_names():
        near = [known for known in case_names() if name and known.startswith(name)]
        near = near or difflib.get_close_matches(name, case_names(), n=3, cutoff=0.4)
        hint = f"did you mean {', '.join(near)}?" if near else "`relocscope cases` lists them"
        raise InputError(f"{name!r} is no case; {hint}")
    text = (_shipped() / f"{name}.toml").read_text(encoding="utf-8")
    return case_from_toml(text, name=name, where=f"{name}.toml")


def case_from_file(path: Path) -> Case:
    """Read a person's own case; its name is the file's without the suffix."""
    return case_from_toml(read_text(path), name=path.stem, where=str(path), directory=path.parent)


def override(case: Case, values: Mapping[str, Any], *, where: str = "--set") -> Case:
    """Return the case with keys of KEYS replaced; the same names, rules and messages as in a file."""
    return dataclasses.replace(case, **_fields(values, where))
