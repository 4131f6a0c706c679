"""Stub: what each packet of GDB's remote protocol does to a session, and its answer. It knows no socket."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from relocscope.gdb import memory, resuming
from relocscope.gdb.description import Register, registers, target_xml
from relocscope.gdb.monitor import monitor
from relocscope.gdb.packets import MOST_BYTES, escape
from relocscope.gdb.resuming import GdbStop
from relocscope.stepping.control import Control
from relocscope.stepping.stops import at_access, at_pc
from traces.errors import InputError

_SUPPORTED = (
    f"PacketSize={MOST_BYTES:x};QStartNoAckMode+;qXfer:features:read+;swbreak+;hwbreak+;vContSupported+;"
    "ReverseStep+;ReverseContinue+;binary-upload+"
)
_OK, _UNKNOWN, _ERROR = b"OK", b"", b"E01"
_BROKEN_AT = {b"0": "swbreak", b"1": "hwbreak"}
_WATCHED = {b"2": ("write", "watch"), b"3": ("read", "rwatch"), b"4": ("access", "awatch")}
"""Kinds of Z packets: what is waited for, and what a stop reply calls it."""


@dataclass(slots=True, eq=False)
class Stub:
    """A session as gdb drives it. Nothing that gdb sends makes it fail; what it does not know it answers with nothing.

    gdb asks for addresses as the PE would see them there: they are translated by the regime in force.
    """

    control: Control
    interrupted: Callable[[], bool] = lambda: False
    """Whether gdb wants a `continue` to end; asked while one is under way."""
    stops: dict[tuple[bytes, ...], GdbStop] = field(default_factory=dict)
    acknowledges: bool = True
    """Until gdb says that it can do without."""
    connected: bool = True
    """Until gdb detaches."""
    over: bool = False
    """gdb has killed it."""
    extended: bool = False
    """`target extended-remote`: what is killed may be run again."""
    _registers: tuple[Register, ...] = ()
    _description: bytes = b""

    def begin(self) -> None:
        """Make ready for another client: nothing of the last one's stays but where the session stands."""
        self.stops.clear()
        self.acknowledges, self.connected, self.extended = True, True, False
        cpu = self.control.session.machine.cpu
        self._registers = registers(cpu)
        self._description = target_xml(self._registers, cpu)

    def answers(self, packet: bytes) -> Iterator[bytes]:
        """Carry out one packet; yield what is to be sent: what is to be printed first, then the reply, if there is one.

        A packet that makes no sense is answered with an error.
        """
        try:
            yield from self._dispatch(packet)
        except InputError:
            yield _ERROR
        except (ValueError, IndexError, OverflowError):  # digits that are none, parts that are missing
            yield _ERROR

    def _dispatch(self, packet: bytes) -> Iterator[bytes]:
        for name, answer in _BY_NAME.items():
            if packet == name or (packet.startswith(name) and name[-1:] in (b":", b";", b",")):
                yield from answer(self, packet[len(name) :])
                return
        if packet[:1] in _BY_LETTER:
            yield from _BY_LETTER[packet[:1]](self, packet[1:])
            return
        yield _UNKNOWN

    # -- Registers and memory -----------------------------------------------------------------------------------------

    def read_all(self, _: bytes) -> Iterator[bytes]:
        """Answer `g`."""
        machine = self.control.session.machine
        yield b"".join(each.read(machine) for each in self._registers).hex().encode()

    def write_all(self, rest: bytes) -> Iterator[bytes]:
        """Answer `G`: set what differs."""
        data, at = bytes.fromhex(rest.decode("ascii")), 0
        if len(data) != sum(each.bits // 8 for each in self._registers):
            raise ValueError("not all registers, or more")
        machine, wanted = self.control.session.machine, []
        for each in self._registers:
            value, at = data[at : at + each.bits // 8], at + each.bits // 8
            if value != each.read(machine) and each.writable:
                wanted.append((each, value))
        resuming.set_registers(self.control.session, wanted)
        yield _OK

    def read_one(self, rest: bytes) -> Iterator[bytes]:
        """Answer `p`."""
        yield self._registers[_hex(rest)].read(self.control.session.machine).hex().encode()

    def write_one(self, rest: bytes) -> Iterator[bytes]:
        """Answer `P`."""
        number, value = rest.split(b"=")
        register, data = self._registers[_hex(number)], bytes.fromhex(value.decode("ascii"))
        if not register.writable or len(data) != register.bits // 8:
            raise ValueError(f"{register.name} cannot be set to that")
        resuming.set_registers(self.control.session, [(register, data)])
        yield _OK

    def read_memory(self, rest: bytes) -> Iterator[bytes]:
        """Answer `m`."""
        va, size = map(_hex, rest.split(b","))
        yield memory.read(self.control.session, va, min(size, MOST_BYTES // 2)).hex().encode() or _ERROR

    def read_binary(self, rest: bytes) -> Iterator[bytes]:
        """Answer `x`."""
        va, size = map(_hex, rest.split(b","))
        data = memory.read(self.control.session, va, min(size, MOST_BYTES // 2 - 1))
        yield b"b" + escape(data) if data or not size else _ERROR

    def write_memory(self, rest: bytes) -> Iterator[bytes]:
        """Answer `M`."""
        where, data = rest.split(b":", 1)
        yield self._written(where, bytes.fromhex(data.decode("ascii")))

    def write_binary(self, rest: bytes) -> Iterator[bytes]:
        """Answer `X`; its data come unescaped."""
        where, data = rest.split(b":", 1)
        yield self._written(where, data)

    def _written(self, where: bytes, data: bytes) -> bytes:
        va, size = map(_hex, where.split(b","))
        if len(data) != size:
            raise ValueError("another length than was said")
        memory.write(self.control.session, va, data)
        return _OK

    # -- Stops and movements ------------------------------------------------------------------------------------------

    def insert(self, rest: bytes) -> Iterator[bytes]:
        """Answer `Z`: breakpoints of either kind, and watchpoints."""
        key = tuple(rest.split(b";")[0].split(b","))
        kind, va, size = key[0], _hex(key[1]), _hex(key[2])
        if kind in _BROKEN_AT:
            self.stops[key] = GdbStop(at_pc(va), _BROKEN_AT[kind])
        elif kind in _WATCHED:
            access, called = _WATCHED[kind]
            self.stops[key] = GdbStop(at_access(va, size, "va", access), f"{called}:{va:x}", is_watch=True)
        yield _OK if key in self.stops else _UNKNOWN

    def remove(self, rest: bytes) -> Iterator[bytes]:
        """Answer `z`; what is not there is gone already."""
        self.stops.pop(tuple(rest.split(b";")[0].split(b",")), None)
        yield _OK

    def why(self, _: bytes) -> Iterator[bytes]:
        """Answer `?`."""
        yield resuming.stopped()

    def step(self, rest: bytes) -> Iterator[bytes]:
        """Answer `s`."""
        yield from resuming.step(self.control, _place(rest))

    def continue_(self, rest: bytes) -> Iterator[bytes]:
        """Answer `c`."""
        yield from resuming.continue_(self.control, self._stops(), self.interrupted, _place(rest))

    def resume(self, rest: bytes) -> Iterator[bytes]:
        """Answer `vCont;`: the first action that is for the one thread there is."""
        action = rest.split(b";")[0].split(b":")[0]
        if action[:1] in (b"s", b"S"):
            yield from resuming.step(self.control, None)
        elif action[:1] in (b"c", b"C"):
            yield from resuming.continue_(self.control, self._stops(), self.interrupted, None)
        else:
            yield _ERROR

    def reverse(self, rest: bytes) -> Iterator[bytes]:
        """Answer `bs` and `bc`."""
        if rest == b"s":
            yield from resuming.step_back(self.control)
        elif rest == b"c":
            yield from resuming.continue_back(self.control, self._stops(), self.interrupted)
        else:
            yield _UNKNOWN

    def _stops(self) -> list[GdbStop]:
        own = [GdbStop(stop, "") for stop in self.control.stops.values()]
        return [*self.stops.values(), *own]

    # -- The rest -----------------------------------------------------------------------------------------------------

    def supported(self, _: bytes) -> Iterator[bytes]:
        """Answer `qSupported`."""
        yield _SUPPORTED.encode()

    def no_ack(self, _: bytes) -> Iterator[bytes]:
        """Answer `QStartNoAckMode`."""
        self.acknowledges = False
        yield _OK

    def describe(self, rest: bytes) -> Iterator[bytes]:
        """Answer `qXfer:features:read:target.xml:OFFSET,LENGTH`."""
        annex, window = rest.split(b":")
        if annex != b"target.xml":
            yield b"E00"
            return
        start, size = map(_hex, window.split(b","))
        part = self._description[start : start + min(size, MOST_BYTES // 2)]
        yield (b"m" if start + len(part) < len(self._description) else b"l") + escape(part)

    def command(self, rest: bytes) -> Iterator[bytes]:
        """Answer `qRcmd,`: gdb's `monitor`."""
        yield from monitor(self.control, bytes.fromhex(rest.decode("ascii")).decode("utf-8", "replace"))
        yield _OK

    def detach(self, _: bytes) -> Iterator[bytes]:
        """Answer `D`: the session stays where it is."""
        self.connected = False
        yield _OK

    def kill(self, _: bytes) -> Iterator[bytes]:
        """Answer `k` and `vKill`: end the server, or, where gdb may run it again, go back to the start."""
        if self.extended:
            self.control.session.restart()
        else:
            self.connected, self.over = False, True
        yield _OK

    def kill_silently(self, rest: bytes) -> Iterator[bytes]:
        """Answer `k`, which has no reply."""
        for _ in self.kill(rest):
            yield from ()

    def restart(self, _: bytes) -> Iterator[bytes]:
        """Answer `R`, which has no reply."""
        self.control.session.restart()
        yield from ()

    def run(self, _: bytes) -> Iterator[bytes]:
        """Answer `vRun`: from the start."""
        self.control.session.restart()
        yield resuming.stopped()

    def extend(self, _: bytes) -> Iterator[bytes]:
        """Answer `!`."""
        self.extended = True
        yield _OK

    def fine(self, _: bytes) -> Iterator[bytes]:
        """Answer what needs no more than consent: `H`, `T`, `qSymbol`."""
        yield _OK


def _hex(digits: bytes) -> int:
    if not 0 < len(digits) <= 16 or digits.strip(b"0123456789abcdefABCDEF"):
        raise ValueError(f"{digits!r}: no hexadecimal number of 64 bits")
    return int(digits, 16)


def _place(rest: bytes) -> int | None:
    """Return where `c ADDR` and `s ADDR` are to go on."""
    return _hex(rest) if rest else None


def _constant(reply: bytes) -> Callable[[Stub, bytes], Iterator[bytes]]:
    def answer(_: Stub, __: bytes) -> Iterator[bytes]:
        yield reply

    return answer


_BY_NAME: dict[bytes, Callable[[Stub, bytes], Iterator[bytes]]] = {
    b"qSupported": Stub.supported,
    b"qSupported:": Stub.supported,
    b"QStartNoAckMode": Stub.no_ack,
    b"qXfer:features:read:": Stub.describe,
    b"qRcmd,": Stub.command,
    b"qAttached": _constant(b"1"),
    b"qAttached:": _constant(b"1"),
    b"qC": _constant(b"QC1"),
    b"qfThreadInfo": _constant(b"m1"),
    b"qsThreadInfo": _constant(b"l"),
    b"qSymbol:": Stub.fine,
    b"vCont?": _constant(b"vCont;c;C;s;S"),
    b"vCont;": Stub.resume,
    b"vKill;": Stub.kill,
    b"vRun;": Stub.run,
    b"vMustReplyEmpty": _constant(_UNKNOWN),
}
_BY_LETTER: dict[bytes, Callable[[Stub, bytes], Iterator[bytes]]] = {
    b"?": Stub.why,
    b"!": Stub.extend,
    b"g": Stub.read_all,
    b"G": Stub.write_all,
    b"p": Stub.read_one,
    b"P": Stub.write_one,
    b"m": Stub.read_memory,
    b"M": Stub.write_memory,
    b"x": Stub.read_binary,
    b"X": Stub.write_binary,
    b"Z": Stub.insert,
    b"z": Stub.remove,
    b"s": Stub.step,
    b"c": Stub.continue_,
    b"b": Stub.reverse,
    b"H": Stub.fine,
    b"T": Stub.fine,
    b"D": Stub.detach,
    b"k": Stub.kill_silently,
    b"R": Stub.restart,
}
