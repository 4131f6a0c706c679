"""Every hand-written guest once more, with our walker in the place of Unicorn's MMU: nothing tells the two apart."""

import pytest
from test_emu_machine_exceptions import *  # noqa: F403
from test_emu_machine_regimes import *  # noqa: F403
from test_emu_machine_streams import *  # noqa: F403

from emu.host_translation import HostTranslation


@pytest.fixture(autouse=True)
def everywhere(monkeypatch):
    """Have every regime served by the host."""
    monkeypatch.setattr(HostTranslation, "wants", lambda self, regime: True)
