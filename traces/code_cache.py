"""Keeping compiled code right: what Numba has on disk of a package is stamped with all that it was compiled from.

Numba's own stamp is the file that holds a function, though functions of other files are compiled into it. A `Sources`
stamps every function of a package with the content of the whole package, and of whatever else its code depends on: an
edit of any of it compiles the package anew, over what was there. Here, and without Numba, because `caches` and `emu`
share nothing else, and because `relocscope.warm` asks before it loads Numba.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Sources:
    """A package of compiled code, and the other modules that its code depends on."""

    package: Path
    others: tuple[Path, ...] = ()

    def __iter__(self) -> Iterator[Path]:
        """Files, in an order that does not depend on the file system."""
        yield from sorted(self.package.glob("*.py"))
        yield from self.others

    @cached_property
    def stamp(self) -> str:
        """Digest of what the files hold, and of which file holds what, when first asked for."""
        digest = hashlib.sha256()
        for path in self:
            digest.update(f"{path.name} {path.stat().st_size}\n".encode())
            digest.update(path.read_bytes())
        return digest.hexdigest()

    def locators(self, numbas: Iterable[type[Any]]) -> list[type[Any]]:
        """Return Numba's kinds of place for compiled code (numba.core.caching), stamped, for this package only.

        To be called before any module of the package is imported: the stamp is taken here.
        """
        stamped = {"sources": self, "stamp": self.stamp}
        return [type(f"Stamped{kind.__name__}", (_Stamped, kind), stamped) for kind in numbas]

    def are_of(self, index: Path) -> bool:
        """Whether an index of Numba's (`*.nbi`) is of code compiled from these sources as they are."""
        return self.stamp.encode() in index.read_bytes()


class _Stamped:
    """What is different in a cache locator of Numba's; mixed into one."""

    sources: Sources
    stamp: str

    @classmethod
    def from_function(cls, function: Any, file: str) -> Any:
        """Return a locator for a function in this file, or None for Numba to try its next kind."""
        if Path(file).resolve().parent != cls.sources.package:
            return None
        return super().from_function(function, file)  # type: ignore[misc]

    def get_source_stamp(self) -> str:
        """Numba forgets what it compiled when this changes."""
        return self.stamp

    def get_disambiguator(self) -> str:
        """Part of a file's name. Numba's is the line number, which leaves a file behind for every line passed."""
        return "stamped"
