"""Quantities as people read them: times, rates, sizes, shares, differences, numbers of a core."""

from typing import Any

from traces.sizes import size_text


def seconds(value: float) -> str:
    """Write a time in the unit that suits it."""
    if value >= 1:
        return f"{value:.3f} s"
    return f"{value * 1e3:.3f} ms" if value >= 1e-3 else f"{value * 1e6:.2f} us"


def rough_seconds(value: float) -> str:
    """Write a time as measurements are stated, in three digits."""
    return f"{value:.3g} s" if value >= 1 else f"{value * 1e3:.3g} ms"


def duration(seconds: float) -> str:
    """Write a time with its unit, four digits."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.4g} {unit}"
    return f"{seconds / 1e-9:.4g} ns"


def image_size(size: int) -> str:
    """Write a size as it was probably asked for, or in MiB to a tenth."""
    exact = size_text(size)
    return exact if len(exact) <= 7 else f"{size / (1 << 20):.1f}MiB"


def rate(bytes_per_second: float) -> str:
    """Write a rate as published figures do, in powers of ten."""
    if bytes_per_second >= 1e9:
        return f"{bytes_per_second / 1e9:.2f} GB/s"
    return f"{bytes_per_second / 1e6:.1f} MB/s"


def percent(share: float) -> str:
    """Write a share to a tenth of a percent."""
    text = f"{100 * share:.1f}%"
    return "0.0%" if text == "-0.0%" else text


def signed(cycles: int) -> str:
    """Write a difference with its sign."""
    return f"{cycles:+,}" if cycles else "0"


def number_text(value: Any) -> str:
    """Write a value of a number, or a choice, as people read it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value).lower()
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"
