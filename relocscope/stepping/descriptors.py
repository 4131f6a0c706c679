"""Descriptors: an entry of a translation table in words (Arm ARM D8.3), for 48-bit addresses."""

_LAST_LEVEL = 3
_OUTPUT = (1 << 48) - (1 << 12)
_SHAREABLE = ("Non", "reserved", "Outer", "Inner")
_ACCESS = ("EL1 RW", "EL1, EL0 RW", "EL1 RO", "EL1, EL0 RO")
_ACCESS_STAGE_2 = ("none", "RO", "WO", "RW")


def in_words(value: int, level: int, stage: int) -> str:
    """Say what kind of entry it is and what it grants."""
    if not value & 1:
        return "invalid"
    output = value & _OUTPUT
    if value & 2 and level < _LAST_LEVEL:
        return f"table at {output:#x}{_limits(value)}"
    if not value & 2 and level == _LAST_LEVEL:
        return "reserved"
    kind = "page" if level == _LAST_LEVEL else "block"
    shareable = f"SH={_SHAREABLE[value >> 8 & 3]}"
    flags = f"AF={value >> 10 & 1}{' Contiguous' if value >> 52 & 1 else ''}"
    if stage == 1:
        never = " ".join(name for bit, name in ((53, "PXN"), (54, "UXN/XN")) if value >> bit & 1)
        rights = f"AttrIndx={value >> 2 & 7} AP={_ACCESS[value >> 6 & 3]}{' ' if never else ''}{never}"
        return f"{kind} at {output:#x}: {rights} {shareable} {flags} nG={value >> 11 & 1}"
    rights = f"MemAttr={value >> 2 & 15:#x} S2AP={_ACCESS_STAGE_2[value >> 6 & 3]} XN={value >> 53 & 3}"
    return f"{kind} at {output:#x}: {rights} {shareable} {flags}"


def _limits(value: int) -> str:
    """Say what a table descriptor takes from everything below it."""
    taken = [
        name
        for bit, name in ((59, "PXNTable"), (60, "XNTable"), (61, "APTable[0]"), (62, "APTable[1]"))
        if value >> bit & 1
    ]
    return f", {' '.join(taken)}" if taken else ""
