"""The relocations of history as scenarios, put together by hand: what the case files say, without the case files."""

from functools import cache

from asm.routines import routine
from emu.guest import FunctionalRun
from emu.layout import default_layout
from emu.scenario import Boot, Scenario, TableStyle, prepare

MAIR_V4_19 = 0x0000_BBFF_440C_0400
MAIR_V5_17 = 0x0000_0004_0044_FFFF
PAGES = 240

_MERGED = ("v12", "v15", "v5.16", "v5.17")
_RELOCATE = {"v4.19": "none", "v5.12": "none", "rfc-v1": "rfc-v1", "rfc-v2": "rfc-v2", "v11": "window"}
_RELOCATE |= dict.fromkeys(_MERGED, "merged")
_SOFT_RESTART = {"rfc-v1": "soft-restart-rfc-v1"}
_SOFT_RESTART |= dict.fromkeys(("v5.12", "v11", *_MERGED), "soft-restart-v5.17")

CASES = (
    *(f"{era}-{boot}" for era in ("v4.19", "v5.12", "rfc-v1", "v11", "v5.17") for boot in Boot),
    "v12-vhe",
    "v15-nvhe",
    "v5.16-nvhe",
    "rfc-v2-el1",
    "rfc-v2-nvhe",
    "rfc-v2-nvhe-xn-clear",
    "kdump-v4.19",
    "kdump-v5.17",
)
COPYING = tuple(case for case in CASES if case != "rfc-v2-nvhe" and not case.startswith("kdump"))


def scenario(case: str, pages: int = PAGES, **changes: object) -> Scenario:
    """Make the scenario of a case, with `pages` pages to move."""
    if case.startswith("kdump-"):
        return scenario(f"{case.removeprefix('kdump-')}-nvhe", pages, **({"kdump": True} | changes))
    if case == "rfc-v2-el1":
        return scenario("rfc-v2-nvhe", pages, **({"el2_switch": False} | changes))
    if case == "rfc-v2-nvhe-xn-clear":
        return scenario("rfc-v2-nvhe", pages, **({"clear_xn": True} | changes))
    era, boot = case.rsplit("-", 1)
    newest = era in _MERGED
    page_bytes = int(changes.get("granule_bytes", 4096))
    layout = default_layout(pages * page_bytes, page_bytes=page_bytes, crash=bool(changes.get("kdump")))
    usual: dict[str, object] = {
        "boot": Boot(boot),
        "relocate": routine(f"relocate-{era}", page_bytes),
        "soft_restart": routine(_SOFT_RESTART.get(era, "soft-restart-v4.19")),
        "hyp_stub": routine("hyp-stub-v5.17" if newest else "hyp-stub-v4.19"),
        "kexec_vectors": routine("kexec-vectors-v11" if era == "v11" else "kexec-vectors-v5.17"),
        "tables": TableStyle(_RELOCATE[era]),
        "mair": MAIR_V5_17 if newest or era == "v11" else MAIR_V4_19,
        "memory_map": layout.memory_map,
        "segments": layout.segments,
        "start": layout.start,
    }
    return Scenario(**(usual | changes))


@cache
def run(case: str) -> FunctionalRun:
    """Run a case as it is, once for all tests that only look."""
    return prepare(scenario(case)).run()
