"""Theories: the three questions that the history asks come out as they did; bad input is one line."""

import json

import jsonschema
import pytest
from click.testing import CliRunner

import relocscope
from relocscope.cli import relocscope as command
from traces.errors import InputError

T1, T1_SAME, T4 = "37MB=0.35:off", "37MB=0.35:on", "380MB=3.58:off"
T2 = ("25MB=0.440510736:off", "25MB=0.022158152:on")


def ranks(*observed: str) -> list[set[str]]:
    """Hypotheses that share a rank, likeliest first, of more than one in a thousand."""
    ranked = relocscope.theories(observed, core="stingray").to_json()["ranked"]
    groups: dict[int, set[str]] = {}
    for one in ranked:
        if one["probability"] > 0.001:
            groups.setdefault(one["rank"], set()).add(one["id"])
    return [groups[rank] for rank in sorted(groups)]


@pytest.mark.slow
def test_no_change_with_the_mmu_on_means_that_the_copy_ran_elsewhere():
    assert "copy-at-untranslated-el" in ranks(T1, T1_SAME)[0]


@pytest.mark.slow
def test_the_control_experiment_rules_that_out():
    assert "copy-at-untranslated-el" not in ranks(T1, *T2)[0]


@pytest.mark.slow
def test_three_sizes_that_disagree_mean_that_one_was_misreported():
    found = relocscope.theories([T1, T4, *T2], core="stingray").to_json()
    schema = json.loads((relocscope_schemas() / "theories.json").read_text())
    jsonschema.validate(found, schema)
    assert sum(one["probability"] for one in found["ranked"]) == pytest.approx(1)
    first = next(one for one in found["ranked"] if one["id"] == "size-misreported")
    assert first["probability"] == max(one["probability"] for one in found["ranked"])
    assert any(size in first["sentence"] for size in ("47", "48"))


def relocscope_schemas():
    from importlib import resources

    return resources.files("relocscope") / "schemas"


@pytest.mark.parametrize("text", ["37MB", "37MB=x:off", "37MB=0.35:maybe", "=0.35:off", "37MB=-1:off"])
def test_an_observation_that_is_none_is_refused(text: str):
    result = CliRunner().invoke(command, ["theories", "--core", "stingray", "--observed", text], standalone_mode=False)
    assert isinstance(result.exception, InputError)
    assert "\n" not in str(result.exception)
