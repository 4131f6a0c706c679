"""Caches: the set of each level that an address falls into, and the TLB entries that translate it."""

from collections.abc import Mapping
from typing import Any

from textual.content import Content

from relocscope.screen.marks import BAD, DIM, FAIR, GOOD, HERE, STRONG
from relocscope.screen.pane import Pane, grid, lines
from relocscope.screen.scene import Scene
from relocscope.stepping import views
from traces.errors import InputError


class Caches(Pane):
    """What caches and TLBs hold for one address."""

    name_, title = "caches", "Caches"

    def content(self, scene: Scene, width: int) -> Content:
        """Write the TLBs first, then a level a paragraph."""
        from caches.inspect import cache_sets

        session, va = scene.session, scene.address
        rows = [Content.assemble(("va ", DIM), (f"{va:#x}", STRONG), f"  {scene.address_words}"), *_tlbs(scene)]
        try:
            pa = views.physical(session, va)
        except InputError as error:
            return lines([*rows, Content.styled(str(error), BAD)])
        found = session.model.found_in(pa)
        rows.append(Content.assemble(("pa ", DIM), f"{pa:#x}", ("  a cached read would hit in ", DIM), (found, STRONG)))
        for level in cache_sets(session.model.state, session.config, pa):
            rows += _level(level, width)
        return lines(rows)


def _tlbs(scene: Scene) -> list[Content]:
    from caches.inspect import tlb_entries, tlb_use

    state = scene.session.model.state
    use = "  ".join(f"{name} {one['used']}/{one['entries']}" for name, one in tlb_use(state).items())
    rows = [Content.assemble(("TLBs ", HERE), use)]
    entries = tlb_entries(state, scene.address)
    for one in entries:
        kind = ", global" if one["global"] else ""
        rows.append(
            Content.assemble(
                ("  hit ", GOOD), f"{one['tlb']} entry {one['entry']}: {one['va']}, {one['bytes']:#x} bytes{kind}"
            )
        )
    return rows if entries else [*rows, Content.styled("  no entry translates it", DIM)]


def _level(level: Mapping[str, Any], width: int) -> list[Content]:
    hit = level["hit_way"]
    outcome = ("miss", BAD) if hit is None else (f"hit in way {hit}", GOOD)
    title = Content.assemble(
        (level["level"], HERE), f" set {level['set']} of {level['sets']}, {level['replacement']}: ", outcome
    )
    held = [(number, way) for number, way in enumerate(level["ways"]) if way is not None]
    cells = [_way(number, way, here=number == hit) for number, way in held]
    return [title, *(Content.assemble(" ", row) for row in grid(cells, width - 1))]


def _way(number: int, way: Mapping[str, Any], *, here: bool) -> Content:
    marks = "".join(mark[0] for mark in ("dirty", "prefetched", "stale") if way[mark])
    return Content.assemble(
        (f"{number:>2}", DIM),
        ("=" if here else " ", GOOD),
        (way["pa"], GOOD if here else ""),
        " ",
        (f"{marks:<2}", FAIR),
    )
