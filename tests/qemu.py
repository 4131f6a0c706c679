"""Runs a small bare-metal program in qemu-system-aarch64, and reads what it left through the gdb stub.

Marker `qemu`. The PE starts at EL2 (`-M virt,virtualization=on`), MMU off, at the program's first instruction.
Everything has a time limit: a program that never reaches `done` is stopped and read all the same.
"""

import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

QEMU = "qemu-system-aarch64"
START_SECONDS = 20

_PACKET = re.compile(rb"\$([^#]*)#..", re.DOTALL)

_STUB_NAMES = {"SCTLR_EL1": "SCTLR", "VBAR_EL1": "VBAR"}
"""What the stub calls registers that AArch32 has as well."""

needs_qemu = [pytest.mark.qemu, pytest.mark.skipif(not shutil.which(QEMU), reason=f"{QEMU} is not installed")]
"""`pytestmark` of a module whose tests run QEMU."""


@dataclass(frozen=True)
class QemuRun:
    """The PE and the memory asked for, at the end."""

    done: bool
    """Whether the program reached its end; otherwise it was stopped in mid-run."""
    x: tuple[int, ...]
    sp: int
    pc: int
    pstate: int
    sysreg: Mapping[str, int]
    memory: Sequence[bytes]


def run(
    image: bytes,
    pa: int,
    *,
    entry: int,
    done: int,
    read: Sequence[tuple[int, int]] = (),
    sysregs: Sequence[str] = (),
    cpu: str = "cortex-a72",
    steps: int = 0,
    seconds: float = 10,
) -> QemuRun:
    """Load `image` at `pa`, run from `entry` until `done` (both VAs), at most for `seconds`; read (pa, size) ranges.

    `steps`: that many single steps from `done` on; taking an exception is one.
    """
    with tempfile.TemporaryDirectory(prefix="qemu-") as folder:
        program, stub = Path(folder, "image"), Path(folder, "gdb")
        program.write_bytes(image)
        command = [
            *(QEMU, "-M", "virt,virtualization=on", "-cpu", cpu, "-m", "128", "-S"),
            *("-nodefaults", "-display", "none", "-serial", "none", "-monitor", "none"),
            *("-device", f"loader,file={program},addr={pa:#x},force-raw=on"),
            *("-device", f"loader,addr={entry:#x},cpu-num=0"),
            *("-gdb", f"unix:{stub},server=on,wait=off"),
        ]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            with GdbStub(stub, process) as gdb:
                gdb.ask(f"Z1,{done:x},4")
                reached = gdb.go(seconds)
                for _ in range(steps):
                    gdb.ask("s")
                return QemuRun(
                    done=reached,
                    x=tuple(gdb.register(number) for number in range(31)),
                    sp=gdb.register(31),
                    pc=gdb.register(32),
                    pstate=gdb.register(33),
                    sysreg={name: gdb.system_register(name) for name in sysregs},
                    memory=[gdb.physical(*each) for each in read],
                )
        finally:
            process.kill()
            process.communicate()


class GdbStub:
    """The few packets of gdb's remote protocol that are needed."""

    def __init__(self, path: Path, process: "subprocess.Popen[bytes]") -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._path, self._process = path, process
        self._numbers: dict[str, int] = {}
        self._breakpoint: int | None = None
        self._unread = b""

    def __enter__(self) -> Self:
        limit = time.monotonic() + START_SECONDS
        while True:
            try:
                self._socket.connect(str(self._path))
            except OSError:
                if self._process.poll() is not None and self._process.stderr:
                    raise AssertionError(f"QEMU: {self._process.stderr.read().decode()}") from None
                if time.monotonic() > limit:
                    raise
                time.sleep(0.02)
            else:
                break
        self._socket.settimeout(START_SECONDS)
        self._find_system_registers()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()

    def ask(self, packet: str) -> str:
        """Send one packet and return its answer."""
        self._send(packet)
        return self._receive()

    def go(self, seconds: float) -> bool:
        """Continue until the breakpoint, or stop after `seconds`; return which."""
        self._send("c")
        self._socket.settimeout(seconds)
        try:
            self._receive()
        except TimeoutError:
            self._socket.settimeout(START_SECONDS)
            self._socket.sendall(b"\x03")
            self._receive()
            return False
        self._socket.settimeout(START_SECONDS)
        return True

    def register(self, number: int) -> int:
        """X0..X30, SP (31), PC (32), PSTATE (33), or a system register by its number in the stub."""
        return int.from_bytes(bytes.fromhex(self.ask(f"p{number:x}")), "little")

    def system_register(self, name: str) -> int:
        return self.register(self._numbers[_STUB_NAMES.get(name, name)])

    @property
    def names(self) -> tuple[str, ...]:
        """What the stub calls its registers, system registers among them."""
        return tuple(self._numbers)

    def named(self, name: str) -> int:
        """Read a register by the stub's own name."""
        return self.register(self._numbers[name])

    def break_at(self, va: int) -> None:
        """Stop before the instruction at `va`, and nowhere else."""
        if self._breakpoint is not None:
            assert self.ask(f"z1,{self._breakpoint:x},4") == "OK"
        assert self.ask(f"Z1,{va:x},4") == "OK"
        self._breakpoint = va

    def monitor(self, command: str) -> str:
        """Have QEMU's monitor do something; return what it prints."""
        self._send("qRcmd," + command.encode().hex())
        printed = ""
        while (answer := self._receive()) != "OK":
            assert answer.startswith("O"), answer
            printed += bytes.fromhex(answer[1:]).decode()
        return printed

    def physical(self, pa: int, size: int) -> bytes:
        """Physical memory, whatever the PE would see there."""
        assert self.ask("Qqemu.PhyMemMode:1") == "OK"
        return b"".join(
            bytes.fromhex(self.ask(f"m{at:x},{min(1024, pa + size - at):x}")) for at in range(pa, pa + size, 1024)
        )

    def _find_system_registers(self) -> None:
        """Read the stub's numbers of the system registers out of its description."""
        self.ask("qSupported:xmlRegisters=arm")
        main = self._document("target.xml")
        parts = re.findall(r'<xi:include href="([^"]+)"', main)
        number = 0
        for part in parts:
            for tag in re.findall(r"<reg [^>]*>", self._document(part)):
                given = re.search(r'regnum="(\d+)"', tag)
                number = int(given[1]) if given else number
                name = re.search(r'name="([^"]+)"', tag)
                if name:
                    self._numbers[name[1]] = number
                number += 1

    def _document(self, name: str) -> str:
        text, more = "", "m"
        while more == "m":
            answer = self.ask(f"qXfer:features:read:{name}:{len(text):x},ffb")
            more, text = answer[0], text + answer[1:]
        return text

    def _send(self, packet: str) -> None:
        data = packet.encode()
        self._socket.sendall(b"$" + data + b"#%02x" % (sum(data) % 256))

    def _receive(self) -> str:
        """Read one packet and acknowledge it."""
        while not (packet := _PACKET.search(self._unread)):
            got = self._socket.recv(65536)
            if not got:
                raise AssertionError("QEMU closed its gdb stub")
            self._unread += got
        self._unread = self._unread[packet.end() :]
        self._socket.sendall(b"+")
        return packet[1].decode("latin-1")
