"""The one exception that bad input raises, anywhere in Relocscope."""


class InputError(ValueError):
    """What a person handed in is wrong. The message is one line: file or option, field, value, and the rule it breaks.

    The command line prints it on stderr and ends with status 2.
    """
