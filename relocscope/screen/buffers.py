"""Buffers: misses under way, stores that wait, lines that are being merged."""

from collections.abc import Sequence

from textual.content import Content

from relocscope.screen.marks import DIM, FAIR, HERE
from relocscope.screen.pane import Pane, lines
from relocscope.screen.scene import Scene

_MOST_CELLS = 24
_BUSY, _FREE = "■", "□"


class Buffers(Pane):
    """What is under way when the last instruction retires."""

    name_, title = "buffers", "Buffers"

    def content(self, scene: Scene, width: int) -> Content:
        """Write a line a buffer."""
        from caches.inspect import outstanding

        facts = outstanding(scene.session.model.state)
        rows = [Content.styled("misses under way", HERE)]
        rows += [
            _row(name, one["busy"], one["buffers"], one["until_cycles"])
            for name, one in facts["miss_buffers"].items()
            if one["buffers"]
        ]
        stores = facts["store_buffer"]
        rows += [
            Content.styled("stores retired, not yet written", HERE),
            _row("store", stores["waiting"], stores["entries"], stores["until_cycles"]),
        ]
        for one in facts["merging"]:
            rows.append(Content.assemble("  merging ", one["pa"], f", {one['quarters'] * 16:.0f} of 64 bytes"))
        return lines(rows)


def _row(name: str, busy: int, count: int, until: Sequence[int]) -> Content:
    cells = min(count, _MOST_CELLS)
    drawn = min(cells, -(-busy * cells // count)) if count else 0
    when = f"  done in {_some(until)} cycles" if until else ""
    return Content.assemble(
        f"  {name:<6}", (_BUSY * drawn, FAIR), (_FREE * (cells - drawn), DIM), f" {busy} of {count}{when}"
    )


def _some(numbers: Sequence[int], most: int = 4) -> str:
    return ", ".join(f"{number:,}" for number in numbers[:most]) + (" ..." if len(numbers) > most else "")
