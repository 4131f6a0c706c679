"""Scene: what the panes are given to show: a session where it stands, and where it stood before."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from relocscope.stepping import views
from relocscope.stepping.control import Control
from relocscope.stepping.session import Session


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """Facts that more than one pane needs, taken once."""

    control: Control
    position: Mapping[str, Any]
    next_bill: Mapping[str, int]
    registers: Mapping[str, str]
    system: Mapping[str, Mapping[str, Any]]
    changed: frozenset[str]
    """Registers, general and of the system, that the last move changed."""
    pinned: int | None
    """The VA that a person wants to be looked at; None: the next access's."""

    @property
    def session(self) -> Session:
        """The session, to be looked at only."""
        return self.control.session

    @property
    def address(self) -> int:
        """The VA that translation and caches are shown for: the pinned one, the next access's, or PC."""
        access = self.position["access"]
        if self.pinned is not None:
            return self.pinned
        return int(access["va"], 16) if access else self.session.pc

    @property
    def address_words(self) -> str:
        """Say which address that is."""
        if self.pinned is not None:
            return "pinned (. lets go)"
        return f"next {self.position['access']['kind']}" if self.position["access"] else "PC"


def scene_of(control: Control, before: Scene | None, pinned: int | None) -> Scene:
    """Look at a session. `before`: the scene that was shown last; where nothing moved, its marks stay."""
    session = control.session
    position = views.position(session)
    registers, system = views.registers(session), views.system_registers(session)
    changed: frozenset[str] = frozenset()
    if before is not None:
        old, new = _values(before.registers, before.system), _values(registers, system)
        changed = frozenset(name for name in new if old.get(name) != new[name])
        if not changed and before.position["insn"] == position["insn"]:
            changed = before.changed
    bill = {leaf: cycles for leaf, cycles in session.next_bill().items() if cycles}
    return Scene(control, position, bill, registers, system, changed, pinned)


def _values(registers: Mapping[str, str], system: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    return {**registers, **{name: str(one["value"]) for name, one in system.items()}}
