"""Walk: how an address is translated: each descriptor, where its read would hit, and what comes of it."""

import textwrap

from textual.content import Content

from relocscope.screen.marks import BAD, DIM, HERE, STRONG, of_memory_type
from relocscope.screen.pane import Pane, lines
from relocscope.screen.scene import Scene
from relocscope.stepping import views


class Walk(Pane):
    """The translation of one address."""

    name_, title = "walk", "Walk"

    def content(self, scene: Scene, width: int) -> Content:
        """Write the walk downwards, a descriptor a step."""
        facts = views.translation(scene.session, scene.address)
        rows = [
            Content.assemble(("va ", DIM), (facts["va"], STRONG), f"  {scene.address_words}"),
            *(Content.styled(part, DIM) for part in textwrap.wrap(facts["regime"], width)),
        ]
        for read in facts["reads"]:
            value = read["descriptor"] or "no memory there"
            stage = "" if read["stage"] == 1 else " of stage 2"
            rows.append(
                Content.assemble(
                    ("↓ ", DIM), (f"level {read['level']}{stage}", HERE), f"  [{read['pa']}] = {value}",
                    ("  in ", DIM), (read["found_in"], BAD if read["found_in"] == "dram" else ""),
                )
            )  # fmt: skip
            if read["says"]:
                rows += [Content.styled(f"    {part}", DIM) for part in textwrap.wrap(read["says"], width - 4)]
        if "fault" in facts:
            return lines([*rows, Content.styled(f"✗ {facts['fault']}", f"bold {BAD}")])
        rows.append(Content.assemble(("→ ", DIM), ("pa ", DIM), (facts["pa"], STRONG)))
        kind, fetched = facts["memory_type"], facts["fetch_type"]
        leaf = f"leaf of {_size(facts['leaf_bytes'])}" if facts["reads"] else "not translated"
        rows += [
            Content.assemble("  data ", (kind, of_memory_type(kind)), ", fetched ", (fetched, of_memory_type(fetched))),
            Content(f"  {facts['shareability']}-shareable, {leaf}"),
        ]
        return lines(rows)


def _size(size: int) -> str:
    for unit, scale in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= scale:
            return f"{size // scale} {unit}"
    return f"{size} bytes"
