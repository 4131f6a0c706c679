"""When what a level holds follows from the order of its accesses alone, so that one pass does for all its sizes.

That is LRU, a cold start, nothing that it is not asked for, and no say in what it is asked for.
"""

from dataclasses import dataclass
from typing import Any

from caches.config import CoreConfig
from caches.parts import Inclusion, Replacement

CACHES = ("l1d", "l2", "l3")
LEVELS = (*CACHES, "dtlb")
"""Of whose hits one pass can tell."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A number of the core that makes a level's counts more than a matter of order."""

    key: str
    value: Any
    """As the core has it."""
    needed: str
    """With which it would be exact, as `--set` takes it."""
    why: str


def conditions(config: CoreConfig, level: str) -> tuple[Condition, ...]:
    """Return what of the core keeps one pass from being exact at a level; empty where it is."""
    prefetches = "lines come before they are asked for, and when depends on time"
    asked = [("prefetch.streams", 0, prefetches)] if level != "dtlb" else []
    if level in CACHES:
        asked += _of_cache(config, level, prefetches)
    found = []
    for key, needed, why in asked:
        value = config.value(key)
        if value != needed:
            found.append(Condition(key, _text(value), _text(needed), why))
    return tuple(found)


def _of_cache(config: CoreConfig, level: str, prefetches: str) -> list[tuple[str, Any, str]]:
    """Return key, value that is needed, and why, of one level."""
    asked: list[tuple[str, Any, str]] = [(f"{level}.replacement", Replacement.LRU, "only LRU has a stack")]
    for below in CACHES[CACHES.index(level) + 1 :]:
        if getattr(config, below).inclusion == Inclusion.INCLUSIVE and getattr(config, below).size:
            asked.append((f"{below}.inclusion", Inclusion.NON_INCLUSIVE, f"what {below} evicts leaves {level}, too"))
    if level == "l1d":
        return [
            *asked,
            ("store.stream_l1_lines", 0, "full lines that miss go past it"),
            ("store.non_temporal_streams", False, "non-temporal stores that miss go past it"),
            ("store.write_allocate", True, "stores that miss go past it"),
            ("walk.through_l1d", False, "walks use lines that they find and bring none"),
        ]
    asked += [
        ("fetch.prefetch_lines", 0, prefetches),
        ("store.write_allocate", True, "where a store goes depends on what l2 holds"),
        (f"{level}.inclusion", Inclusion.NON_INCLUSIVE, "it has a say in what the levels above it hold"),
    ]
    if config.store.stream_l1_lines or config.store.non_temporal_streams:
        asked.append((f"store.stream_{level}_lines", 0, f"where a full line goes depends on what {level} holds"))
    draws = Replacement.RANDOM in (config.l1i.replacement, config.l1d.replacement)
    if level == "l2" and config.l3.size and config.l3.replacement == Replacement.RANDOM and draws:
        asked.append(("l3.replacement", Replacement.LRU, "l1 and l3 draw their victims from one sequence"))
    return asked


def alone(config: CoreConfig, level: str) -> CoreConfig:
    """Return the core with what keeps one pass from being exact at a level set as it has to be."""
    return config.override({each.key: each.needed for each in conditions(config, level)})


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value.name.lower().replace("_", "-") if isinstance(value, Replacement | Inclusion) else str(value)
