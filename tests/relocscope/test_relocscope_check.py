"""`relocscope check`: of cases, of traces, and of a person's own machine from the files that it prints."""

import importlib.resources
import json
import random
import struct
from functools import partial
from pathlib import Path

import jsonschema
import pytest
from kernels import image_or_skip
from test_emu_device_tree import SECURE, bank, reserved, tree

import caches
import relocscope
from relocscope.boot_log import boot_log
from relocscope.own_machine import Files, plan
from traces.errors import InputError

DATA = Path(__file__).parent.parent / "data"
MACHINE = {
    version: {
        "iomem": DATA / f"qemu-virt-{version}.iomem.txt",
        "kexec_debug": DATA / f"qemu-virt-{version}.kexec-debug.txt",
    }
    for version in ("5.10", "6.1")
}
DMESG = """\
[    0.000000] Booting Linux on physical CPU 0x0000000000 [0x410fd083]
[    0.000000] Linux version 5.10.0-32-cloud-arm64 (debian-kernel@lists.debian.org) (gcc-10) #1 SMP
[    0.000000] Dentry cache hash table entries: 32768 (order: 6, 262144 bytes, linear)
[    0.000000] percpu: Embedded 32 pages/cpu s91288 r8192 d31592 u131072
[    0.020000] CPU: All CPU(s) started at EL2
[    0.500000] kvm [1]: Hyp mode initialized successfully
"""


@pytest.fixture
def command(monkeypatch, relocscope):
    """Run `check`; the timing model must not be touched."""
    monkeypatch.setattr(caches, "replay", None)
    return partial(relocscope, "check")


def options(files: dict[str, object]) -> list[object]:
    return [word for name, path in files.items() for word in (f"--{name.replace('_', '-')}", path)]


def valid(text: str) -> dict:
    schema = json.loads((importlib.resources.files("relocscope") / "schemas" / "check.json").read_text())
    result = json.loads(text)
    jsonschema.Draft202012Validator(schema).validate(result)
    return result


def test_errors_fail_the_check_and_warnings_do_not(command):
    for case, status in (("rfc-v1-el1", 1), ("rfc-v2-nvhe", 1), ("v4.19-nvhe", 0), ("v5.17-vhe", 0), ("kdump", 0)):
        found, out, err = command(case, "--size", "1MiB")
        assert (found, err) == (status, "")
        assert out.splitlines()[-1] == {
            "rfc-v1-el1": "2 errors, 1 warning",
            "rfc-v2-nvhe": "1 error, 1 warning",
            "v4.19-nvhe": "0 errors, 1 warning",
        }.get(case, "no hazard found")


@pytest.mark.parametrize("case", ["rfc-v2-nvhe", "v5.17-nvhe", "kdump"])
def test_json_is_pure_and_valid(command, case):
    status, out, err = command(case, "--size", "64KiB", "--json", "-")
    result = valid(out)
    assert err == ""
    assert (status, result["plan"]) == (int(case == "rfc-v2-nvhe"), None)
    assert result["outcome"] == ("hang" if case == "rfc-v2-nvhe" else "completed")


def test_a_run_has_the_same_hazards():
    for case in ("rfc-v1-el1", "rfc-v2-nvhe-xn-clear", "v4.19-nvhe"):
        checked, ran = relocscope.check(case, size="64KiB"), relocscope.run(case, size="64KiB")
        keys = ("id", "severity", "title", "where")
        assert [[h[k] for k in keys] for h in checked.hazards] == [[h[k] for k in keys] for h in ran.hazards]


def test_a_recorded_trace(command, tmp_path):
    from traces.files import save

    save(relocscope.check("rfc-v1-el1", size="1MiB").trace, tmp_path / "a.trace")
    status, out, _ = command(f"trace:{tmp_path / 'a.trace'}", "--json", "-")
    assert status == 1
    assert "live-tables-overwritten" in [hazard["id"] for hazard in valid(out)["hazards"]]


# -- A machine of one's own -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "relocate", "mmu", "entry"), [("5.10", "relocate-v4.19", False, 2), ("6.1", "relocate-v5.17", True, 2)]
)
def test_real_machines(command, tmp_path, version, relocate, mmu, entry):
    log = tmp_path / "dmesg.txt"
    log.write_text(DMESG.replace("5.10.0-32", f"{version}.0-50"))
    status, out, err = command(*options({**MACHINE[version], "dmesg": log}), "--json", "-")
    result = valid(out)
    assert (status, err) == (0, "")
    made = result["plan"]
    assert (made["relocate"], made["boot"], made["page_bytes"]) == (relocate, "nvhe", 4096)
    assert made["kernel"] == f"{version}.0-50-cloud-arm64"
    assert [each["name"] for each in made["segments"]] == ["kernel", "segment[1]", "segment[2]", "purgatory"]
    assert made["memory"][0] == {"kind": "ram", "pa": "0x40000000", "size": 256 << 20}
    assert [words.split()[0] for words in made["assumed"]] == ["48-bit"]
    assert (result["outcome"], result["image_ok"], result["copy"]["mmu"]) == ("completed", True, mmu)
    assert (result["entry"]["el"], result["entry"]["pc"]) == (entry, made["start"])
    assert {hazard["id"] for hazard in result["hazards"]} <= {"self-copy-invalidated"}


def test_what_no_file_says_is_assumed_and_a_setting_says_otherwise():
    found = plan(Files(**MACHINE["6.1"]))
    assert len(found.assumed) == 4
    told = plan(Files(**MACHINE["6.1"]), {"boot": "vhe", "map.va_bits": 39, "map.granule": "4KiB"})
    assert (told.case.boot, told.case.va_bits, len(told.assumed)) == ("vhe", 39, 1)
    with pytest.raises(InputError, match=r"--set: image.segments: comes from the files"):
        plan(Files(**MACHINE["6.1"]), {"image.segments": "x"})


ROUTINES = [
    ("4.14.19", "el1", "relocate-v4.19", "none", 0xBBFF_440C_0400),
    ("5.10.223", "nvhe", "relocate-v4.19", "none", 0xC_0400_BB44_FFFF),
    ("5.15.1", "nvhe", "relocate-v5.12", "none", 0x4_0044_FFFF),
    ("5.16.0", "vhe", "relocate-v5.17", "merged", 0x4_0044_FFFF),
    ("6.12.9", "el1", "relocate-v5.17", "merged", 0x4_0044_FFFF),
]


@pytest.mark.parametrize(("version", "boot", "relocate", "tables", "mair"), ROUTINES)
def test_the_kernel_says_which_routine_tables_and_mair(tmp_path, version, boot, relocate, tables, mair):
    text = f"Linux version {version}-generic\nCPU: All CPU(s) started at EL{1 if boot == 'el1' else 2}\n"
    text += "CPU features: detected: Virtualization Host Extensions\n" if boot == "vhe" else ""
    (tmp_path / "dmesg").write_text(text)
    found = plan(Files(**MACHINE["6.1"], dmesg=tmp_path / "dmesg"))
    case = found.case
    assert (case.boot, case.relocate, case.tables, case.mair) == (boot, relocate, tables, mair)
    assert bool(found.notes) == version.startswith("5.16")
    assert relocscope.check(**{k: str(v) for k, v in MACHINE["6.1"].items()}, dmesg=tmp_path / "dmesg").image_ok


def test_a_crash_kernel(command, tmp_path):
    iomem = tmp_path / "iomem"
    text = MACHINE["5.10"]["iomem"].read_text()
    iomem.write_text("\n".join(line for line in text.splitlines() if "4a000000" not in line)
                     + "\n  4a000000-4effffff : Crash kernel\n")  # fmt: skip
    debug = tmp_path / "kexec"
    moved = "kexec_load: entry = 0x4a080000 flags = 0xb70001\n"
    moved += "segment[0].mem = 0x4a080000\nsegment[0].bufsz = 0x100000\nsegment[0].memsz = 0x200000\n"
    debug.write_text(moved)
    status, out, _ = command("--iomem", iomem, "--kexec-debug", debug, "--json", "-")
    result = valid(out)
    assert (status, result["plan"]["crash"], result["copy"], result["hazards"]) == (0, True, None, [])


def test_the_device_tree_adds_what_must_not_be_mapped(command, tmp_path):
    """RFC v1 maps it all; what kernels of today map leaves it out."""
    dtb = tmp_path / "x.dtb"
    dtb.write_bytes(tree(bank(0x4000_0000, 256 << 20), reserved(SECURE)))
    files = options({**MACHINE["6.1"], "dtb": dtb})
    result = valid(command(*files, "--json", "-")[1])
    assert {"kind": "nomap", "pa": "0x4ff00000", "size": 4096} in result["plan"]["memory"]
    assert result["hazards"] == []
    rfc = ["--set", "boot=el1", "--set", "routine.relocate=relocate-rfc-v1", "--set", "map.tables=rfc-v1"]
    rfc += ["--set", "routine.soft_restart=soft-restart-rfc-v1", "--set", "map.mair=0xbbff440c0400"]
    status, out, _ = command(*files, *rfc, "--json", "-")
    raised = {hazard["id"] for hazard in valid(out)["hazards"]}
    assert status == 1
    assert {"nomap-cacheable", "leaf-rounding", "live-tables-overwritten", "dirty-at-entry"} <= raised


def test_a_segment_outside_ram_is_a_hazard_and_not_bad_input(command, tmp_path):
    debug = tmp_path / "kexec"
    debug.write_text("segment[0].mem = 0x60000000\nsegment[0].bufsz = 0x1000\nsegment[0].memsz = 0x1000\n")
    status, out, _ = command("--iomem", MACHINE["6.1"]["iomem"], "--kexec-debug", debug, "--json", "-")
    result = valid(out)
    assert (status, result["hazards"][0]["id"], result["image_ok"]) == (1, "destination-outside-ram", False)


LOGS = [
    ("CPU: All CPU(s) started at EL1", {"boot": "el1"}),
    ("CPU: All CPU(s) started at EL2", {"boot": "nvhe"}),
    ("CPU: All CPU(s) started at EL2\nCPU features: detected feature: Virtualization Host Extensions", {"boot": "vhe"}),
    ("Linux version 6.1.0\nkvm [1]: VHE mode initialized successfully", {"boot": "vhe"}),
    ("Linux version 6.1.0", {"boot": None, "release": (6, 1), "page_bytes": None, "va_bits": None}),
    ("Linux version 6.1.0\npercpu: Embedded 2 pages/cpu s1 r2 d3 u131072", {"page_bytes": 65536}),
    ("Linux version 6\nMount-cache hash table entries: 8192 (order: 2, 65536 bytes)", {"page_bytes": 16384}),
    ("Linux version 6.1\nhash table entries: 9 (order: 3, 77 bytes)", {"page_bytes": None}),
    ("Linux version 6.1\nuser pgtable: 64k pages, 42-bit VAs, pgdp=0", {"page_bytes": 65536, "va_bits": 42}),
    ("Linux version 4.9\n memory  : 0xffffffc000000000 - 0xffffffc3ff000000   ( 16368 MB)", {"va_bits": 39}),
    ("Linux version 4.9\n memory  : 0xffff800000000000 - 0xffff8003ff000000   ( 16368 MB)", {"va_bits": 48}),
]


@pytest.mark.parametrize(("text", "facts"), LOGS)
def test_what_a_log_says(text, facts):
    found = boot_log(text)
    assert {name: getattr(found, name) for name in facts} == facts


BAD: dict[str, tuple[str, str, str]] = {
    "iomem of a user": ("iomem", "00000000-00000000 : System RAM\n", "root"),
    "iomem of nothing": ("iomem", "", "empty"),
    "iomem without a kernel": ("iomem", "40000000-4fffffff : System RAM\n", "Kernel code"),
    "no segments": ("kexec_debug", "hello\n", "no line names a segment"),
    "more than half of RAM": (
        "kexec_debug",
        "segment[0].mem = 0x40000000\nsegment[0].memsz = 0x80001000\nsegment[0].bufsz = 0\n",
        "more than half",
    ),
    "an entry elsewhere": (
        "kexec_debug",
        "kexec_load: entry = 0x50000000\nsegment[0].mem = 0x40000000\nsegment[0].memsz = 0x1000\n",
        "must lie in a segment",
    ),
    "a huge segment": (
        "kexec_debug",
        "segment[0].mem = 0x40000000\nsegment[0].memsz = 0xffffffff000\nsegment[0].bufsz = 0\n",
        "more than half",
    ),
    "an x86 log": ("dmesg", "hello\n", "no line of an arm64 kernel's boot"),
    "mixed levels": ("dmesg", "Linux version 6.1\nCPU: CPUs started in inconsistent modes\n", "inconsistent"),
    "too old": ("dmesg", "Linux version 4.4.0\n", "since 4.8"),
    "no tree": ("dtb", "hello", "d00dfeed"),
    "not text": ("dmesg", "\udcff", "not UTF-8"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_one_line_that_names_them(command, tmp_path, name):
    which, text, words = BAD[name]
    path = tmp_path / f"the-{which}"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    status, out, err = command(*options({**MACHINE["6.1"], which: path}))
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert words in err
    assert str(path) in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "CASE: missing"),
        (["v5.17-nvhe", "--iomem", "x"], "--iomem"),
        (["--iomem", "x"], "--kexec-debug: must be given"),
        (["--kexec-debug", "x"], "--iomem: must be given"),
        (["--iomem", "/nonexistent", "--kexec-debug", "x"], "/nonexistent: cannot be read"),
        (["nonsense"], "is no case"),
        (["v5.17-nvhe", "--set", "map.grain=1"], "did you mean"),
    ],
)
def test_bad_arguments(command, arguments, words):
    status, out, err = command(*arguments)
    assert (status, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1


def test_damaged_files_of_any_kind_give_a_plan_or_one_line(tmp_path):
    rng = random.Random(11)
    texts = {name: path.read_bytes() for name, path in MACHINE["6.1"].items()} | {
        "dmesg": DMESG.encode(),
        "dtb": tree(bank(0x4000_0000, 256 << 20), reserved(SECURE), reserve=struct.pack(">2Q", 0, 0)),
    }
    files = {name: tmp_path / name for name in texts}
    made, said = 0, []
    for _ in range(400):
        for name, data in texts.items():
            damaged = bytearray(data)
            for _ in range(rng.choice([0, 1, 3])):
                damaged[rng.randrange(len(damaged))] = rng.randrange(256)
            files[name].write_bytes(bytes(damaged[: rng.choice([*[len(damaged)] * 4, rng.randrange(len(damaged))])]))
        try:
            plan(Files(**files))
            made += 1
        except InputError as error:
            said.append(str(error))
    assert made > 5
    assert not any("\n" in each for each in said)


@pytest.mark.kernel
@pytest.mark.parametrize(("version", "mmu"), [("5.10", False), ("6.1", True)])
def test_the_routine_comes_from_the_image_of_the_kernel_that_runs_there(command, version, mmu):
    image = image_or_skip(version)
    status, out, err = command(*options({**MACHINE[version], "kernel": image}), "--json", "-")
    result = valid(out)
    assert (status, err) == (0, "")
    assert str(image) in json.dumps(result["plan"])
    assert (result["outcome"], result["image_ok"], result["copy"]["mmu"]) == ("completed", True, mmu)
    ours = valid(command(*options(MACHINE[version]), "--json", "-")[1])
    assert result["routine"]["sha256"] != ours["routine"]["sha256"]
    assert [hazard["id"] for hazard in result["hazards"]] == ([] if mmu else ["self-copy-invalidated"])


@pytest.mark.kernel
def test_an_image_that_is_none_is_one_line(command, tmp_path):
    (tmp_path / "Image").write_bytes(bytes(4096))
    status, out, err = command(*options({**MACHINE["6.1"], "kernel": tmp_path / "Image"}))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "Image" in err
