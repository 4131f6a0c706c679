"""Stack: what the cycles up to here were spent on, and what the last instruction added."""

from textual.content import Content

from relocscope.quantities import duration
from relocscope.screen.marks import DIM, STRONG, bar, of_cause
from relocscope.screen.pane import Pane, lines
from relocscope.screen.scene import Scene

_BESIDE_BAR = 46


class Stack(Pane):
    """The running cycle stack."""

    name_, title = "stack", "Cycles"

    def content(self, scene: Scene, width: int) -> Content:
        """Write a line a cause, dearest first."""
        session = scene.session
        stack, last = session.cycle_stack(), session.last_bill
        total = session.cycles
        room = min(40, width - _BESIDE_BAR)
        rows = []
        for leaf, cycles in sorted(stack.items(), key=lambda item: -item[1]):
            if cycles:
                share = f"{100 * cycles / total:5.1f}%"
                added = f"+{last[leaf]:,}" if last[leaf] else ""
                drawn = (f" {bar(cycles, total, room)}" if room > 0 else "", of_cause(leaf))
                rows.append(
                    Content.assemble(
                        (f"{leaf:<14}", of_cause(leaf)), f"{cycles:>13,} {share}", drawn, (f" {added}", STRONG)
                    )
                )
        seconds = duration(session.seconds) if total else "0 s"
        rows.append(Content.assemble(("cycles        ", DIM), (f"{total:>13,}", STRONG), f"  {seconds}"))
        return lines(rows)
