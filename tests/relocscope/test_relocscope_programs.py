"""Programs of a person's own: what they copy, at which level, with the MMU off and on."""

import struct
from pathlib import Path

import pytest
from click.testing import CliRunner

import relocscope
from asm.assemble import assemble
from relocscope.cli import relocscope as command
from traces.errors import InputError
from traces.schema import Role

EXAMPLES = Path(__file__).parents[2] / "examples"
MEMCPY = f"program:{EXAMPLES / 'memcpy.S'}"
RAM = {"program.ram": "0x80000000+32MiB", "program.args": "0x80000000,0x81000000,0x8000"}
BASE = 0x4100_0000


def linked(tmp_path: Path, source: str, *, va: int = BASE, pa: int | None = None, kind: int = 2) -> Path:
    """Write a minimal ELF executable by hand: one segment, one symbol table."""
    code = assemble(source, name="t", va=va)
    names, symbols = b"\0", struct.pack("<IBBHQQ", 0, 0, 0, 0, 0, 0)
    for name, at in code.symbols.items():
        symbols += struct.pack("<IBBHQQ", len(names), 0, 0, 1, va + at, 0)
        names += name.encode() + b"\0"
    at = 64 + 56
    body = code.code + b"\0" * (-len(code.code) % 8)
    offsets = [at, at + len(body), at + len(body) + len(symbols)]
    table = offsets[2] + len(names) + (-len(names) % 8)
    header = struct.pack(
        "<4sBBB9xHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, kind, 183, 1, va, 64, table, 0, 64, 56, 1, 64, 4, 0
    )
    load = struct.pack("<IIQQQQQQ", 1, 5, at, va, va if pa is None else pa, len(code.code), len(body) + 4096, 4096)
    section = struct.Struct("<IIQQQQIIQQ")
    sections = section.pack(*[0] * 10)
    sections += section.pack(0, 1, 6, va, offsets[0], len(code.code), 0, 0, 4, 0)
    sections += section.pack(0, 2, 0, 0, offsets[1], len(symbols), 3, 1, 8, 24)
    sections += section.pack(0, 3, 0, 0, offsets[2], len(names), 0, 0, 1, 0)
    path = tmp_path / "program.elf"
    path.write_bytes(header + load + body + symbols + names + b"\0" * (-len(names) % 8) + sections)
    return path


@pytest.mark.parametrize("entry", ["copy_bytes", "copy_words", "copy_pairs", "copy_vectors"])
@pytest.mark.parametrize("el", [1, 2])
def test_every_way_to_copy_copies(entry, el):
    run = relocscope.run(f"{MEMCPY}@{entry}", set=RAM | {"program.el": el, "program.mmu": "on"})
    assert (run.outcome, run.image_bytes, run.copy["el"], run.copy["mmu"]) == ("completed", 0x8000, el, True)
    assert set(run.copy["memory_types"]["data"]) == {"Normal-WB"}
    assert run.routine["name"] == entry


def test_what_turning_the_mmu_on_buys_a_copy_loop():
    comparison = relocscope.explain(f"{MEMCPY}@copy_pairs", f"{MEMCPY}@copy_pairs", set=RAM | {"b.program.mmu": "on"})
    assert comparison.verdict.cause == "mmu-and-dcache-on"
    assert comparison.speedup > 20


def test_caches_can_be_left_off_with_the_mmu_on():
    run = relocscope.run(f"{MEMCPY}@copy_pairs", set=RAM | {"program.mmu": "on", "copy.sctlr_c": 0})
    assert set(run.copy["memory_types"]["data"]) == {"Normal-NC"}


def test_leaves_of_its_map_can_be_chosen():
    runs = [
        relocscope.run(f"{MEMCPY}@copy_pairs", set=RAM | {"program.mmu": "on", "map.leaf": leaf})
        for leaf in ("4KiB", "2MiB", "1GiB")
    ]
    walks = [run.tlbs["walk"]["walks"] for run in runs]
    assert walks[0] > walks[1] >= walks[2] >= 1


def test_a_list_is_restored():
    settings = {"program.args": "0x80000000,0x82000000,8,0x88000000", "program.ram": "0x80000000+256MiB"}
    run = relocscope.run(f"program:{EXAMPLES / 'restore.S'}@restore", set=settings)
    assert run.outcome == "completed"
    assert run.copy["memory_types"]["data"].keys() == {"Device-nGnRnE"}
    assert run.pages == 8 + 1


def test_a_linked_program_runs_from_its_symbol_or_its_start(tmp_path):
    path = linked(tmp_path, "start:\nmov x0, #1\nret\nother:\nmov x0, #2\nmov x1, #3\nret\n")
    assert relocscope.run(f"program:{path}").instructions == 2
    assert relocscope.run(f"program:{path}@other").instructions == 3
    done = CliRunner().invoke(command, ["run", "--elf", str(path), "--entry", "other"])
    assert done.exit_code == 0
    assert "routine   other" in done.output
    assert "image" not in done.output.split("\n", 2)[2]


def test_a_program_that_faults_or_never_returns_is_a_result(tmp_path):
    faults = linked(tmp_path, "ldr x0, [x0]\nret")
    assert relocscope.run(f"program:{faults}").outcome == "fault"
    assert relocscope.run(f"program:{linked(tmp_path, 'again: b again')}").outcome == "hang"
    endless = linked(tmp_path, "again: add x0, x0, #1\nb again")
    assert relocscope.run(f"program:{endless}", set={"budget": 1000}).outcome == "budget"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"program.el": "3"}, "program.el: '3' must be 1 or 2"),
        ({"program.mmu": "maybe"}, "must be on or off"),
        ({"program.args": "a"}, "'a' must be a number"),
        ({"program.args": ",".join("123456789")}, "at most 8 numbers"),
        ({"program.args": "0x10000000000000000"}, "numbers of 64 bits"),
        ({"program.ram": "0x80000000"}, "must be ADDRESS\\+SIZE"),
        ({"program.ram": "0x40200000+4MiB"}, "overlaps the stack and tables"),
        ({"program.ram": "0xffffffffffff0000+1MiB"}, "beyond 44-bit"),
        ({"program.ram": "0x80000000+1TiB"}, "are more than"),
        ({"map.tables": "merged"}, "of a program only"),
        ({"map.leaf": "64KiB"}, "must be one of 4KiB"),
        ({"program.arg": "1"}, "program.arg"),
    ],
)
def test_bad_settings_are_refused_in_one_line(settings, said):
    with pytest.raises(InputError, match=said) as error:
        relocscope.run(f"{MEMCPY}@copy_pairs", set=settings)
    assert "\n" not in str(error.value)


def position_independent(tmp_path: Path, *rows: tuple[int, int, int], tag: int = 7) -> Path:
    """Write a program whose word behind `ret` is for the loader to fill: {offset, type, addend} a relocation."""
    code = assemble("ldr x0, word\nldr x1, [x0]\nret\n.balign 8\nword: .quad 0\n", name="t").code
    at = 64 + 2 * 56
    table = b"".join(struct.pack("<QQq", offset, kind, addend) for offset, kind, addend in rows)
    dynamic = struct.pack("<QQQQQQ", tag, BASE + len(code), 8, len(table), 0, 0)
    size = len(code) + len(table)
    header = struct.pack("<4sBBB9xHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, 3, 183, 1, BASE, 64, 0, 0, 64, 56, 2, 64, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 5, at, BASE, BASE, size, size, 4096)
    names = struct.pack("<IIQQQQQQ", 2, 5, at + size, 0, 0, len(dynamic), len(dynamic), 8)
    path = tmp_path / "pie.elf"
    path.write_bytes(header + load + names + code + table + dynamic)
    return path


def test_a_position_independent_program_finds_its_pointers(tmp_path):
    path = position_independent(tmp_path, (BASE + 16, 1027, BASE + 16))
    run = relocscope.run(f"program:{path}")
    assert (run.outcome, run.instructions) == ("completed", 3)
    assert relocscope.run(f"program:{position_independent(tmp_path)}").outcome == "fault"  # the pointer is 0
    for wrong, said in (
        ({"rows": [(BASE + 16, 1025, 0)]}, "needs a dynamic linker"),
        ({"rows": [(0, 1027, 0)] * 2, "tag": 36}, "packed relocations"),
    ):
        with pytest.raises(InputError, match=said):
            relocscope.run(f"program:{position_independent(tmp_path, *wrong.pop('rows'), **wrong)}")
    whole = path.read_bytes()
    for length in range(64, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError):
            relocscope.run(f"program:{path}")


def test_bad_programs_are_refused_in_one_line(tmp_path):
    relocatable = linked(tmp_path, "ret", kind=1)
    with pytest.raises(InputError, match="not linked"):
        relocscope.run(f"program:{relocatable}")
    with pytest.raises(InputError, match="linked to run at 0x41000000 and be loaded at 0x42000000"):
        relocscope.run(f"program:{linked(tmp_path, 'ret', pa=0x4200_0000)}")
    with pytest.raises(InputError, match="nowhere: no such symbol; it has start"):
        relocscope.run(f"program:{linked(tmp_path, 'start: ret')}@nowhere")
    with pytest.raises(InputError, match="must be an ELF file, or assembly text"):
        relocscope.run(f"program:{__file__}")
    with pytest.raises(InputError, match="no such file"):
        relocscope.run("program:/nowhere/x.elf")
    whole = linked(tmp_path, "start: ret").read_bytes()
    for length in (0, 10, 64, 100, 119, 121):
        cut = tmp_path / "cut.elf"
        cut.write_bytes(whole[:length])
        with pytest.raises(InputError):
            relocscope.run(f"program:{cut}")


def test_settings_of_programs_belong_to_programs():
    with pytest.raises(InputError, match="belongs to program:"):
        relocscope.run("v5.17-el1", set={"program.el": 1})


def test_what_a_program_writes_is_told_from_its_stack_tables_and_code(tmp_path):
    """A page of data and one of the stack: the first alone counts as copied."""
    path = linked(tmp_path, "start:\nstp x0, x30, [sp, #-16]!\nstr x0, [x0]\nldp x0, x30, [sp], #16\nret\n")
    settings = {"program.args": "0x80000000", "program.ram": "0x80000000+2MiB", "program.mmu": "on"}
    run = relocscope.run(f"program:{path}", set=settings)
    trace = run.trace
    spans = {Role(int(row["role"])): (int(row["pa"]), int(row["size"])) for row in trace.ranges}
    assert (run.outcome, run.image_bytes, run.pages) == ("completed", 4096, 1)
    assert spans[Role.DESTINATION] == (0x8000_0000, 4096)
    assert spans[Role.CODE] == (BASE, 16)
    assert spans[Role.STACK][1] == 1 << 20
    assert spans[Role.TABLE][0] >= spans[Role.STACK][0] + spans[Role.STACK][1]
    assert BASE < spans[Role.STACK][0] < spans[Role.TABLE][0]
    assert trace.meta["symbols"]["start"] == BASE


def test_a_program_finds_its_stack_its_data_and_zeroes(tmp_path):
    """It ends by a fault if one of them is not there: the stack at both ends, data behind a page, memory behind it."""
    source = """
        sub x1, sp, #0x10, lsl #12
        str x0, [x1]
        str x0, [sp, #-16]!
        adr x2, far
        ldr x3, [x2]
        movz x4, #0x5678
        cmp x3, x4
        b.ne wrong
        ldr x3, [x2, #8]
        cbnz x3, wrong
        ret
    wrong:
        brk #0
        .balign 4096
    far:
        .quad 0x5678
    """
    path = linked(tmp_path, source)
    for el in (1, 2):
        run = relocscope.run(f"program:{path}", set={"program.el": el})
        assert (run.outcome, run.boot) == ("completed", {1: "el1", 2: "nvhe"}[el])


def test_a_fault_is_no_good_ending_and_names_a_symbol(tmp_path):
    path = linked(tmp_path, "start: nop\nbad: ldr x0, [x0]\nret")
    run = relocscope.run(f"program:{path}")
    assert run.trace.meta["image_ok"] is False
    assert run.trace.meta["symbols"]["bad"] == int(run.fault["elr"], 0)


def test_instruction_caches_can_be_left_off_and_on():
    settings = RAM | {"program.mmu": "on"}
    on, off = (relocscope.run(f"{MEMCPY}@copy_pairs", set=settings | {"copy.sctlr_i": bit}) for bit in (1, 0))
    assert [run.copy["icache"] for run in (on, off)] == [True, False]


def test_programs_can_be_swept(tmp_path):
    settings = RAM | {"program.args": "0x80000000,0x81000000,0x1000"}
    table = relocscope.sweep(
        f"{MEMCPY}@copy_pairs",
        grid={"program.mmu": ["on", "off"], "l2.size": ["256KiB", "1MiB"]},
        set=settings,
        out=tmp_path / "out",
        workers=1,
    )
    rows = table.to_polars().to_dicts()
    assert [row["seconds"] > 1e-5 for row in rows] == [False, False, True, True]
