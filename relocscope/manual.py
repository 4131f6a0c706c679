"""The manual: every command and option of a click command line, as an object, and as a man page."""

import inspect
from typing import Any

import click


def manual(root: click.Group) -> list[dict[str, Any]]:
    """Return each command, groups before what is in them: its name in full, usage, text and options."""
    return _entries(root, click.Context(root, info_name=root.name))


def _entries(command: click.Command, context: click.Context) -> list[dict[str, Any]]:
    records = [param.get_help_record(context) for param in command.get_params(context)]
    found = [
        {
            "name": context.command_path,
            "usage": " ".join([context.command_path, *command.collect_usage_pieces(context)]),
            "text": inspect.cleandoc(command.help or "").replace("\b\n", ""),
            "options": [{"names": record[0], "text": record[1]} for record in records if record],
        }
    ]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                found += _entries(below, click.Context(below, info_name=name, parent=context))
    return found


def man_page(entries: list[dict[str, Any]], version: str) -> str:
    """Return roff for man(7), section 1; the first entry is the program itself."""
    first, *commands = entries
    name = first["name"]
    lines = [
        f'.TH {name.upper()} 1 "" "{name} {version}" "User Commands"',
        ".SH NAME",
        f"{name} \\- run the arm64 kexec relocation and explain what the MMU and the caches bought it",
        ".SH SYNOPSIS",
        f".B {_roff(first['usage'])}",
        ".SH DESCRIPTION",
        *_paragraphs(first["text"]),
        *_options(first["options"]),
        ".SH COMMANDS",
    ]
    for entry in commands:
        lines += [f".SS {_roff(entry['usage'])}", *_paragraphs(entry["text"]), *_options(entry["options"])]
    lines += [
        ".SH EXIT STATUS",
        "0: done. 1: a run hung or faulted, or a check failed. 2: bad input, with one line on stderr.",
        ".SH ENVIRONMENT",
        ".TP",
        ".B NUMBA_CACHE_DIR",
        "Where compiled code is kept, if not beside the source or in the user's cache directory.",
    ]
    return "\n".join(lines) + "\n"


def _paragraphs(text: str) -> list[str]:
    lines: list[str] = []
    for paragraph in text.split("\n\n"):
        lines += [".PP", *(_roff(line) for line in paragraph.splitlines())]
    return lines


def _options(options: list[dict[str, str]]) -> list[str]:
    return [line for each in options for line in (".TP", f".B {_roff(each['names'])}", _roff(each["text"]))]


def _roff(text: str) -> str:
    """Escape a line: backslashes, hyphens (which are minus signs here), and a dot or quote that would be a request."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped
