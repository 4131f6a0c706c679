"""Offered: what a shell completes the words of a command with. Nothing here runs or loads an engine."""

from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem


def cases(_context: click.Context, _parameter: click.Parameter, text: str) -> list[CompletionItem]:
    """Offer the names of cases; else files, for a case may be one."""
    from relocscope.case import case_names

    return _beginning(text, case_names(), or_files=True)


def cores(_context: click.Context, _parameter: click.Parameter, text: str) -> list[CompletionItem]:
    """Offer the names of cores; else files."""
    import caches

    return _beginning(text, caches.core_names(), or_files=True)


def plans(_context: click.Context, _parameter: click.Parameter, text: str) -> list[CompletionItem]:
    """Offer the names of plans that ship; else files."""
    from relocscope.answers.shipped import plan_names

    return _beginning(text, plan_names(), or_files=True)


def groups(_context: click.Context, _parameter: click.Parameter, text: str) -> list[CompletionItem]:
    """Offer the groups of mechanisms."""
    from caches import GROUPS

    return _beginning(text, GROUPS)


def keys(context: click.Context, _parameter: click.Parameter, text: str) -> list[CompletionItem]:
    """Offer the keys of a case, a program and a core, with = behind each; of `explain` for one side, too."""
    import dataclasses

    from caches.parts import PARTS
    from relocscope.bare_program import PROGRAM_KEYS
    from relocscope.case import KEYS

    side = text[:2] if context.info_name == "explain" and text[:2] in ("a.", "b.") else ""
    of_core = (f"{table}.{field.name}" for table, part in PARTS.items() for field in dataclasses.fields(part))
    known = dict.fromkeys((*KEYS, *PROGRAM_KEYS, *of_core))
    return _beginning(text, (f"{side}{key}=" for key in known))


def _beginning(text: str, known: Iterable[str], *, or_files: bool = False) -> list[CompletionItem]:
    found = [CompletionItem(name) for name in known if name.startswith(text)]
    return found or [CompletionItem(text, type="file")] * or_files
