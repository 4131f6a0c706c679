import importlib.metadata
import importlib.resources
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from command_line import Relocscope

from relocscope import cli
from relocscope.commands import trace

pytestmark = pytest.mark.usefixtures("fake_model")



def schema(name: str) -> Any:
    return json.loads((importlib.resources.files("relocscope") / "schemas" / f"{name}.json").read_text())


def valid(text: str, name: str) -> Any:
    result = json.loads(text)
    jsonschema.Draft202012Validator(schema(name)).validate(result)
    return result


SMALL = ("--size", "64KiB")


def test_explain_without_arguments_answers_the_founding_question(relocscope: Relocscope):
    status, out, err = relocscope("explain", *SMALL)
    assert (status, err) == (0, "")
    assert "Verdict: copy-outside-translated-regime, speed-up 1.0" in out
    flat = " ".join(out.split())
    assert "its copy ran at EL2 with SCTLR_EL2.M=C=I=0" in flat
    assert "EL1&0 regime only" in flat
    assert "Copy at EL1" in flat
    assert "--set: el2_switch=false" in flat


def test_explain_json_is_pure_valid_and_exact(relocscope: Relocscope):
    status, out, err = relocscope("explain", *SMALL, "--json", "-")
    assert (status, err) == (0, "")
    result = valid(out, "explain")
    assert result["verdict"]["cause"] == "copy-outside-translated-regime"
    assert sum(one["cycles"] for one in result["contributions"]) == result["a"]["cycles"] - result["b"]["cycles"]
    speedups = [fix["speedup"] for fix in result["fixes"]]
    assert speedups == sorted(speedups, reverse=True)
    assert any(fix["set"] == {"el2_switch": False} for fix in result["fixes"])
    assert any("clear_xn" in str(fix["set"]) for fix in result["fixes"])
    assert result["b"]["copy"]["el"] == 2
    assert result["b"]["copy"]["memory_types"]["data"].keys() == {"Device-nGnRnE"}


def test_explain_takes_settings_for_one_side(relocscope: Relocscope):
    status, out, _ = relocscope(
        "explain", "v4.19-nvhe", "v5.17-nvhe", *SMALL, "--set", "b.copy.sctlr_c=0", "--json", "-"
    )
    assert status == 0
    assert json.loads(out)["verdict"]["cause"] == "dcache-off"


def test_explain_finds_the_freeze_and_its_cure(relocscope: Relocscope):
    status, out, _ = relocscope("explain", "v4.19-nvhe", "rfc-v2-nvhe", *SMALL, "--json", "-")
    result = valid(out, "explain")
    assert status == 0
    assert result["verdict"]["cause"] == "hang"
    assert "XN" in result["verdict"]["sentence"]
    assert result["speedup"] is None
    said = {json.dumps(fix["set"]): fix["sentence"] for fix in result["fixes"]}
    assert all(fix["speedup"] is None for fix in result["fixes"])
    assert "it arrives" in said['{"map.clear_xn": true}']
    assert ", at EL2;" in said['{"map.clear_xn": true}']
    assert "at EL1, though the machine booted at EL2" in said['{"el2_switch": false}']


def test_a_hang_has_nothing_to_decompose_and_no_speed_up(relocscope: Relocscope):
    status, out, _ = relocscope("explain", "v4.19-nvhe", "rfc-v2-nvhe", *SMALL)
    assert status == 0
    assert "Verdict: hang\n" in out
    assert "Nothing to decompose: what a run costs that never arrives" in out


def test_run_json_is_pure_and_valid_for_every_case(relocscope: Relocscope):
    import relocscope as api

    for case in api.cases():
        status, out, err = relocscope("run", case, "--size", "1MiB", "--json", "-")
        result = valid(out, "run")
        assert err == ""
        assert status == (0 if result["outcome"] == "completed" else 1)
        assert sum(result["cycle_stack"].values()) == result["cycles"]


def test_two_equal_runs_differ_in_host_only(relocscope: Relocscope):
    first, second = (json.loads(relocscope("run", "v5.17-nvhe", *SMALL, "--json", "-")[1]) for _ in range(2))
    del first["host"], second["host"]
    assert first == second


def test_json_file_beside_text(relocscope: Relocscope, tmp_path: Path):
    status, out, _ = relocscope("run", "rfc-v1-nvhe", *SMALL, "--json", str(tmp_path / "run.json"))
    assert status == 0
    assert "Device-nGnRnE" in out
    valid((tmp_path / "run.json").read_text(), "run")


def test_lists(relocscope: Relocscope):
    for name in ("cases", "cores", "mechanisms"):
        status, out, err = relocscope(name)
        assert (status, err) == (0, "")
        assert "\x1b" not in out
        listed = valid(relocscope(name, "--json", "-")[1], name)[name]
        assert len(out.splitlines()) == 1 + len(listed)  # one line each, below a heading


def test_all_cases_do_what_their_sources_say(relocscope: Relocscope):
    out = relocscope("cases", "--run-all", "--size", "1MiB", "--json", "-")[1]
    result = valid(out, "cases")
    # What caches leave behind, and times, are for the real model: the fake one has no caches.
    modelled = ("image_visible", "lost", "dirty:", "time")
    wrong = {row["id"]: [m for m in row["mismatches"] if not m.startswith(modelled)] for row in result["rows"]}
    assert {name: found for name, found in wrong.items() if found} == {}
    assert all(case["found"]["outcome"] == case["expect"]["outcome"] for case in result["cases"])


def test_a_row_that_the_settings_leave_no_sense_is_refused_and_the_others_go_on(relocscope: Relocscope):
    status, out, err = relocscope("cases", "--run-all", *SMALL)
    assert err == ""
    assert "R14   cannot run: kimage_in_destination: the image covers no page" in out
    assert "R23" in out
    assert status == 1  # the model of this test knows no caches


def test_trace_files_from_the_command_line(relocscope: Relocscope, tmp_path: Path):
    path = tmp_path / "t.trace"
    assert relocscope("trace", "record", "rfc-v1-nvhe", *SMALL, "-o", str(path))[0] == 0
    info = valid(relocscope("trace", "info", str(path), "--json", "-")[1], "trace")
    assert info["meta"]["boot"] == "nvhe"
    assert valid(relocscope("trace", "check", str(path), "--json", "-")[1], "trace-check")["broken"] == []
    assert "keeps all its promises" in relocscope("trace", "check", str(path))[1]
    live = json.loads(relocscope("run", "rfc-v1-nvhe", *SMALL, "--json", "-")[1])
    replayed = json.loads(relocscope("trace", "replay", str(path), "--set", "initial=kernel-dirty", "--json", "-")[1])
    for result in (live, replayed):
        del result["host"], result["case"]
    assert replayed == live
    both = json.loads(
        relocscope("explain", "v4.19-nvhe", f"trace:{path}", *("--set", "a.size=64KiB"), "--json", "-")[1]
    )
    assert both["verdict"]["cause"] == "copy-outside-translated-regime"
    assert both["fixes"] == []


def test_a_case_of_ones_own(relocscope: Relocscope, tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text('base = "rfc-v1-nvhe"\ntitle = "mine"\nsize = "64KiB"\n[expect]\ncopy_el = 2\n')
    result = json.loads(relocscope("run", str(path), "--json", "-")[1])
    assert (result["case"], result["image_bytes"], result["copy"]["el"]) == ("mine", 65536, 2)


def write(directory: Path, name: str, text: str | bytes) -> str:
    path = directory / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


GOOD = 'boot = "el1"\n[routine]\nrelocate = "relocate-v4.19"\n[map]\nmair = 1\n'

BAD = {
    "no such command": (["fly"], "fly"),
    "no such option": (["run", "--fast"], "--fast"),
    "no such case": (["run", "rfc-v1"], "rfc-v1-nvhe"),
    "no case": (["run"], "CASE"),
    "case that is a path": (["run", "/etc/passwd"], "image:PATH@BOOT"),
    "third operand": (["explain", "a", "b", "c"], "c"),
    "setting without value": (["run", "kdump", "--set", "size"], "KEY=VALUE"),
    "setting with empty value": (["run", "kdump", "--set", "size="], "KEY=VALUE"),
    "unknown key": (["run", "kdump", "--set", "copy.sctlr_m=1"], "copy.sctlr_m"),
    "unknown plain key": (["run", "kdump", "--set", "sized=1"], "size"),
    "unknown core key": (["run", "kdump", "--set", "l1d.colour=red"], "l1d.colour"),
    "unknown core part": (["run", "kdump", "--set", "flux.size=1"], "flux"),
    "bad core value": (["run", "kdump", "--set", "l2.size=big"], "l2.size"),
    "negative size": (["run", "kdump", "--size", "-25MiB"], "-25MiB"),
    "empty image": (["run", "kdump", "--size", "0"], "size"),
    "absurd size": (["run", "v4.19-el1", "--size", "60GiB"], "size"),
    "bad boot": (["run", "kdump", "--set", "boot=el3"], "el1, nvhe, vhe"),
    "bad bit": (["run", "kdump", "--set", "copy.sctlr_c=2"], "between 0 and 1"),
    "bad walk attribute": (["run", "kdump", "--set", "map.tcr_irgn=4"], "between 0 and 3"),
    "reserved shareability": (["run", "kdump", "--set", "map.tcr_sh=1"], "map.tcr_sh: 1 must be 0"),
    "bad leaf": (["run", "kdump", "--set", "map.leaf=3MiB"], "2MiB"),
    "bad seed": (["run", "kdump", "--set", "seed=x"], "seed"),
    "no such core": (["run", "kdump", "--core", "z80"], "z80"),
    "no such core file": (["run", "kdump", "--core", "none.toml"], "none.toml"),
    "VHE on an A72": (["run", "v5.17-vhe", "--core", "stingray"], "VHE"),
    "routine that is not there": (["run", "v4.19-el1", "--set", "routine.relocate=relocate-v9"], "relocate-v9"),
    "tables of another routine": (["run", "v5.17-el1", "--set", "map.tables=none"], "tables"),
    "kernel without boot": (["run", "--kernel", "Image"], "--boot"),
    "boot without kernel": (["run", "kdump", "--boot", "el1"], "--boot"),
    "kernel and case": (["run", "kdump", "--kernel", "Image", "--boot", "el1"], "--kernel"),
    "kernel that is not there": (["run", "--kernel", "/no/Image", "--boot", "el1"], "/no/Image"),
    "image without boot": (["run", "image:/etc/passwd"], "image:PATH@el1"),
    "image with odd boot": (["run", "image:/etc/passwd@el9"], "el9"),
    "elf without symbol": (["run", "elf:/etc/passwd"], "elf:PATH@SYMBOL"),
    "empty trace": (["run", "trace:"], "trace:FILE"),
    "trace that is not there": (["run", "trace:/no/such.trace"], "/no/such.trace"),
    "trace that is not one": (["run", "trace:/etc/passwd"], "/etc/passwd"),
    "trace with case keys": (["run", "trace:x", "--set", "boot=el1"], "boot"),
    "size of a trace": (["run", "trace:x", "--size", "4096"], "size"),
    "json to nowhere": (["cores", "--json", "/no/dir/x.json"], "/no/dir/x.json"),
    "json to a directory": (["cores", "--json", "/"], "--json"),
    "trace info of nothing": (["trace", "info", "/no/t"], "/no/t"),
    "record of a trace": (["trace", "record", "trace:x", "-o", "y"], "trace:x"),
    "record to nowhere": (["trace", "record", "kdump", "--size", "64KiB", "-o", "/no/dir/t"], "/no/dir/t"),
    "cases of no file": (["cases", "v4.19-el1"], "must be a case file"),
    "set without run-all": (["cases", "--size", "4KiB"], "--run-all"),
    "one-sided key of nothing": (["explain", "--set", "b.copy.sctlr_x=1"], "copy.sctlr_x"),
    "negative budget": (["run", "kdump", "--set", "budget=-1"], "budget"),
    "list instead of image": (["import", "/etc"], "/etc"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_status_2(relocscope: Relocscope, name: str):
    arguments, words = BAD[name]
    status, out, err = relocscope(*arguments)
    assert (status, out) == (2, ""), err
    assert err.count("\n") == 1
    assert words in err
    assert "Traceback" not in err


OWN = 'base = "v4.19-el1"\nsize = "64KiB"\n[expect]\noutcome = "completed"\ncopy_el = 1\nsource = "me"\n'


def test_what_a_case_file_expects_is_compared_by_run_and_by_cases(relocscope: Relocscope, tmp_path: Path):
    right, wrong = write(tmp_path, "right.toml", OWN), write(tmp_path, "wrong.toml", OWN.replace("= 1", "= 2"))
    status, out, _ = relocscope("run", right)
    assert status == 0
    assert "As expected (table expect of the case file)" in out
    assert valid(relocscope("run", right, "--json", "-")[1], "run")["mismatches"] == []
    status, out, _ = relocscope("run", wrong)
    assert status == 1
    assert "Not as expected" in out
    assert "copy_el: expected 2, found 1" in out
    assert valid(relocscope("run", wrong, "--json", "-")[1], "run")["mismatches"] == ["copy_el: expected 2, found 1"]
    assert "mismatches" not in json.loads(relocscope("run", "v4.19-el1", *SMALL, "--json", "-")[1])
    status, out, _ = relocscope("cases", "--run-all", right, wrong)
    assert status == 1
    assert "1 of 2 as expected, 1 not" in out
    found = valid(relocscope("cases", "--run-all", right, "--json", "-")[1], "cases")
    assert [(row["id"], row["source"], row["mismatches"]) for row in found["rows"]] == [("right", "me", [])]
    assert [(case["name"], case["mismatches"]) for case in found["cases"]] == [("right", [])]
    odd = write(tmp_path, "odd.toml", OWN + '[map]\ntables = "window"\n')  # its routine brings no window
    assert relocscope("cases", "--run-all", odd)[0] == 1
    status, _, err = relocscope("cases", write(tmp_path, "bare.toml", 'base = "v4.19-el1"\n'))
    assert (status, err.count("\n")) == (2, 1)
    assert "bare.toml: expect: must be given" in err
    assert [case["name"] for case in valid(relocscope("cases", right, "--json", "-")[1], "cases")["cases"]] == ["right"]


BAD_FILES = {
    "not TOML": ("x = [", "not TOML"),
    "binary": (b"\xff\xfe\x00", "not UTF-8 text"),
    "unknown key": (GOOD + "[copy]\nspeed = 1\n", "copy.speed"),
    "wrong type": (GOOD.replace('"el1"', "1"), "boot"),
    "missing boot": (GOOD.replace('boot = "el1"\n', ""), "boot: must be given"),
    "missing mair": (GOOD.replace("mair = 1", 'tables = "none"'), "map.mair: must be given"),
    "no routine": ('boot = "el1"\n[map]\nmair = 1\n', "routine.relocate"),
    "no stub": (GOOD.replace('"el1"', '"nvhe"'), "routine.hyp_stub"),
    "unknown base": ('base = "rfc-v3"\n', "rfc-v3"),
    "odd expectation": (GOOD + "[expect]\nspeed = 1\n", "expect.speed"),
    "wrong expectation": (GOOD + '[expect]\ncopy_el = "four"\n', "expect.copy_el"),
    "hazards no list": (GOOD + '[expect]\nhazards = "x"\n', "expect.hazards"),
    "deep": ("x = " + "[" * 100_000, "not TOML"),
    "map that is not there": ('base = "v4.19-el1"\n[image]\nmemory_map = "none.txt"\n', "none.txt"),
    "segments that are not there": ('base = "v4.19-el1"\n[image]\nsegments = "none.txt"\n', "none.txt"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_case_files_are_one_line_that_names_the_file(relocscope: Relocscope, tmp_path: Path, name: str):
    text, words = BAD_FILES[name]
    path = write(tmp_path, "mine.toml", text)
    status, out, err = relocscope("run", path)
    assert (status, out) == (2, ""), err
    assert err.count("\n") == 1
    assert words in err


def test_missing_case_file(relocscope: Relocscope):
    assert relocscope("run", "none.toml")[0] == 2


def test_every_command_has_help(relocscope: Relocscope):
    commands = cli.relocscope.commands | {f"trace {name}": each for name, each in trace.trace.commands.items()}
    for command in ("", *commands):
        status, out, err = relocscope(*command.split(), "--help")
        assert (status, err) == (0, "")
        assert out.startswith("Usage: ")
    assert relocscope()[1] == relocscope("--help")[1]


def test_version_is_one_line_of_ours_and_one_a_component(relocscope: Relocscope):
    first, *components = relocscope("--version")[1].splitlines()
    assert first.startswith(f"relocscope {importlib.metadata.version('relocscope')} (")
    assert [line.split()[0] for line in components] == [
        "python", "unicorn", "capstone", "keystone-engine", "numba", "llvmlite", "numpy"
    ]  # fmt: skip
    assert dict(line.split() for line in components)["numpy"] == importlib.metadata.version("numpy")


def test_the_man_page_has_every_command_and_option(relocscope: Relocscope):
    status, page, _ = relocscope("man")
    assert status == 0
    for name in [*cli.relocscope.commands, *(f"trace {name}" for name in trace.trace.commands)]:
        assert f".SS relocscope {name}" in page
    assert ".B \\-\\-size SIZE\n" in page
    shown = valid(relocscope("man", "--json", "-")[1], "man")
    (run,) = [entry for entry in shown["commands"] if entry["name"] == "relocscope run"]
    assert "--json FILE" in [option["names"] for option in run["options"]]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_are_given_a_script(relocscope: Relocscope, shell: str):
    status, script, _ = relocscope("completion", shell)
    assert status == 0
    assert f"_RELOCSCOPE_COMPLETE={shell}_complete" in script
    assert valid(relocscope("completion", shell, "--json", "-")[1], "completion")["script"] + "\n" == script


def test_what_the_script_asks_for_is_answered():
    asked = os.environ | {
        "_RELOCSCOPE_COMPLETE": "bash_complete", "COMP_WORDS": "relocscope exp", "COMP_CWORD": "1"
    }  # fmt: skip
    done = subprocess.run(
        [Path(sys.executable).with_name("relocscope")], env=asked, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["plain,explain"]


def test_help_lists_every_command_on_one_line_of_80_columns(relocscope: Relocscope):
    lines = relocscope("--help")[1].splitlines()
    for name in cli.relocscope.commands:
        (line,) = [line for line in lines if line.startswith(f"  {name} ")]
        assert len(line) <= 80
        assert line.endswith(".")
        assert not line.endswith("...")


def test_help_loads_no_engine():
    code = (
        "import sys\nfrom relocscope import cli\nsys.argv = ['relocscope', '--help']\n"
        "try: cli.main()\nexcept SystemExit: pass\n"
        "heavy = {'numpy', 'numba', 'unicorn', 'keystone', 'capstone', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
