"""Assembly text to statements: comments, labels, `.macro`, `.rept` and `.equ` are resolved here.

Keystone drops directives it does not know without a word (`.inst`, `.req`) and dies of some (`.text`), so it never sees
one: what is not listed here is refused, with file and line.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from asm.expression import evaluate
from traces.errors import InputError

_LABEL = re.compile(r"\s*([A-Za-z_.$][\w.$]*)\s*:")
_NAME = re.compile(r"[A-Za-z_.][\w.]*\Z")
_BLOCK_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)

MOST_STATEMENTS = 65536
_DEEPEST_MACRO = 16
_IGNORED = frozenset({".globl", ".global", ".type", ".size"})
_DATA = {".byte": 1, ".hword": 2, ".word": 4, ".quad": 8}
_ALIGNMENTS = frozenset({".align", ".p2align", ".balign"})
_LARGEST_ALIGNMENT = 4096


@dataclass(frozen=True, slots=True)
class Line:
    """One statement's text and the line of the file that it comes from."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Label:
    """A name for the address of what follows."""

    number: int
    name: str


@dataclass(frozen=True, slots=True)
class Data:
    """`.byte` to `.quad`: values that may name labels."""

    number: int
    width: int
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Align:
    """Fill with nop up to a multiple of `boundary` bytes."""

    number: int
    boundary: int


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, still with names in it."""

    number: int
    mnemonic: str
    operands: str

    @property
    def text(self) -> str:
        """The instruction as written."""
        return f"{self.mnemonic} {self.operands}".strip()


Statement = Label | Data | Align | Instruction


@dataclass(frozen=True, slots=True)
class _Macro:
    parameters: tuple[str, ...]
    body: tuple[Line, ...]


@dataclass(slots=True)
class Source:
    """A source file being read: what it has defined so far."""

    name: str
    constants: dict[str, int] = field(default_factory=dict)
    macros: dict[str, _Macro] = field(default_factory=dict)
    expansions: int = 0
    statements: int = 0

    def error(self, number: int, problem: str) -> InputError:
        """Return the one-line refusal of something on line `number`."""
        return InputError(f"{self.name}:{number}: {problem}")

    def parse(self, text: str) -> list[Statement]:
        """Return the statements of a whole source, macros expanded."""
        return list(self._statements(_lines(text), depth=0))

    def constant(self, number: int, text: str) -> int:
        """Return the value of an expression over `.equ` names."""
        try:
            return evaluate(text, self.constants)
        except ValueError as problem:
            raise self.error(number, str(problem)) from None

    def _statements(self, lines: list[Line], depth: int) -> Iterator[Statement]:
        at = 0
        while at < len(lines):
            line = lines[at]
            text = line.text
            while label := _LABEL.match(text):
                yield Label(line.number, label[1])
                text = text[label.end() :]
            mnemonic, _, operands = text.strip().partition(" ")
            mnemonic, operands = mnemonic.lower(), operands.strip()
            at += 1
            if not mnemonic:
                continue
            self.statements += 1
            if self.statements > MOST_STATEMENTS:
                raise self.error(line.number, f"more than {MOST_STATEMENTS} statements")
            if mnemonic in (".macro", ".rept"):
                end = self._end_of(lines, at - 1, mnemonic)
                body = lines[at:end]
                at = end + 1
                if mnemonic == ".macro":
                    self._define(line, operands, body)
                else:
                    yield from self._repeat(line, operands, body, depth)
            elif mnemonic in self.macros:
                yield from self._expand(line, self.macros[mnemonic], operands, depth)
            elif mnemonic.startswith("."):
                yield from self._directive(line, mnemonic, operands)
            else:
                yield Instruction(line.number, mnemonic, operands)

    def _end_of(self, lines: list[Line], start: int, opening: str) -> int:
        closing = {".macro": ".endm", ".rept": ".endr"}[opening]
        depth = 1
        for at in range(start + 1, len(lines)):
            text = lines[at].text
            while label := _LABEL.match(text):
                text = text[label.end() :]
            first = text.split(maxsplit=1)[:1]
            depth += (first == [opening]) - (first == [closing])
            if not depth:
                return at
        raise self.error(lines[start].number, f"{opening} without {closing}")

    def _define(self, line: Line, operands: str, body: list[Line]) -> None:
        name, *parameters = operands.replace(",", " ").split() or [""]
        if not all(_NAME.match(word) for word in (name, *parameters)):
            raise self.error(line.number, f"{operands!r} is not a macro's name and parameters")
        self.macros[name.lower()] = _Macro(tuple(parameters), tuple(body))

    def _expand(self, line: Line, macro: _Macro, operands: str, depth: int) -> Iterator[Statement]:
        arguments = [argument.strip() for argument in operands.split(",")] if operands else []
        if len(arguments) != len(macro.parameters):
            raise self.error(line.number, f"macro takes {len(macro.parameters)} arguments, not {len(arguments)}")
        if depth >= _DEEPEST_MACRO:
            raise self.error(line.number, "macros nested too deeply")
        self.expansions += 1
        words = {**dict(zip(macro.parameters, arguments, strict=True)), "@": str(self.expansions)}
        parameter = re.compile(r"\\(@|[A-Za-z_]\w*)")

        def argument(match: re.Match[str]) -> str:
            if match[1] not in words:
                raise self.error(line.number, f"macro has no parameter {match[1]!r}")
            return words[match[1]]

        # An error inside a macro is reported at the line that uses it: its arguments are there.
        body = [Line(line.number, parameter.sub(argument, each.text)) for each in macro.body]
        yield from self._statements(body, depth + 1)

    def _repeat(self, line: Line, operands: str, body: list[Line], depth: int) -> Iterator[Statement]:
        if depth >= _DEEPEST_MACRO:
            raise self.error(line.number, ".rept nested too deeply")
        count = self.constant(line.number, operands)
        if not 0 <= count <= MOST_STATEMENTS:
            raise self.error(line.number, f".rept {count}: must be 0 to {MOST_STATEMENTS}")
        for _ in range(count):
            yield from self._statements(body, depth + 1)

    def _directive(self, line: Line, mnemonic: str, operands: str) -> Iterator[Statement]:
        if mnemonic in _IGNORED:
            return
        if mnemonic in (".equ", ".set"):
            name, comma, value = operands.partition(",")
            if not comma or not _NAME.match(name.strip()):
                raise self.error(line.number, f"{mnemonic} needs a name and a value, not {operands!r}")
            self.constants[name.strip()] = self.constant(line.number, value)
        elif mnemonic in _DATA:
            values = tuple(value.strip() for value in operands.split(","))
            if not all(values):
                raise self.error(line.number, f"{mnemonic} without a value")
            yield Data(line.number, _DATA[mnemonic], values)
        elif mnemonic in _ALIGNMENTS:
            boundary = self.constant(line.number, operands)
            if mnemonic != ".balign":
                boundary = 1 << boundary if 0 <= boundary < 32 else 0
            if not 0 < boundary <= _LARGEST_ALIGNMENT or boundary & (boundary - 1):
                raise self.error(line.number, f"{mnemonic} {operands}: must be a power of two up to 4096 bytes")
            yield Align(line.number, boundary)
        else:
            raise self.error(line.number, f"directive {mnemonic} is not supported")


def _lines(text: str) -> list[Line]:
    """Split a source into statements without comments; block comments keep the count of lines."""
    text = _BLOCK_COMMENT.sub(lambda comment: "\n" * comment[0].count("\n") or " ", text)
    lines = []
    for number, line in enumerate(text.splitlines(), start=1):
        code = line.partition("//")[0]
        if not code.lstrip().startswith("#"):
            lines += [Line(number, part.strip().replace("\t", " ")) for part in code.split(";") if part.strip()]
    return lines
