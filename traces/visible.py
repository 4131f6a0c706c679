"""Text from guests and files, harmless: what would steer a terminal or reorder a line is shown as its number."""

import unicodedata

_STEERING = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Control characters, invisible formatting (bidirectional overrides), lone surrogates, unassigned, line separators."""


def visible(text: str) -> str:
    r"""Return the text with such characters written as \x1b or \u202e."""
    if text.isprintable():
        return text
    return "".join(_number(ord(one)) if unicodedata.category(one) in _STEERING else one for one in text)


def visible_lines(text: str) -> str:
    """Return the same of several lines: line feeds stay."""
    return text if text.isprintable() else "\n".join(map(visible, text.split("\n")))


def _number(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
