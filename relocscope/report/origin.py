"""Origin: the numbers of the modelled core, each with its source, and how to make a report again."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from relocscope.runs import Run
from traces.digest import digest
from traces.sizes import size_text

if TYPE_CHECKING:
    from caches import CoreConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Number:
    """One number of a core. `estimated`: what else it may be, where it was read nowhere."""

    key: str
    value: str
    source: str
    estimated: str
    calibrated: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Core:
    """A core as it was modelled, settings applied."""

    name: str
    title: str
    numbers: tuple[Number, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reproduction:
    """What makes the same report again, and what tells whether it is the same."""

    command: str
    version: str
    hashes: tuple[Mapping[str, str], ...]
    """{what, sha256} of each run's routine and trace."""


def core_of(config: "CoreConfig") -> Core:
    """List every number of the core."""
    numbers: list[Number] = []
    for key, origin in sorted(config.provenance.items()):
        value = config.value(key)
        numbers.append(
            Number(
                key=key,
                value=_written(key, value),
                source="set for this report" if origin.source == "override" else origin.source,
                estimated=" to ".join(_written(key, each) for each in origin.estimated),
                calibrated=key in config.calibrated,
            )
        )
    return Core(name=config.name, title=config.title, numbers=tuple(numbers))


_SIZES = ("size", "interleave", "row", "zva")


def _written(key: str, value: Any) -> str:
    if key.rpartition(".")[2] in _SIZES and isinstance(value, int):
        return size_text(value)
    if isinstance(value, tuple | list):
        return ", ".join(_written(key, each) for each in value)
    return str(value).lower() if isinstance(value, bool) else str(getattr(value, "name", value)).lower()


def reproduction(arguments: Sequence[str], runs: Mapping[str, Run]) -> Reproduction:
    """Say how to make it again; `arguments` are those of the command line after `relocscope`."""
    hashes = []
    for which, run in runs.items():
        if run.routine.get("sha256"):
            hashes.append({"what": f"{which}: routine {run.routine.get('name')}", "sha256": run.routine["sha256"]})
        hashes.append({"what": f"{which}: trace", "sha256": digest(run.trace)})
    command = shlex.join(["relocscope", *arguments])
    return Reproduction(command=command, version=version("relocscope"), hashes=tuple(hashes))


def set_options(values: Mapping[str, Any]) -> str:
    """Write settings as the command line takes them."""
    return " ".join(
        f"--set {key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in values.items()
    )
