"""`run --ram --regs` and the ram: operand: a person's own machine, from files."""

import dataclasses
import importlib.resources
import io
import json
from pathlib import Path

import dumped
import jsonschema
import pytest

from emu.layout import default_layout
from emu.scenario import prepare
from emu.spans import Span
from relocscope.case import shipped_case
from relocscope.comparison import sides
from relocscope.emulate import scenario
from relocscope.operand import operand
from relocscope.runs import default_core

pytestmark = pytest.mark.usefixtures("fake_model")



def machine(name: str, folder: Path) -> tuple[str, str]:
    """Write the memory and the registers of a case's machine; return FILE@BASE and FILE."""
    layout = default_layout(64 * 4096, ram=Span(0x8000_0000, 96 << 20))
    where = {"memory_map": layout.memory_map, "segments": layout.segments, "start": layout.start}
    guest = prepare(dataclasses.replace(scenario(shipped_case(name)), **where, soft_restart=None))
    ram = dumped.raw(guest.memory, folder / f"{name}.ram")
    return ram, str(dumped.registers(guest, folder / f"{name}.txt"))


def valid_run(text: str) -> dict:
    result = json.loads(text)
    schema = json.loads((importlib.resources.files("relocscope") / "schemas" / "run.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(result)
    return result


@pytest.mark.parametrize(
    ("case", "core", "copy_el", "entry_el"),
    [("v4.19-nvhe", "stingray", 2, 2), ("v5.17-nvhe", "stingray", 1, 2), ("v5.17-vhe", "thunderx2", 2, 2)],
)
def test_a_run_says_of_a_dump_what_it_says_of_a_case(case, core, copy_el, entry_el, relocscope, tmp_path):
    ram, registers = machine(case, tmp_path)
    status, out, err = relocscope("run", "--ram", ram, "--regs", registers, "--json", "-")
    assert (status, err) == (0, "")
    result = valid_run(out)
    assert result["case"] == f"ram:{ram},{registers}"
    assert default_core(operand(result["case"])) == core
    assert (result["boot"], result["outcome"], result["pages"]) == (case.rpartition("-")[2], "completed", 64)
    assert (result["image_ok"], result["copy"]["el"], result["entry"]["el"]) == (True, copy_el, entry_el)
    assert result["routine"]["source"].startswith(f"memory: {ram.partition('@')[0]} at 0x")


def test_people_see_the_files_name(relocscope, tmp_path):
    ram, registers = machine("v4.19-el1", tmp_path)
    status, out, _ = relocscope("run", "--ram", ram, "--regs", registers)
    assert status == 0
    assert "ram:v4.19-el1.ram " in out


def test_a_dump_stands_wherever_a_case_does(relocscope, tmp_path):
    old, new = (",".join(machine(case, tmp_path)) for case in ("v4.19-nvhe", "v5.17-nvhe"))
    status, out, err = relocscope("explain", f"ram:{old}", f"ram:{new}", "--json", "-")
    assert (status, err) == (0, "")
    assert json.loads(out)["verdict"]["cause"] == "mmu-and-dcache-on"
    trace = tmp_path / "recorded.trace"
    assert relocscope("trace", "record", f"ram:{new}", "-o", str(trace))[0] == 0
    replayed = valid_run(relocscope("run", f"trace:{trace}", "--json", "-")[1])
    assert (replayed["boot"], replayed["image_ok"]) == ("nvhe", True)


def test_both_sides_get_a_core_with_vhe_where_one_needs_it(relocscope, tmp_path):
    dump = ",".join(machine("v5.17-vhe", tmp_path))
    _, out, _ = relocscope("explain", "v4.19-el1", f"ram:{dump}", "--size", "64KiB", "--json", "-")
    assert out == ""  # the size of a dump cannot be set
    assert [side.core for side in sides("v4.19-el1", f"ram:{dump}", {"a.size": "64KiB"})] == ["thunderx2"] * 2
    assert [side.core for side in sides(f"ram:{dump}", "v4.19-el1", {})] == ["thunderx2"] * 2


def test_what_if_bits_can_be_set(relocscope, tmp_path):
    ram, registers = machine("v5.17-el1", tmp_path)
    arguments = ("run", "--ram", ram, "--regs", registers, "--json", "-")
    result = valid_run(relocscope(*arguments, "--set", "copy.sctlr_c=0")[1])
    assert (result["copy"]["dcache"], result["copy"]["mmu"], result["image_ok"]) == (False, True, True)
    status, out, _ = relocscope(*arguments, "--set", "budget=3000")
    assert (status, valid_run(out)["outcome"]) == (1, "budget")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--ram", "RAM"), "--ram, --regs: a memory dump needs both"),
        (("--regs", "REGS"), "--ram, --regs: a memory dump needs both"),
        (("v4.19-el1", "--ram", "RAM", "--regs", "REGS"), "without CASE or --kernel"),
        (("--kernel", "RAM", "--boot", "el1", "--ram", "RAM", "--regs", "REGS"), "without CASE or --kernel"),
        (("--ram", "RAM", "--regs", "REGS", "--boot", "vhe"), "--boot: vhe contradicts the registers"),
        (("--ram", "RAM", "--regs", "REGS", "--size", "1MiB"), "--set: size: a memory dump is fixed"),
        (("--ram", "RAM", "--regs", "REGS", "--set", "map.mair=0"), "--set: map.mair: a memory dump is fixed"),
        (("--ram", "RAM", "--regs", "REGS", "--set", "budget=0"), "--set: budget: "),
        (("--ram", "nothing@0x40000000", "--regs", "REGS"), "nothing: cannot be read: No such file"),
        (("--ram", "nothing@here", "--regs", "REGS"), "base 'here' must be an address"),
        (("--ram", "RAM", "--regs", "nothing"), "nothing: cannot be read: No such file"),
        (("ram:",), "expected ram:FILE"),
        (("ram:one",), "expected ram:FILE"),
        (("ram:one,",), "expected ram:FILE"),
    ],
)
def test_what_is_refused_is_one_line(arguments, complaint, relocscope, tmp_path):
    ram, registers = machine("v4.19-el1", tmp_path)
    given = [{"RAM": ram, "REGS": registers}.get(each, each) for each in arguments]
    status, out, err = relocscope("run", *given)
    assert (status, out) == (2, "")
    assert complaint in err
    assert err.count("\n") == 1


def test_a_core_without_vhe_is_refused(relocscope, tmp_path):
    ram, registers = machine("v5.17-vhe", tmp_path)
    status, _, err = relocscope("run", "--ram", ram, "--regs", registers, "--core", "stingray")
    assert status == 2
    assert "boot vhe needs VHE" in err


def test_a_dump_is_checked_and_stepped(relocscope, tmp_path, monkeypatch):
    dump = "ram:" + ",".join(machine("v4.19-vhe", tmp_path))
    status, out, err = relocscope("check", dump, "--json", "-")
    assert (status, err) == (0, "")
    assert json.loads(out)["hazards"] == []
    monkeypatch.setattr("sys.stdin", io.StringIO("until device\nwhere\n"))
    status, out, err = relocscope("step", dump, "--repl")
    assert (status, err) == (0, "")
    assert "Device-nGnRnE" in out
