"""The GDB server: framing, the answer to every packet, and a socket; gdb itself is in test_relocscope_gdb_client.py."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relocscope.gdb import server
from relocscope.gdb.packets import MOST_BYTES, Decoder, Signal, escape, frame, unescape
from relocscope.gdb.stub import Stub
from relocscope.operand import operand, with_settings
from relocscope.stepping.control import Control
from relocscope.stepping.session import Session
from traces.errors import InputError

# -- Framing ----------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=300))
def test_what_is_framed_is_what_is_decoded_in_whatever_pieces(data: bytes):
    framed = frame(escape(data))
    decoder = Decoder()
    assert [unescape(each) for byte in framed for each in decoder.feed(bytes((byte,)))] == [data]
    assert [unescape(each) for each in Decoder().feed(framed)] == [data]


@given(st.binary(max_size=300), st.binary(max_size=20))
def test_no_bytes_keep_a_later_packet_from_arriving(junk: bytes, data: bytes):
    decoder = Decoder()
    list(decoder.feed(junk))
    found = list(decoder.feed(b"#00" + frame(escape(data))))
    assert unescape(found[-1]) == data


@given(st.binary(min_size=1, max_size=40), st.integers(1, 255))
def test_a_wrong_checksum_is_a_broken_packet(data: bytes, off: int):
    wrong = b"$%b#%02x" % (escape(data), (sum(escape(data)) + off) & 0xFF)
    assert list(Decoder().feed(wrong)) == [Signal.BROKEN]


def test_what_comes_between_packets():
    decoder = Decoder()
    assert list(decoder.feed(b"+-\x03x$g#67")) == [
        Signal.ACKNOWLEDGED, Signal.REFUSED, Signal.INTERRUPT, b"g",
    ]  # fmt: skip
    assert list(decoder.feed(b"$a\x03b$g#67")) == [b"g"]
    assert list(decoder.feed(frame(b"x" * (MOST_BYTES + 1)))) == [Signal.BROKEN]
    assert list(decoder.feed(b"$g#zz$g#67")) == [Signal.BROKEN, b"g"]


# -- Answers ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shared() -> Session:
    return Session(with_settings(operand("rfc-v1-nvhe"), {"size": "64KiB"}))


@pytest.fixture
def stub(shared: Session) -> Stub:
    shared.go(0)
    found = Stub(Control(shared))
    found.begin()
    return found


def ask(stub: Stub, packet: str) -> str:
    return list(stub.answers(packet.encode()))[-1].decode()


def printed(answers: list[bytes]) -> str:
    return "".join(bytes.fromhex(each[1:].decode()).decode() for each in answers if each[:1] == b"O" and each != b"OK")


def number_of(stub: Stub, name: str) -> int:
    return next(int(each.attrib["regnum"]) for each in described(stub).iter("reg") if each.get("name") == name)


def described(stub: Stub) -> ElementTree.Element:
    return ElementTree.fromstring(b"".join(_description(stub)))  # noqa: S314 - it is ours


def _description(stub: Stub) -> Iterator[bytes]:
    at = 0
    while True:
        part = unescape(next(stub.answers(b"qXfer:features:read:target.xml:%x,200" % at)))
        yield part[1:]
        at += len(part) - 1
        if part[:1] == b"l":
            return


def test_the_description_numbers_what_g_holds(stub: Stub):
    tree = described(stub)
    found = list(tree.iter("reg"))
    assert [int(each.attrib["regnum"]) for each in found] == list(range(len(found)))
    names = [each.attrib["name"] for each in found]
    assert names[:34] == [*(f"x{number}" for number in range(31)), "sp", "pc", "cpsr"]
    assert {"SCTLR_EL1", "SCTLR_EL2", "TTBR1_EL1", "HCR_EL2", "CurrentEL", "FAR_EL2", "v31", "fpcr"} <= set(names)
    data = bytes.fromhex(ask(stub, "g"))
    assert len(data) == sum(int(each.attrib["bitsize"]) // 8 for each in found)
    at = 0
    for each in found:
        size = int(each.attrib["bitsize"]) // 8
        assert bytes.fromhex(ask(stub, f"p{int(each.attrib['regnum']):x}")) == data[at : at + size]
        at += size
    kinds = {each.get("id") for each in tree.iter() if each.tag in ("flags", "union", "vector")}
    plain = {"int32", "int64", "data_ptr", "code_ptr"}
    assert {each.attrib["type"] for each in found} <= kinds | plain


def test_registers_are_the_sessions(stub: Stub, shared: Session):
    shared.go(10)
    cpu = shared.machine.cpu
    for name, value in (("x3", cpu.x[3]), ("pc", cpu.pc), ("SCTLR_EL2", cpu.sysreg["SCTLR_EL2"]), ("CurrentEL", 8)):
        assert int.from_bytes(bytes.fromhex(ask(stub, f"p{number_of(stub, name):x}")), "little") == value


def test_steps_and_stops_forwards_and_back(stub: Stub, shared: Session):
    assert ask(stub, "?") == "T05thread:1;"
    assert ask(stub, "bs") == "T05replaylog:begin;thread:1;"
    assert ask(stub, "vCont;s:1") == "T05thread:1;"
    assert shared.number == 1
    loop = shared.symbols["copy_line"]
    assert ask(stub, f"Z0,{loop:x},4") == "OK"
    assert ask(stub, "vCont;c") == "T05swbreak:;thread:1;"
    first = shared.number
    assert shared.pc == loop
    assert ask(stub, "c") == "T05swbreak:;thread:1;"  # it stands on it: gdb steps first
    assert shared.number == first
    ask(stub, "s")
    ask(stub, "c")
    assert shared.number == first + 12
    assert ask(stub, "bc") == "T05swbreak:;thread:1;"
    assert shared.number == first
    assert ask(stub, f"z0,{loop:x},4") == "OK"
    assert ask(stub, "bc") == "T05replaylog:begin;thread:1;"
    ended = list(stub.answers(b"c"))
    assert ended[-1] == b"T05replaylog:end;thread:1;"
    assert "new kernel" in printed(ended)
    assert shared.at_end
    assert ask(stub, "s") == "T05replaylog:end;thread:1;"


def test_watchpoints_stop_on_this_side_of_what_they_watch(stub: Stub, shared: Session):
    target = int(shared.kimage.destinations[1])
    ask(stub, f"Z2,{target:x},8")
    assert ask(stub, "c") == f"T05watch:{target:x};thread:1;"
    assert shared.insn is not None
    assert "stnp" in shared.insn.text
    at = shared.number
    ask(stub, f"z2,{target:x},8")
    ask(stub, "s")
    ask(stub, f"Z2,{target:x},8")
    shared.go(at + 500)
    assert ask(stub, "bc") == f"T05watch:{target:x};thread:1;"
    assert shared.number == at + 1
    ask(stub, f"z2,{target:x},8")
    source = int(shared.kimage.sources[2])
    ask(stub, f"Z2,{source:x},8")
    ask(stub, f"Z3,{source:x},8")
    assert ask(stub, "c") == f"T05rwatch:{source:x};thread:1;"


def test_a_continue_is_broken_off_where_it_has_come_to(stub: Stub, shared: Session):
    stub.interrupted = lambda: True
    ask(stub, "Z0,4,4")
    assert ask(stub, "c") == "T02thread:1;"
    assert 0 < shared.number < shared.timeline.end
    assert ask(stub, "bc") == "T02thread:1;"


def test_memory_is_what_the_pe_sees_and_a_hole_is_an_error(stub: Stub, shared: Session):
    pc = shared.pc
    assert bytes.fromhex(ask(stub, f"m{pc:x},10")) == shared.memory.read(pc, 16)
    assert unescape(next(stub.answers(b"x%x,10" % pc))) == b"b" + shared.memory.read(pc, 16)
    assert ask(stub, "mdead00000000,4") == "E01"
    assert ask(stub, "mffffffffffffffff,40") == "E01"
    assert ask(stub, "Mdead00000000,4:00000000") == "E01"
    last = max(region.pa + region.size for region in shared.memory.regions)
    shared.go(10)
    assert len(bytes.fromhex(ask(stub, f"m{last - 8:x},100"))) == 8


def test_what_gdb_writes_is_an_edit(stub: Stub, shared: Session):
    own = Session(shared.subject)
    stub = Stub(Control(own))
    stub.begin()
    own.go(20)
    x5 = number_of(stub, "x5")
    assert ask(stub, f"P{x5:x}=7700000000000000") == "OK"
    assert ask(stub, f"M{own.pc + 0x100:x},6:010203040506") == "OK"
    assert list(stub.answers(b"X%x,4:ab}cd" % (own.pc + 0x200)))[-1] == b"E01"
    assert list(stub.answers(b"X%x,4:ab}c" % (own.pc + 0x200)))[-1] == b"OK"
    ask(stub, "s")
    ask(stub, "bs")
    assert own.machine.cpu.x[5] == 0x77
    assert own.memory.read(own.pc + 0x100, 6) == bytes(range(1, 7))
    assert own.memory.read(own.pc + 0x200, 4) == b"ab}c"
    assert [change.insn for change in own.changes] == [20, 20, 20]
    assert ask(stub, f"P{number_of(stub, 'CurrentEL'):x}=0400000000000000") == "E01"
    assert ask(stub, f"P{number_of(stub, 'pc'):x}=0100000000000000") == "E01"
    registers = bytearray(bytes.fromhex(ask(stub, "g")))
    registers[8 * 6] = 0x66
    assert ask(stub, f"G{registers.hex()}") == "OK"
    assert own.machine.cpu.x[6] & 0xFF == 0x66


def test_monitor_is_the_sessions_own_commands(stub: Stub, shared: Session):
    said = list(stub.answers(b"qRcmd," + b"until type Device-nGnRnE".hex().encode()))
    assert said[-1] == b"OK"
    assert "Device-nGnRnE" in printed(said)
    assert "flush register-cache" in printed(said)
    at = shared.number
    cost = printed(list(stub.answers(b"qRcmd," + b"cost".hex().encode())))
    assert "device_load" in cost
    assert "Device-nGnRnE" in cost
    assert "flush" not in cost
    assert "no command" in printed(list(stub.answers(b"qRcmd," + b"frob".hex().encode())))
    assert "kill" in printed(list(stub.answers(b"qRcmd," + b"quit".hex().encode())))
    assert printed(list(stub.answers(b"qRcmd," + b"help".hex().encode()))).count("\n") > 20
    assert shared.number == at
    assert ask(stub, "qRcmd,zz") == "E01"


def test_a_stop_of_monitors_holds_for_gdb(stub: Stub, shared: Session):
    list(stub.answers(b"qRcmd," + b"break el 2".hex().encode()))
    answers = list(stub.answers(b"c"))
    assert answers[-1] == b"T05thread:1;"
    assert "EL2" in printed(answers)
    assert shared.machine.cpu.el == 2


def test_detach_leaves_it_and_kill_ends_it(stub: Stub, shared: Session):
    ask(stub, "s")
    assert ask(stub, "D") == "OK"
    assert (stub.connected, stub.over, shared.number) == (False, False, 1)
    stub.begin()
    assert ask(stub, "!") == "OK"
    assert list(stub.answers(b"k")) == []
    assert (stub.over, shared.number) == (False, 0)
    stub.begin()
    assert ask(stub, "vKill;1") == "OK"
    assert (stub.connected, stub.over) == (False, True)


@pytest.mark.parametrize("packet", ["qFoo", "vFoo", "QFoo", "jfoo", "", "b", "Z9,0,4", "vMustReplyEmpty", "A"])
def test_what_is_not_known_is_answered_with_nothing(stub: Stub, packet: str):
    assert ask(stub, packet) == ""


@pytest.mark.parametrize(
    "packet",
    ["p", "pzz", "p999", "P0", "P0=12", "G00", "m", "m0", "mx,4", "M0,4:00", "M0,1:zz", "X0,4:a", "Z0", "Z2,0,0",
     "Z0,11111111111111111,4", "vCont;", "vCont;t", "c zz", "s-1", "qXfer:features:read:target.xml:0"],
)  # fmt: skip
def test_what_makes_no_sense_is_an_error(stub: Stub, shared: Session, packet: str):
    assert ask(stub, packet)[:1] == "E"
    assert shared.number == 0


_COMMANDS = st.sampled_from(
    [*"?!gGpPmMxXZzscbHTDkR", "bs", "bc", "qSupported", "qXfer:features:read:", "qRcmd,", "vCont;", "vKill;", "Z2,"]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(_COMMANDS, st.binary(max_size=12) | st.from_regex(rb"[0-9a-f,:;=]{0,16}")), max_size=4))
def test_no_packet_makes_it_fail(shared: Session, packets: list[tuple[str, bytes]]):
    shared.go(100)
    found = Stub(Control(shared), interrupted=lambda: True)
    found.begin()
    for command, rest in packets:
        edits = command in ("P", "G", "M", "X", "qRcmd,")  # of a session that the tests share
        answers = list(found.answers(command.encode() + b"!" * edits + rest))
        assert len([each for each in answers if each[:1] != b"O" or each == b"OK"]) <= 1
    assert len(bytes.fromhex(ask(found, "g"))) > 1000


# -- The socket -------------------------------------------------------------------------------------------------------


class Client:
    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((server.LOOPBACK, port), timeout=30)
        self.decoder = Decoder()
        self.come: list[bytes | Signal] = []

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def next(self) -> bytes | Signal:
        while not self.come:
            data = self.socket.recv(65536)
            assert data, "the server has gone"
            self.come += self.decoder.feed(data)
        return self.come.pop(0)


def test_one_client_after_another_and_nothing_that_they_send_ends_it(shared: Session):
    shared.go(0)
    events: list[str] = []
    with server.listen(server.LOOPBACK, 0) as listening:
        port = listening.getsockname()[1]
        thread = threading.Thread(
            target=server.serve, args=(Control(shared), listening, lambda event, _: events.append(event))
        )
        thread.start()
        first = Client(port)
        first.send(b"\x00\xff$$$###$\x03garbage#00")
        first.send(b"$g#00")
        seen = [first.next()]
        while seen[-1] is not Signal.REFUSED:
            seen.append(first.next())
        first.send(frame(b"s"))
        answer = first.next()
        while not isinstance(answer, bytes) or answer[:1] != b"T":
            answer = first.next()
        first.send(b"-")
        assert first.next() == answer  # said again
        first.send(frame(b"QStartNoAckMode"))
        assert [first.next(), first.next()] == [Signal.ACKNOWLEDGED, b"OK"]
        first.send(b"$g#00" + frame(b"qC"))
        assert first.next() == b"QC1"  # a broken packet is passed over in silence
        first.socket.close()
        second = Client(port)
        second.send(frame(b"Z0,4,4") + frame(b"c") + b"\x03")
        reply = second.next()
        while not isinstance(reply, bytes) or reply[:1] != b"T":
            reply = second.next()
        assert reply in (b"T02thread:1;", b"T05replaylog:end;thread:1;")  # it may have been quicker
        second.send(frame(b"k"))
        second.socket.close()
        thread.join(30)
        assert not thread.is_alive()
    assert events == ["connected", "disconnected", "connected", "killed"]


@pytest.mark.parametrize(
    ("text", "place"),
    [("127.0.0.1:80", ("127.0.0.1", 80)), (":9", ("127.0.0.1", 9)), ("0", ("127.0.0.1", 0)), ("[::1]:7", ("::1", 7))],
)
def test_where_to_listen(text: str, place: tuple[str, int]):
    assert server.address_of(text) == place
    assert server.is_loopback(place[0])


@pytest.mark.parametrize("text", ["", "localhost", "1:x", "1:70000", ":-1", "a:²"])
def test_where_it_cannot_listen(text: str):
    with pytest.raises(InputError, match="HOST:PORT"):
        server.address_of(text)


def test_only_loopback_is_loopback():
    assert server.is_loopback("localhost")
    assert not any(map(server.is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example.org")))  # noqa: S104


def test_the_command_says_where_it_listens_and_refuses_what_it_cannot():
    command = [sys.executable, "-m", "relocscope", "step", "--size", "16KiB", "--gdb", "127.0.0.1:0", "--json", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        listening = json.loads(process.stdout.readline())
        client = Client(listening["port"])
        client.send(frame(b"vKill;1"))
        assert [json.loads(line)["event"] for line in process.stdout] == ["connected", "killed"]
        assert process.wait(30) == 0
        client.socket.close()
    refused = subprocess.run(
        [sys.executable, "-m", "relocscope", "step", "--gdb", "nowhere"], capture_output=True, text=True, check=False
    )
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "HOST:PORT" in refused.stderr
