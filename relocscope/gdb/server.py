"""Server: one gdb at a time on a TCP port. A client that goes leaves the session where it is, for the next one."""

import re
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from relocscope.gdb.packets import Decoder, Signal, frame, unescape
from relocscope.gdb.stub import Stub
from relocscope.stepping.control import Control
from traces.errors import InputError

LOOPBACK = "127.0.0.1"
_RECEIVED_BYTES = 1 << 16

Report = Callable[[str, dict[str, Any]], None]
"""Told what happens, by name, with its facts."""


def address_of(text: str) -> tuple[str, int]:
    """Read HOST:PORT, :PORT or PORT; a host that is not named is this machine alone, port 0 any that is free."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or LOOPBACK
    if not re.fullmatch("[0-9]{1,5}", port) or int(port) > 0xFFFF:
        raise InputError(f"--gdb: {text}: must be HOST:PORT, with a port of 0 to 65535")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches a socket there."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listen(host: str, port: int) -> socket.socket:
    """Open the port. InputError where it cannot be had."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        return socket.create_server(found[0][4][:2], family=found[0][0])
    except OSError as error:
        raise InputError(f"--gdb: {host}:{port}: {error.strerror or error}") from None


def serve(control: Control, listening: socket.socket, report: Report) -> None:
    """Serve one gdb after another, until one of them kills it."""
    stub = Stub(control)
    while not stub.over:
        client, peer = listening.accept()
        with client:
            report("connected", {"peer": f"{peer[0]}:{peer[1]}"})
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _Connection(client, stub).converse()
        report("killed" if stub.over else "disconnected", {"insn": control.session.number})


class _Connection:
    """One client from its first byte to its last."""

    def __init__(self, client: socket.socket, stub: Stub) -> None:
        self._client, self._stub = client, stub
        self._decoder = Decoder()
        self._waiting: list[bytes | Signal] = []
        """What came while something else was carried out."""
        self._last = b""
        self._gone = False
        stub.begin()
        stub.interrupted = self._interrupted

    def converse(self) -> None:
        """Answer until the client goes."""
        for each in self._received():
            if each is Signal.REFUSED:
                self._send(self._last)
            elif each is Signal.BROKEN and self._stub.acknowledges:
                self._send(b"-")
            elif isinstance(each, bytes):
                self._answer(each)
            if not self._stub.connected:
                return

    def _answer(self, packet: bytes) -> None:
        if self._stub.acknowledges:
            self._send(b"+")
        for answer in self._stub.answers(unescape(packet)):
            self._last = frame(answer)
            self._send(self._last)

    def _received(self) -> Iterator[bytes | Signal]:
        while not self._gone:
            while self._waiting:
                yield self._waiting.pop(0)
            self._receive()

    def _receive(self) -> None:
        """Wait for bytes, and take in what they mean."""
        data = b""
        with suppress(OSError):
            data = self._client.recv(_RECEIVED_BYTES)
        self._gone = not data
        self._waiting += self._decoder.feed(data)

    def _interrupted(self) -> bool:
        """Whether the client wants what is under way to end: it says so, or has gone."""
        while not self._gone and select.select([self._client], [], [], 0)[0]:
            self._receive()
        if Signal.INTERRUPT in self._waiting:
            self._waiting.remove(Signal.INTERRUPT)
            return True
        return self._gone

    def _send(self, data: bytes) -> None:
        try:
            self._client.sendall(data)
        except OSError:
            self._gone = True
