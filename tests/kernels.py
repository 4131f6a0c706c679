"""Real arm64 kernels for tests: Debian's own packages, fetched by apt from the mirror that this machine already uses.

They are GPL-2.0 and come and go; none of their bytes and no version of theirs is kept in the project. What was fetched
once stays in a cache (RELOCSCOPE_KERNELS, or relocscope-kernels in the user's cache directory).
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

FETCH_SECONDS = 900


@dataclass(frozen=True)
class Kernel:
    """A package that always depends on the kernel meant, and the suite that has it."""

    suite: str
    package: str


KERNELS = {
    "5.10": Kernel("bullseye", "linux-image-cloud-arm64"),
    "6.1": Kernel("bookworm", "linux-image-cloud-arm64"),
    "6.12": Kernel("trixie", "linux-image-cloud-arm64"),
    "6.12-16k": Kernel("trixie", "linux-image-arm64-16k"),
    "newest": Kernel("sid", "linux-image-cloud-arm64"),
    "newest-16k": Kernel("sid", "linux-image-arm64-16k"),
}

_IMAGE_PACKAGE = re.compile(r"^\s*Depends: (linux-(?:image|binary)-\d\S*)$", re.MULTILINE)


class CannotFetchError(Exception):
    """No kernel, and why."""


def in_ci() -> bool:
    """Say whether this is a continuous integration run, where what can be reached must be."""
    return os.environ.get("CI", "").lower() in ("1", "true")


def image_or_skip(name: str) -> Path:
    """Return the file of a kernel image, fetched if need be; skip the test with the reason where that fails."""
    try:
        return image(name)
    except CannotFetchError as problem:
        pytest.skip(f"kernel {name}: {problem}")


@cache
def image(name: str) -> Path:
    """Return the file of a kernel image, fetched if need be. Raises CannotFetchError."""
    home = cache_directory() / name
    if held := next(home.glob("vmlinu*"), None):
        return held
    for tool in ("apt-get", "apt-cache", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise CannotFetchError(f"{tool} is not installed")
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=home.parent) as scratch:
        found = _fetch(KERNELS[name], Path(scratch))
        home.mkdir(exist_ok=True)
        return Path(shutil.move(found, home / found.name))


def cache_directory() -> Path:
    """Return where fetched kernels are kept."""
    if named := os.environ.get("RELOCSCOPE_KERNELS"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "relocscope-kernels"


def _fetch(kernel: Kernel, scratch: Path) -> Path:
    options = _apt_options(kernel.suite, scratch)
    _run(["apt-get", *options, "update"], scratch)
    package = kernel.package
    # The package of a version holds the image, or depends on the one that does (linux-binary-*, from 6.19 on).
    while further := _IMAGE_PACKAGE.search(_run(["apt-cache", *options, "depends", package], scratch)):
        package = further[1]
    _run(["apt-get", *options, "download", package], scratch)
    [archive] = scratch.glob("*.deb")
    _run(["dpkg-deb", "-x", str(archive), str(scratch / "root")], scratch)
    found = [*scratch.glob("root/boot/vmlinu*"), *scratch.glob("root/usr/lib/**/vmlinu*")]
    if not found:
        raise CannotFetchError(f"{package} holds no kernel image")
    return found[0]


def _apt_options(suite: str, scratch: Path) -> list[str]:
    """Write private package lists for arm64; nothing of the machine's own apt state is touched."""
    mirror = next(_mirrors(), None)
    if mirror is None:
        raise CannotFetchError("no Debian mirror in this machine's apt configuration")
    for directory in ("state/lists/partial", "cache/archives/partial"):
        (scratch / directory).mkdir(parents=True)
    (scratch / "status").touch()
    (scratch / "sources.list").write_text(f"deb [arch=arm64] {mirror} {suite} main\n")
    settings = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::Retries": "2",
        "Acquire::http::Timeout": "30",
        "Dir::State": scratch / "state",
        "Dir::State::status": scratch / "status",
        "Dir::Cache": scratch / "cache",
        "Dir::Etc::sourcelist": scratch / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
    }
    return ["-qq", *(word for key, value in settings.items() for word in ("-o", f"{key}={value}"))]


def _mirrors() -> Iterator[str]:
    """Find Debian mirrors in sources.list and its .list and .sources neighbours, the security archive aside."""
    etc = Path("/etc/apt")
    for file in [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]:
        try:
            text = file.read_text(errors="replace")
        except OSError:
            continue
        for line in text.splitlines():
            if line.startswith("deb ") or line.lower().startswith("uris:"):
                yield from (word for word in line.split() if word.rstrip("/").endswith("/debian"))


def _run(command: list[str], directory: Path) -> str:
    try:
        done = subprocess.run(
            command, cwd=directory, capture_output=True, text=True, check=False, timeout=FETCH_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise CannotFetchError(f"{command[0]} took longer than {FETCH_SECONDS} s") from None
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise CannotFetchError(f"{command[0]} failed: {last}")
    return done.stdout
