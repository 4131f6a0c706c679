"""Debian's kernels: everything is found, and the bytes that were found do their work on a bare core."""

import os
import re
import shutil
import subprocess

import pytest
from bare import (
    CODE,
    DESTINATION,
    DONE,
    ELR_EL2,
    HVC,
    INDIRECTION,
    RAM,
    SCTLR_EL1,
    SOURCE,
    SPSR_EL2,
    VBAR_EL2,
    Bare,
)
from kernels import KERNELS, CannotFetchError, image, image_or_skip, in_ci

from asm.kernel_image import ImportedKernel, import_kernel
from asm.routines import Protocol

pytestmark = pytest.mark.kernel

LIST = RAM + 0x10_0000
SOURCES = RAM + 0x20_0000
TARGET = RAM + 0x80_0000
START = RAM + 0xC000
KIMAGE = RAM + 0x9000
DTB = 0x4123_0000
PAGES = 3


def kernel(name: str) -> ImportedKernel:
    return import_kernel(image_or_skip(name))


def test_some_kernel_can_be_reached() -> None:
    """In CI the tests below must not all be skipped."""
    problems = []
    for name in KERNELS:
        try:
            image(name)
        except CannotFetchError as problem:
            problems.append(f"{name}: {problem}")
        else:
            return
    message = "no kernel can be fetched: " + "; ".join(problems)
    if in_ci():
        pytest.fail(message)
    pytest.skip(message)


@pytest.mark.parametrize("name", KERNELS)
def test_everything_is_found(name: str) -> None:
    found = kernel(name)
    release = name.partition("-")[0]
    if release != "newest":
        assert re.match(re.escape(release) + r"\.", found.version)
    assert found.format == "Image"
    assert found.page_bytes == found.relocate.page_bytes == (16384 if name.endswith("-16k") else 4096)
    assert found.missing == ()
    assert found.soft_restart is not None
    assert found.hyp_stub is not None
    if release == "5.10":
        assert found.relocate.protocol is Protocol.MMU_OFF
        assert found.kexec_vectors is None
    else:
        assert found.relocate.protocol is Protocol.KIMAGE
        assert len(found.relocate.kimage_offsets) == 7
        assert found.kexec_vectors is not None
    assert len(found.relocate.code) < 512


@pytest.mark.parametrize("name", ["5.10", "6.12"])  # some ten seconds each
def test_kallsyms_agrees_where_it_is_installed(name: str) -> None:
    if shutil.which("kallsyms-finder") is None:
        pytest.skip("kallsyms-finder is not installed")
    found = kernel(name)
    listing = subprocess.run(["kallsyms-finder", str(found.path)], capture_output=True, text=True, check=False).stdout
    names = {words[2]: int(words[0], 16) for line in listing.splitlines() if len(words := line.split()) == 3}
    base = names.get("_text", names.get("_stext", 0) & -(2 << 20))
    offsets = {finding.what: finding.offset for finding in found.found}
    for symbol, what in {
        "arm64_relocate_new_kernel": "relocate",
        "cpu_soft_restart": "soft_restart",
        "__cpu_soft_restart": "soft_restart",
        "__hyp_stub_vectors": "hyp_stub",
        "trans_pgd_stub_vectors": "kexec_vectors",
    }.items():
        if symbol in names:
            assert offsets[what] == names[symbol] - base, symbol


@pytest.mark.parametrize("name", KERNELS)
def test_the_routine_copies_a_list(name: str) -> None:
    found = kernel(name)
    page = found.page_bytes
    bare = Bare(found.relocate.code, 1)
    expected = os.urandom(PAGES * page)
    entries = [TARGET | DESTINATION]
    for number in range(PAGES):
        source = SOURCES + (PAGES - number) * 2 * page
        bare.uc.mem_write(source, expected[number * page : (number + 1) * page])
        entries.append(source | SOURCE)
    bare.write(LIST, *entries, DONE)
    if found.relocate.protocol is Protocol.MMU_OFF:
        bare.run(CODE, START, LIST | INDIRECTION, START, DTB)
    else:
        fields = {"head": LIST | INDIRECTION, "start": START, "dtb": DTB, "el2_vectors": 0}
        for field, value in fields.items():
            bare.write(KIMAGE + found.relocate.kimage_offsets[field], value)
        bare.run(CODE, START, KIMAGE)
        assert bare.get(SCTLR_EL1) == 0x30500800
    assert bytes(bare.uc.mem_read(TARGET, PAGES * page)) == expected
    assert [bare.x(number) for number in range(4)] == [DTB, 0, 0, 0]
    assert bare.exceptions == []


@pytest.mark.parametrize("name", KERNELS)
def test_soft_restart_and_vectors_answer(name: str) -> None:
    found = kernel(name)
    assert found.soft_restart is not None
    bare = Bare(found.soft_restart.code, 1)
    bare.run(CODE, START, 0, START, 11, 12, 13)
    assert [bare.x(number) for number in range(3)] == [11, 12, 13]
    bare = Bare(found.soft_restart.code, 1)
    bare.run(CODE, START, 1, START, 11, 12, 13)
    assert bare.exceptions == [HVC]
    assert [bare.x(number) for number in range(5)] == [1, START, 11, 12, 13]
    back = RAM + 0x4000
    for vectors in filter(None, (found.hyp_stub, found.kexec_vectors)):
        for call, answer in ((0, 0), (77, 0xBADCA11)):
            bare = Bare(vectors.code, 2)
            bare.set(ELR_EL2, back)
            bare.set(SPSR_EL2, 0x3C5)
            bare.set(VBAR_EL2, CODE)
            bare.run(CODE + 0x400, back, call, RAM + 0x8000)
            assert bare.x(0) == answer
            assert bare.get(VBAR_EL2) == (CODE if call else RAM + 0x8000)
        bare.run(CODE + 0x400, START, 1, START, 11, 12, 13)
        assert [bare.x(number) for number in range(3)] == [11, 12, 13]
