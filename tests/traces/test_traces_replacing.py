import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from traces.errors import InputError
from traces.replacing import replacing


def test_the_file_is_there_at_the_end_only_and_as_open_would_have_made_it(tmp_path: Path):
    target = tmp_path / "out"
    with replacing(target) as stream:
        stream.write(b"whole")
        assert not target.exists()
    assert target.read_bytes() == b"whole"
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~mask
    assert names(tmp_path) == ["out"]


def names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


def _interrupted(target: Path, error: type[BaseException]) -> None:
    with replacing(target) as stream:
        stream.write(b"half")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_what_was_there(tmp_path: Path, error: type[BaseException]):
    target = tmp_path / "out"
    target.write_bytes(b"old")
    with pytest.raises(error):
        _interrupted(target, error)
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["out"]


def test_a_link_is_followed_and_a_pipe_written_to(tmp_path: Path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    with replacing(tmp_path / "link") as stream:
        stream.write(b"through")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"through"
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with replacing(tmp_path / "pipe") as stream:
        stream.write(b"down the pipe")
    assert os.read(reader, 99) == b"down the pipe"
    os.close(reader)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_what_cannot_be_written_is_one_line_that_names_the_option(tmp_path: Path):
    for path, why in ((tmp_path, "is a directory"), (tmp_path / "no" / "out", "No such file")):
        with pytest.raises(InputError, match=why) as caught, replacing(path, "-o"):
            pass
        assert str(caught.value).startswith(f"-o: {path}: ")


_SLOW_WRITER = """
import sys, time
from relocscope import cli
from traces.replacing import replacing

def slow():
    with replacing(sys.argv[-1]) as stream:
        stream.write(b"half")
        print("writing", flush=True)
        time.sleep(60)

cli.relocscope.main = lambda **_options: slow()
cli.main()
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_no_half_file(tmp_path: Path, number: int, status: int):
    command = [sys.executable, "-c", _SLOW_WRITER, str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "writing\n"
        assert len(names(tmp_path)) == 1
        child.send_signal(number)
        assert child.wait(timeout=30) == status
    assert names(tmp_path) == []
