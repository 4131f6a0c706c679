"""The file of what history says each case does."""

import tomllib
from importlib import resources

ROWS = tomllib.loads((resources.files("relocscope") / "reproduction.toml").read_text(encoding="utf-8"))["row"]


def test_every_reproduction_row_states_what_is_expected_and_where_it_stands():
    identifiers = [row["id"] for row in ROWS]
    assert len(set(identifiers)) == len(identifiers)
    assert {f"R{number}" for number in range(1, 24)} <= set(identifiers)
    for row in ROWS:
        assert row["source"], row["id"]
        assert {"outcome"} <= set(row["expect"]), row["id"]
        assert all(set(time) <= {"of", "least", "most"} and time["of"] in identifiers for time in row.get("time", []))
