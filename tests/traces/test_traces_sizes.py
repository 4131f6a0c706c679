"""Sizes as people write them."""

import pytest

from traces.errors import InputError
from traces.sizes import parse_size, size_text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4096", 4096),
        (4096, 4096),
        ("25MiB", 25 << 20),
        ("37MB", 37_000_000),
        ("1.5 MiB", 3 << 19),
        ("0x8000_0000", 1 << 31),
        ("1_000kB", 10**6),
        ("8GiB", 8 << 30),
        ("0", 0),
    ],
)
def test_sizes(text, size):
    assert parse_size(text, "x") == size


@pytest.mark.parametrize(
    "bad", ["", "MiB", "-1", "1e6", "5 bananas", "25mib", "0.3KiB", None, 1.5, True, [1], -3, "1.5"]
)
def test_what_is_no_size_is_refused_in_one_line(bad):
    with pytest.raises(InputError, match=r"my\.toml: size: ") as refusal:
        parse_size(bad, "my.toml: size")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("size", "text"), [(25 << 20, "25MiB"), (37_000_000, "37MB"), (4096, "4KiB"), (5, "5"), (0, "0")]
)
def test_text_is_exact(size, text):
    assert size_text(size) == text
    assert parse_size(text, "x") == size
