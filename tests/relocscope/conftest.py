import sys
from pathlib import Path

import fakes
import pytest

import caches

sys.path.insert(0, str(Path(__file__).parent.parent / "traces"))  # its synthetic traces


@pytest.fixture
def fake_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time runs with the model of fakes.py."""
    monkeypatch.setattr(caches, "replay", fakes.replay)
