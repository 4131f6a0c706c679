"""docs/timing-model.md names every switch, and only switches, keys and tests that there are."""

import re
from pathlib import Path

import caches
from caches.parts import PARTS

ROOT = Path(__file__).parents[2]


def table():
    """(what, switches, keys, tests) of each row."""
    section = (ROOT / "docs" / "timing-model.md").read_text(encoding="utf-8").split("## Mechanisms, their switches")[1]
    rows = [line.split(" | ") for line in section.split("\n## ")[0].splitlines() if line.startswith("| ")]
    return [(row[0].lstrip("| "), *(re.findall(r"`([^`]+)`", cell) for cell in row[1:])) for row in rows[1:]]


def test_every_mechanism_has_a_row_and_every_row_has_tests_that_exist():
    rows = table()
    assert {name for _, switches, _, _ in rows for name in switches} == {one.name for one in caches.mechanisms()}
    sources = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    defined = set(re.findall(r"^def (test_\w+)", sources, re.MULTILINE))
    for what, _, keys, tests in rows:
        assert tests, what
        assert set(tests) <= defined, what
        for key in keys:
            part, _, field = key.partition(".")
            assert field in PARTS[part].__dataclass_fields__, key
