"""Points: each row of a plan made concrete, or refused by name, before anything runs."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relocscope.bare_program import PROGRAM_KEYS
from relocscope.case import KEYS, Case, functional_part
from relocscope.comparison import sides_of
from relocscope.operand import Operand, operand, with_settings
from relocscope.runs import check_boot, core_config, default_core, start_of
from relocscope.sweeping.designs import Row
from relocscope.sweeping.keys import bare
from relocscope.sweeping.plan import Plan
from relocscope.sweeping.versions import capture_version
from traces.errors import InputError

if TYPE_CHECKING:
    from caches import CoreConfig
    from caches.parts import Part


@dataclass(frozen=True, slots=True)
class Replayed:
    """What one replay depends on, beside the trace."""

    config: "CoreConfig"
    initial: str
    seed: int
    sample: bool

    @property
    def config_hash(self) -> str:
        """Digest of every number of the core; its name and title are none."""
        from caches.parts import PARTS

        return _digest({table: _numbers(getattr(self.config, table)) for table in PARTS})

    def bare(self) -> "Replayed":
        """Return the same without what only people read: what is handed to other processes."""
        from caches.presets import without_provenance

        return dataclasses.replace(self, config=without_provenance(self.config))


@dataclass(frozen=True, slots=True)
class Side:
    """One case at one point: what has to be captured and how it is to be replayed; or why it cannot be."""

    case: str
    subject: Operand | None
    capture: str
    """Key of what the functional run depends on: equal keys, equal traces."""
    replayed: Replayed | None
    impossible: str = ""

    def value(self, name: str) -> Any:
        """Return the value in force of a key, as tables have it; None where there is none."""
        if self.subject is None or self.replayed is None:
            return None
        if name == "core":
            return self.replayed.config.name
        if self.subject.program is not None and name in PROGRAM_KEYS:
            return plain_value(getattr(self.subject.program, PROGRAM_KEYS[name][0]))
        if name not in KEYS:
            return plain_value(self.replayed.config.value(name))
        if self.subject.case is None:
            return plain_value(self.subject.settings.get(name))
        return plain_value(getattr(self.subject.case, KEYS[name][0]))


@dataclass(frozen=True, slots=True)
class Point:
    """One row of a plan: a side for each of its cases."""

    index: int
    row: Row
    sides: tuple[Side, ...]

    @property
    def label(self) -> str:
        """Name the point for people."""
        return f"point {self.index} ({', '.join(f'{name}={value}' for name, value in self.row.items())})"


class Resolver:
    """Makes points of a plan's rows: cases are read once, captures get their keys once."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._subjects = tuple(operand(case) for case in plan.cases)

    def points(self) -> Iterator[Point]:
        """Yield every point. Raises InputError at one that cannot be, unless the plan skips those."""
        for index, row in enumerate(self._plan.rows()):
            point = Point(index, row, self._sides(row))
            wrong = next((side.impossible for side in point.sides if side.impossible), "")
            if wrong and not self._plan.skip_impossible:
                raise InputError(f"{point.label}: {wrong}")
            yield point

    def base(self) -> Side | None:
        """Return the case unchanged, which speed-ups are over; None where two cases are compared."""
        return self._sides({})[0] if len(self._subjects) == 1 else None

    def _sides(self, row: Row) -> tuple[Side, ...]:
        plan = self._plan
        settings = {**plan.settings, **row}
        try:
            if len(self._subjects) == 1:
                made: tuple[Operand, ...] = (with_settings(self._subjects[0], settings, core=_core(plan, row)),)
            else:
                one, other = self._subjects
                made = sides_of((one, other), settings, core=_core(plan, row))
            return tuple(self._side(case, subject) for case, subject in zip(plan.cases, made, strict=True))
        except InputError as error:
            wrong = str(error).removeprefix("--set: ")
            return tuple(Side(case, None, "", None, wrong) for case in plan.cases)

    def _side(self, name: str, subject: Operand) -> Side:
        if subject.core is None:
            subject = dataclasses.replace(subject, core=default_core(subject))
        config = core_config(subject)
        check_boot(subject, config)
        initial, seed = start_of(subject)
        return Side(name, subject, capture_key(subject), Replayed(config, initial, seed, self._plan.sample))


def _core(plan: Plan, row: Row) -> str | None:
    """Return the core asked for; one that is swept is asked for by its row."""
    return None if "core" in {bare(name) for name in row} else plan.core


def capture_key(subject: Operand) -> str:
    """Return the digest of all that the functional run depends on: fields, the content of files, our own sources."""
    facts: dict[str, Any]
    if subject.case is not None:
        case = functional_part(subject.case)
        facts = {"case": _fields(case)}
        named = [case.kernel.partition("@")[0], case.memory_map, case.segments]
    elif subject.ram is not None:
        facts = {
            "boot": subject.ram.boot,
            "ci": [subject.ram.sctlr_c, subject.ram.sctlr_i],
            "budget": subject.ram.budget,
        }
        facts["bases"] = [base for _, base in subject.ram.files]
        named = [str(path) for path, _ in subject.ram.files] + [str(subject.ram.registers)]
    elif subject.program is not None:
        facts, named = dataclasses.asdict(subject.program), [str(subject.program.path)]
        facts["path"] = ""
    else:
        facts, named = {}, [str(subject.trace_path)]
    facts["contents"] = [file_digest(name) for name in named if name]
    return _digest({"facts": facts, "version": capture_version()})


@lru_cache(maxsize=1024)
def _fields(case: Case) -> str:
    return json.dumps(dataclasses.asdict(case), sort_keys=True)


def file_digest(name: str) -> str:
    """Return the SHA-256 of a file that a case names; InputError where it cannot be read."""
    try:
        stat = Path(name).stat()
        return _content(name, stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror}") from None


@lru_cache(maxsize=64)
def _content(name: str, _changed_ns: int, _size: int) -> str:
    with Path(name).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@lru_cache(maxsize=1024)
def _numbers(part: "Part") -> str:
    """Return every number of a core's part as text, the same for 100 and 100.0 where fractions are allowed."""
    found: dict[str, Any] = {}
    for entry in dataclasses.fields(part):
        value = getattr(part, entry.name)
        found[entry.name] = float(value) if entry.type is float else plain_value(value)
    return json.dumps(found, sort_keys=True, allow_nan=False)


def plain_value(value: Any) -> Any:
    """Return a value as tables and JSON have it: numbers, truth, text or None."""
    if isinstance(value, Enum):
        return value.name.lower().replace("_", "-")
    if isinstance(value, tuple | list):
        return ",".join(map(str, value))
    return value


def _digest(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True, allow_nan=False).encode()).hexdigest()
