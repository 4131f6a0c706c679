"""The importer: every container, every routine by symbol and by pattern, and refusals of everything else."""

import gzip
import io
import lzma
import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_files import Layout, elf, image, routine_code, zboot

from asm import container, kernel_image, patterns
from asm.kernel_image import ImportedKernel, import_kernel, import_symbol
from asm.routines import Protocol, routine
from traces.errors import InputError

OTHERS = ("soft-restart-v5.17", "hyp-stub-v5.17", "kexec-vectors-v5.17")


@pytest.fixture(autouse=True)
def without_kallsyms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_image, "_KALLSYMS_COMMAND", "no-such-command-as-this")


def written(tmp_path: Path, data: bytes, name: str = "vmlinuz") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def imported(tmp_path: Path, data: bytes) -> ImportedKernel:
    return import_kernel(written(tmp_path, data))


def refusal(tmp_path: Path, data: bytes) -> str:
    with pytest.raises(InputError) as caught:
        imported(tmp_path, data)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(tmp_path / "vmlinuz"))
    return message


@pytest.mark.parametrize("name", ["relocate-v4.19", "relocate-v5.12", "relocate-rfc-v1", "relocate-v5.17"])
def test_the_relocation_routine_is_found_whole_and_nothing_more(tmp_path: Path, name: str) -> None:
    layout = image(name)
    kernel = imported(tmp_path, layout.data)
    own = routine(name)
    assert kernel.relocate.code == own.code
    assert kernel.relocate.protocol is own.protocol
    assert kernel.relocate.page_bytes == kernel.page_bytes == 4096
    assert kernel.relocate.kimage_offsets.items() <= own.kimage_offsets.items()
    assert len(kernel.relocate.kimage_offsets) == (7 if own.protocol is Protocol.KIMAGE else 0)
    for symbol in ("each_entry", "copy_line", "next_entry"):
        assert kernel.relocate.symbols[symbol] == own.symbols[symbol]
    assert kernel.relocate.source == f"image: {tmp_path / 'vmlinuz'} +0x800"
    assert kernel.format == "Image"
    assert kernel.version == "5.17.0-test"
    assert (kernel.found[0].what, kernel.found[0].how, kernel.found[0].offset) == ("relocate", "pattern", 0x800)


@pytest.mark.parametrize("soft_restart", ["soft-restart-v4.19", "soft-restart-rfc-v1", "soft-restart-v5.17"])
@pytest.mark.parametrize("hyp_stub", ["hyp-stub-v4.19", "hyp-stub-v5.17"])
def test_the_way_out_is_found_too(tmp_path: Path, soft_restart: str, hyp_stub: str) -> None:
    layout = image("relocate-v5.17", soft_restart, hyp_stub, "kexec-vectors-v5.17", size=0x10000)
    kernel = imported(tmp_path, layout.data)
    assert kernel.soft_restart is not None
    assert kernel.soft_restart.code == routine(soft_restart).code
    assert kernel.hyp_stub is not None
    assert len(kernel.hyp_stub.code) == 0x1000
    assert kernel.hyp_stub.code.startswith(routine(hyp_stub).code)
    assert kernel.kexec_vectors is not None
    assert kernel.kexec_vectors.code == routine("kexec-vectors-v5.17").code
    assert kernel.missing == ()
    assert {finding.what: finding.offset for finding in kernel.found} == {
        "relocate": layout.offsets["relocate-v5.17"],
        "soft_restart": layout.offsets[soft_restart],
        "hyp_stub": layout.offsets[hyp_stub],
        "kexec_vectors": layout.offsets["kexec-vectors-v5.17"],
    }


def test_what_is_missing_is_said_with_what_was_looked_for(tmp_path: Path) -> None:
    kernel = imported(tmp_path, image("relocate-v5.17", "soft-restart-v5.17").data)
    assert kernel.soft_restart is not None
    assert kernel.hyp_stub is kernel.kexec_vectors is None
    assert [missing.what for missing in kernel.missing] == ["hyp_stub", "kexec_vectors"]
    assert "__hyp_stub_vectors" in kernel.missing[0].looked_for
    assert "2 KiB-aligned table of 16 branches" in kernel.missing[0].looked_for
    older = imported(tmp_path, image("relocate-v4.19", "soft-restart-v4.19").data)
    assert [missing.what for missing in older.missing] == ["hyp_stub"]  # 5.15 and older have no kexec vectors


@pytest.mark.parametrize("page_bytes", [4096, 16384, 65536])
@pytest.mark.parametrize("says", [True, False])
def test_page_sizes_are_read_off_header_and_masks(tmp_path: Path, page_bytes: int, says: bool) -> None:
    layout = image("relocate-v5.17", page_bytes=page_bytes, flags=None if says else 0)
    assert imported(tmp_path, layout.data).page_bytes == page_bytes


def test_page_sizes_that_disagree_are_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, image(page_bytes=16384, flags=1 << 1).data)
    assert "page size 4096 in the Image header, 16384 in the routine's masks" in message


def test_field_offsets_of_another_kimage_are_decoded(tmp_path: Path) -> None:
    moved = routine("relocate-v5.17").text.replace("KIMAGE_EL2_VECTORS, 664", "KIMAGE_EL2_VECTORS, 792")
    moved = moved.replace("ldr     x27, [x0, #KIMAGE_EL2_VECTORS]", "ldr     x25, [x0, #KIMAGE_EL2_VECTORS]")
    moved = moved.replace("cbz     x27", "cbz     x25")
    # 52-bit kernels fold the upper address bits into TTBR1 on the way.
    moved = moved.replace(
        "        msr     ttbr1_el1, x17",
        "        orr x1, x17, x17, lsr #46\n        and x1, x1, #0xfffffffffffc\n        msr ttbr1_el1, x1",
    )
    layout = image()
    code = kernel_image_code(moved)
    data = layout.data[:0x800] + code + layout.data[0x800 + len(code) :]
    offsets = imported(tmp_path, data).relocate.kimage_offsets
    assert offsets == {**offsets, "el2_vectors": 792, "ttbr1": 680, "zero_page": 688, "dtb": 648}
    assert len(offsets) == 7


def kernel_image_code(text: str) -> bytes:
    from asm.assemble import assemble

    return assemble(text, name="changed.S").code


# ---- Containers -----------------------------------------------------------------------------------


def test_gzip_and_zboot(tmp_path: Path) -> None:
    plain = image().data
    expected = imported(tmp_path, plain)
    for data, kind in (
        (gzip.compress(plain), "gzip"),
        (zboot(plain), "EFI zboot (gzip)"),
        (zboot(plain, "xzkern", lzma.compress(plain)), "EFI zboot (xzkern)"),
        (zboot(plain, "lzma", lzma.compress(plain, lzma.FORMAT_ALONE)), "EFI zboot (lzma)"),
    ):
        kernel = imported(tmp_path, data)
        assert kernel.format == kind
        assert kernel.relocate.code == expected.relocate.code
        assert kernel.found == expected.found


@pytest.mark.parametrize(("command", "kind"), [("zstd", "zstd22"), ("lz4", "lz4")])
def test_zboot_by_command(tmp_path: Path, command: str, kind: str) -> None:
    if shutil.which(command) is None:
        pytest.skip(f"{command} is not installed")
    plain = image().data
    packed = subprocess.run([command, "-c"], input=plain, capture_output=True, check=True).stdout
    size = struct.pack("<I", len(plain))  # which the kernel's build appends
    assert imported(tmp_path, zboot(plain, kind, packed + size)).relocate.code == routine("relocate-v5.17").code
    assert "does not unpack" in refusal(tmp_path, zboot(plain, kind, b"nothing of the kind"))


def test_a_command_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert "needs the command zstd, which is not installed" in refusal(tmp_path, zboot(b"", "zstd", b"x"))


def test_decompression_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "LARGEST_IMAGE_BYTES", 0x10000)
    bomb = bytes(0x10001)
    assert "gzip data unpacks to more than 65536 bytes" in refusal(tmp_path, gzip.compress(bomb))
    assert "more than 65536 bytes" in refusal(tmp_path, zboot(bomb))
    assert "lzma data unpacks to more than" in refusal(tmp_path, zboot(bomb, "xzkern", lzma.compress(bomb)))
    assert "more than the 65536 that are looked at" in refusal(tmp_path, image(size=0x10800).data)


SYMBOLS = {
    "arm64_relocate_new_kernel": ("relocate-v5.17", 0),
    "cpu_soft_restart": ("soft-restart-v5.17", 0),
    "__hyp_stub_vectors": ("hyp-stub-v5.17", 0),
    "trans_pgd_stub_vectors": ("kexec-vectors-v5.17", 0x800),
}


@pytest.mark.parametrize("relocatable", [False, True])
def test_elf_by_symbol_and_without(tmp_path: Path, relocatable: bool) -> None:
    layout = image()
    symbols = {name: (layout.offsets[of], size) for name, (of, size) in SYMBOLS.items()}
    kernel = imported(tmp_path, elf(layout.data, symbols, relocatable=relocatable))
    assert kernel.format == "ELF"
    assert [finding.how for finding in kernel.found] == [f"symbol {name}" for name in SYMBOLS]
    stripped = imported(tmp_path, elf(layout.data, {}, relocatable=relocatable))
    assert {finding.how for finding in stripped.found} == {"pattern"}
    for one, two in zip(kernel.found, stripped.found, strict=True):
        assert (one.what, one.offset, one.size) == (two.what, two.offset, two.size)
    assert kernel.relocate.code == stripped.relocate.code == routine("relocate-v5.17").code


def test_the_elf_files_of_these_tests_are_elf_files() -> None:
    layout = image()
    file = ELFFile(io.BytesIO(elf(layout.data, {"one": (0x800, 4), "two": (0x900, 8)}, relocation_at=8)))
    assert file.get_machine_arch() == "AArch64"
    table = file.get_section_by_name(".symtab")
    assert [(symbol.name, symbol["st_size"]) for symbol in table.iter_symbols()] == [("", 0), ("one", 4), ("two", 8)]
    assert file.get_section_by_name(".text").data() == layout.data
    assert file.get_section_by_name(".rela.text").num_relocations() == 1


def test_names_that_end_like_others_are_told_apart(tmp_path: Path) -> None:
    layout = image()
    decoy = {"__pi_cpu_soft_restart": (0x40, 4)}
    symbols = {name: (layout.offsets[of], size) for name, (of, size) in SYMBOLS.items()}
    kernel = imported(tmp_path, elf(layout.data, {**decoy, **symbols}))
    assert kernel.soft_restart is not None
    assert kernel.soft_restart.code == routine("soft-restart-v5.17").code


def test_one_symbol_of_an_elf_file(tmp_path: Path) -> None:
    code = routine_code("relocate-v4.19")
    path = written(tmp_path, elf(bytes(16) + code, {"copy": (16, len(code)), "rest": (16, 0)}), "relocate.o")
    taken = import_symbol(path, "copy")
    assert taken.code == import_symbol(path, "rest").code == code
    assert (taken.name, taken.protocol, dict(taken.symbols)) == ("relocate.o@copy", None, {"copy": 0})
    with pytest.raises(InputError, match="symbol 'paste' is not defined in it"):
        import_symbol(path, "paste")
    with pytest.raises(InputError, match="not an ELF file, so it has no symbol 'copy'"):
        import_symbol(written(tmp_path, image().data), "copy")
    unlinked = elf(code, {"copy": (0, len(code))}, relocatable=True, relocation_at=8)
    with pytest.raises(InputError, match="symbol 'copy' has relocations to be applied"):
        import_symbol(written(tmp_path, unlinked), "copy")
    with pytest.raises(InputError, match="has 3 bytes"):
        import_symbol(written(tmp_path, elf(code, {"copy": (0, 3)})), "copy")


def test_object_files_that_need_linking(tmp_path: Path) -> None:
    layout = image()
    symbols = {name: (layout.offsets[of], size) for name, (of, size) in SYMBOLS.items()}

    def object_file(relocation_at: int) -> bytes:
        return elf(layout.data, symbols, relocatable=True, relocation_at=relocation_at)

    assert "relocation routine at 0x840 has relocations to be applied" in refusal(tmp_path, object_file(0x900))
    kernel = imported(tmp_path, object_file(layout.offsets["soft-restart-v5.17"] + 4))
    assert kernel.soft_restart is None
    assert [(missing.what, "has relocations" in missing.looked_for) for missing in kernel.missing] == [
        ("soft_restart", True)
    ]
    behind = imported(tmp_path, object_file(layout.offsets["hyp-stub-v5.17"] + 0x900))  # of the move to VHE
    assert behind.missing == ()


# ---- Refusals -------------------------------------------------------------------------------------


def test_other_files_are_refused(tmp_path: Path) -> None:
    plain = image().data
    big_endian = bytearray(plain)
    big_endian[24] |= 1
    cases = {
        b"": "empty file",
        b"MZ": "2 bytes, too short for an arm64 Image header of 64",
        bytes(4096): "not an arm64 kernel: no Image magic at 0x38",
        bytes(big_endian): "a big-endian kernel",
        plain[:0x800]: "no arm64 relocation routine; looked for symbols arm64_relocate_new_kernel",
        plain[:0x880]: "no arm64 relocation routine",
        gzip.compress(plain)[:-20]: "truncated gzip data",
        gzip.compress(plain)[:-8] + bytes(8): "damaged gzip data",
        gzip.compress(b"hello"): "5 bytes, too short",
        zboot(plain)[:0x100]: "EFI zboot payload",
        zboot(plain)[:20]: "too short for an EFI zboot header",
        zboot(plain, "brotli"): "EFI zboot compression 'brotli' is not supported",
        elf(plain, {}, ident=b"\x7fELF\x01\x01\x01"): "a 32-bit ELF file",
        elf(plain, {}, ident=b"\x7fELF\x02\x02\x01"): "a big-endian ELF file",
        elf(plain, {}, machine=62): "ELF machine 62; only AArch64",
        elf(plain, {})[:60]: "truncated ELF header",
        elf(plain, {})[:-1]: "ELF section headers",
        elf(bytes(64), {}): "no arm64 relocation routine",
    }
    for data, reason in cases.items():
        assert reason in refusal(tmp_path, data)


def test_paths_that_are_no_files_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path, reason in (
        (tmp_path / "absent", "cannot be read: No such file"),
        (tmp_path, "not a regular file"),
        (tmp_path / "fifo", "not a regular file"),
        (Path("/dev/zero"), "not a regular file"),
        (tmp_path / ("x" * 300), "cannot be read: File name too long"),
        (Path(f"{tmp_path}/a\0b"), "cannot be read"),
    ):
        with pytest.raises(InputError, match=reason):
            import_kernel(path)


def test_sparse_giants_are_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "vmlinuz"
    with path.open("wb") as file:
        file.truncate(container.LARGEST_FILE_BYTES + 1)
    with pytest.raises(InputError, match="more than the"):
        import_kernel(path)


def test_decoys_by_the_million_do_not_hold_the_importer_up(tmp_path: Path) -> None:
    """Each would be decoded, and decoding a place takes a millisecond."""
    header = image().data[:64]
    for words in (
        struct.pack("<II", 0xF84085D0, 0x3617FFD0),
        struct.pack("<5I", 0xAA0203E0, 0xAA0403E2, 0xAA0103E4, 0xAA0303E1, 0xD61F0080),
        struct.pack("<3I", 0xB4000060, 0xD2800020, 0xD4000002),
    ):
        assert "no arm64 relocation routine" in refusal(tmp_path, header + words * (1 << 18))


def test_sequences_that_straddle_chunks_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "_CHUNK_BYTES", 16)
    words = struct.pack("<12I", 1, 2, 3, 1, 2, 3, 9, 1, 2, 1, 2, 3)
    assert list(patterns.Code(words, 0, 48).find(1, 2, 3)) == [0, 12, 36]
    assert list(patterns.Code(words, 4, 44).find(1, 2, 3)) == [12]
    assert list(patterns.Code(words, 40, 48).find(1, 2, 3)) == []


def fake_kallsyms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    command = tmp_path / "kallsyms-finder"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    monkeypatch.setattr(kernel_image, "_KALLSYMS_COMMAND", str(command))


def without_a_slot(layout: Layout) -> bytes:
    """Make the hyp-stub unfindable by pattern."""
    data = bytearray(layout.data)
    at = layout.offsets["hyp-stub-v5.17"] + 3 * 0x80
    data[at : at + 4] = bytes(4)
    return bytes(data)


@pytest.mark.parametrize("text", ["ffff800008000000 T _text", "ffff800008010000 T _stext"])
def test_kallsyms_names_what_patterns_miss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    layout = image()
    at = layout.offsets["hyp-stub-v5.17"]
    line = f"{0xFFFF_8000_0800_0000 + at:x} T __hyp_stub_vectors"
    fake_kallsyms(tmp_path, monkeypatch, f"echo 'some noise'; echo '{text}'; echo '{line}'")
    kernel = imported(tmp_path, without_a_slot(layout))
    assert ("hyp_stub", "kallsyms __hyp_stub_vectors", at) in [(f.what, f.how, f.offset) for f in kernel.found]
    assert kernel.missing == ()


@pytest.mark.parametrize("script", ["exit 1", "echo 'zzz T _text'; echo 'ffffffffffffffff T __hyp_stub_vectors'"])
def test_kallsyms_that_fails_leaves_it_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    fake_kallsyms(tmp_path, monkeypatch, script)
    assert [missing.what for missing in imported(tmp_path, without_a_slot(image())).missing] == ["hyp_stub"]


SEEDS = [
    image("relocate-v5.17", size=0x4000).data,
    image("relocate-v4.19", size=0x4000).data,
    gzip.compress(image(size=0x4000).data),
    zboot(image(size=0x4000).data),
    elf(image(size=0x4000).data, dict.fromkeys(SYMBOLS, (0x800, 0))),
    elf(image(size=0x4000).data, dict.fromkeys(SYMBOLS, (0x800, 0)), relocatable=True, relocation_at=0x900),
]


@given(st.data())
@settings(max_examples=150, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files_are_imported_or_refused_in_one_line(tmp_path: Path, data: st.DataObject) -> None:
    seed = bytearray(data.draw(st.sampled_from(SEEDS)))
    tail = len(seed) - 600
    places = st.one_of(st.integers(0, 200), st.integers(0x800, 0x920), st.integers(tail, len(seed) - 1))
    values = st.one_of(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]), st.integers(0, 255))
    for place, value in data.draw(st.lists(st.tuples(places, values), max_size=12)):
        seed[place % len(seed)] = value
    cut = data.draw(st.one_of(st.just(len(seed)), st.integers(0, len(seed))))
    path = written(tmp_path, bytes(seed[:cut]))
    for take in (import_kernel, lambda path: import_symbol(path, "cpu_soft_restart")):
        try:
            message = ""
            take(path)
        except InputError as problem:
            message = str(problem)
        assert "\n" not in message
