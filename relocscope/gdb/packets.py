"""Packets: the framing of GDB's remote protocol: `$`, data, `#`, two digits of checksum; acknowledgements between."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto

MOST_BYTES = 0x4000
"""Data of one packet: what qSupported promises. A longer one is refused as a broken one is."""

_ESCAPE, _FLIP = 0x7D, 0x20
_START, _END, _INTERRUPT = ord("$"), ord("#"), 0x03
_ESCAPED = frozenset(b"#$}*")


class Signal(Enum):
    """What comes between packets."""

    ACKNOWLEDGED = auto()
    REFUSED = auto()
    """The other side wants our last packet again."""
    INTERRUPT = auto()
    BROKEN = auto()
    """A packet that was not whole: its checksum is wrong, or it is too long."""


def frame(data: bytes) -> bytes:
    """Wrap what is to be sent; `data` has been escaped where it is binary."""
    return b"$%b#%02x" % (data, sum(data) & 0xFF)


def escape(data: bytes) -> bytes:
    """Make binary data fit for a packet."""
    return b"".join(bytes((_ESCAPE, each ^ _FLIP)) if each in _ESCAPED else bytes((each,)) for each in data)


def unescape(data: bytes) -> bytes:
    """Undo `escape`; an escape with nothing behind it stands for nothing."""
    found, at = bytearray(), 0
    while at < len(data):
        if data[at] == _ESCAPE:
            found += bytes(each ^ _FLIP for each in data[at + 1 : at + 2])
            at += 2
            continue
        found.append(data[at])
        at += 1
    return bytes(found)


@dataclass(slots=True)
class Decoder:
    """Bytes in, packets and signals out. No bytes at all make it fail; what means nothing is passed over."""

    _data: bytearray | None = None
    """Of the packet that is under way."""
    _checksum: bytearray | None = None
    """Digits that have come behind its `#`."""
    _signals: dict[int, Signal] = field(
        default_factory=lambda: {
            ord("+"): Signal.ACKNOWLEDGED,
            ord("-"): Signal.REFUSED,
            _INTERRUPT: Signal.INTERRUPT,
        }
    )

    def feed(self, received: bytes) -> Iterator[bytes | Signal]:
        """Yield the data of each packet, still escaped, and what came between packets."""
        for each in received:
            if self._checksum is not None:
                self._checksum.append(each)
                if len(self._checksum) == 2:
                    yield self._finished()
            elif each == _START:
                self._data = bytearray()  # one that had begun before is lost: it will not be acknowledged
            elif self._data is None:
                if each in self._signals:
                    yield self._signals[each]
            elif each == _END:
                self._checksum = bytearray()
            elif len(self._data) <= MOST_BYTES:
                self._data.append(each)

    def _finished(self) -> bytes | Signal:
        data, checksum = bytes(self._data or b""), bytes(self._checksum or b"")
        self._data = self._checksum = None
        if len(data) > MOST_BYTES or checksum.lower() != b"%02x" % (sum(data) & 0xFF):
            return Signal.BROKEN
        return data
