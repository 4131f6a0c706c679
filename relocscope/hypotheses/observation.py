"""Observations: how long a kexec's copy was measured to take, as people write it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from traces.errors import InputError
from traces.sizes import parse_size

STATES = ("off", "on")
"""`off`: as kernels before 5.16 copy, with the MMU off. `on`: with what was meant to be MMU-on."""

_LARGEST_BYTES, _LONGEST_SECONDS = 64 << 30, 1e6


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """One measured time. `label` is the size as it was written: the same text means the same image."""

    label: str
    low_bytes: int
    high_bytes: int
    """Equal to `low_bytes` where one size is stated."""
    seconds: float
    state: str

    @property
    def size(self) -> int:
        """The size it is taken at: as stated, or in the (logarithmic) middle of the range."""
        return round(math.sqrt(self.low_bytes * self.high_bytes))

    @property
    def size_sigma(self) -> float:
        """Standard deviation of the size's logarithm: 0, or that of a uniform one over the range."""
        return math.log(self.high_bytes / self.low_bytes) / math.sqrt(12)

    def to_json(self) -> Mapping[str, Any]:
        """Return the object of `theories --json`."""
        ranged = {} if self.low_bytes == self.high_bytes else {"size_low": self.low_bytes, "size_high": self.high_bytes}
        return {"label": self.label, "size": self.size, "seconds": self.seconds, "state": self.state, **ranged}


def observation(text: str, where: str = "--observed") -> Observation:
    """Read `SIZE=SECONDS:off` or `:on`; SIZE may be a range, `25MB..47MB`. Raises InputError naming the rule."""
    size, equals, rest = text.partition("=")
    seconds_text, colon, state = rest.rpartition(":")
    if not (equals and colon):
        raise InputError(f"{where}: {text!r} must be SIZE=SECONDS:off or SIZE=SECONDS:on, such as 37MB=0.35:off")
    if state not in STATES:
        raise InputError(f"{where}: {text!r}: {state!r} must be one of {', '.join(STATES)}")
    low_text, dots, high_text = size.partition("..")
    low = parse_size(low_text, f"{where}: {text!r}")
    high = parse_size(high_text, f"{where}: {text!r}") if dots else low
    if not 0 < low <= high <= _LARGEST_BYTES:
        raise InputError(f"{where}: {text!r}: the size must be between 1 byte and 64GiB, the smaller end first")
    return Observation(
        label=size.strip(),
        low_bytes=low,
        high_bytes=high,
        seconds=_seconds(seconds_text, f"{where}: {text!r}"),
        state=state,
    )


def _seconds(text: str, where: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise InputError(f"{where}: {text!r} must be a number of seconds, such as 0.35") from None
    if not 0 < seconds <= _LONGEST_SECONDS:  # also false of NaN
        raise InputError(f"{where}: {text} seconds must be more than 0 and at most {_LONGEST_SECONDS:.0f}")
    return seconds
