"""Files that a person names: read whole, bounded, refused in one line."""

import os
import threading
from pathlib import Path

import pytest

from traces.errors import InputError, named_input
from traces.reading import read_bytes, read_text, regular_size
from traces.toml import parse_toml


def test_text_is_read_whole_with_plain_line_ends(tmp_path: Path):
    (tmp_path / "text").write_bytes("eins\r\nzwei µ\n".encode())
    assert read_text(tmp_path / "text") == "eins\nzwei µ\n"


def test_a_bound_is_the_last_length_that_is_read(tmp_path: Path):
    (tmp_path / "five").write_bytes(b"12345")
    assert read_bytes(tmp_path / "five", 5) == b"12345"
    with pytest.raises(InputError, match="five: longer than 4 bytes"):
        read_bytes(tmp_path / "five", 4)
    with pytest.raises(InputError, match="/dev/zero: longer than 1000 bytes"):
        read_text(Path("/dev/zero"), 1000)


def test_a_pipe_is_read_to_its_end(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=("x = 1\n",))
    writer.start()
    assert read_text(tmp_path / "pipe") == "x = 1\n"
    writer.join()


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("none", "none: cannot be read: No such file"),
        (".", "cannot be read: Is a directory"),
        ("a\0b", "cannot be read: embedded null byte"),
        ("binary", r"binary: not UTF-8 text \(byte 1\)"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(tmp_path: Path, name: str, rule: str):
    (tmp_path / "binary").write_bytes(b"a\xff")
    with pytest.raises(InputError, match=rule) as refused:
        read_text(Path(f"{tmp_path}/{name}"))
    assert "\n" not in str(refused.value)


def test_an_option_stands_before_the_file():
    with pytest.raises(InputError, match=r"^--lmbench: /no/such: cannot be read"):
        read_bytes(Path("/no/such"), 1, where="--lmbench")


@pytest.mark.parametrize("text", ["x = [", "x = " + "[" * 100_000, "not toml"])
def test_toml_that_is_none(text: str):
    with pytest.raises(InputError, match=r"^my\.toml: not TOML: ") as refused:
        parse_toml(text, "my.toml")
    assert "\n" not in str(refused.value)


def test_what_is_mapped_must_be_a_regular_file_with_something_in_it(tmp_path: Path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "empty").touch()
    (tmp_path / "one").write_bytes(b"1")
    assert regular_size(tmp_path / "one") == 1
    for name, rule in (("fifo", "not a regular file"), (".", "not a regular file"), ("empty", "empty file"),
                       ("none", "cannot be read: No such file"), ("a\0b", "cannot be read")):  # fmt: skip
        with pytest.raises(InputError, match=rule):
            regular_size(Path(f"{tmp_path}/{name}"))


def test_a_name_stands_before_what_is_refused_inside():
    with pytest.raises(InputError, match=r"^my\.toml: size: wrong$"), named_input("my.toml"):
        raise InputError("size: wrong")
