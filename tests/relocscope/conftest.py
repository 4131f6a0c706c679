import sys
from pathlib import Path

import fakes
import pytest
from command_line import Relocscope

import caches
from relocscope import cli

sys.path.insert(0, str(Path(__file__).parent.parent / "traces"))  # its synthetic traces
sys.path.insert(1, str(Path(__file__).parent.parent / "emu"))  # its hand-written guests
sys.path.insert(2, str(Path(__file__).parent.parent / "asm"))  # its kernel files


@pytest.fixture
def fake_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time runs with the model of fakes.py."""
    monkeypatch.setattr(caches, "replay", fakes.replay)


@pytest.fixture
def relocscope(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Relocscope:
    """Run the command line in this process."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["relocscope", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call
