"""Kimage: the list of pages, with the cursor on the page that comes next."""

from textual.content import Content

from relocscope.screen.marks import CURRENT, DIM, FULL, HERE, bar
from relocscope.screen.pane import Pane, lines
from relocscope.screen.scene import Scene
from relocscope.stepping import views

_ABOVE = 3
"""One part in so many of the lines is above the cursor."""


class KimageList(Pane):
    """The kernel's list of what goes where."""

    name_, title = "kimage", "List"

    def content(self, scene: Scene, width: int) -> Content:
        """Write how far it is, then the pages around the cursor."""
        height = max(6, self.scrollable_content_region.height)
        facts = views.kimage(scene.session, around=height)
        done, pages = facts["begun"], facts["pages"]
        rows = [
            Content.assemble(f"{done:,} of {pages:,} pages begun  ", (bar(done, pages, max(8, width - 34)), HERE)),
            Content.assemble(
                ("head ", DIM), facts["head"], ("  list pages ", DIM), str(len(scene.session.kimage.list_pages))
            ),
        ]
        before = sum(one["page"] < done for one in facts["window"])
        for one in facts["window"][max(0, before - height // _ABOVE) :][: height - len(rows)]:
            next_one, begun = one["page"] == done, one["page"] < done
            mark = CURRENT if next_one else FULL if begun else " "
            style = "bold" if next_one else DIM if begun else ""
            rows.append(
                Content.assemble(
                    (mark, HERE), (f" {one['page']:>6}  {one['source']:>12} → {one['destination']}", style)
                )
            )
        return lines(rows)
