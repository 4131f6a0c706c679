import sys
from pathlib import Path

import fakes
import pytest

import caches

sys.path.insert(0, str(Path(__file__).parent.parent / "traces"))  # its synthetic traces
sys.path.insert(1, str(Path(__file__).parent.parent / "emu"))  # its hand-written guests
sys.path.insert(2, str(Path(__file__).parent.parent / "asm"))  # its kernel files


@pytest.fixture
def fake_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time runs with the model of fakes.py."""
    monkeypatch.setattr(caches, "replay", fakes.replay)
