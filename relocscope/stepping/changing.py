"""Changing: the commands that set stops, registers, memory and code."""

from relocscope.stepping import words
from relocscope.stepping.control import Answer, Control, Words
from relocscope.stepping.stop_words import stop_of, watched
from traces.errors import InputError

# -- Stops ------------------------------------------------------------------------------------------------------------


def break_(control: Control, said: Words) -> Answer:
    """Set a breakpoint."""
    wanted = stop_of(control.session, said)
    answers = [control.add_stop(stop) for stop in wanted]
    return Answer({"stops": [answer.facts for answer in answers]}, "\n".join(answer.text for answer in answers))


def watch(control: Control, said: Words) -> Answer:
    """Set a watchpoint."""
    return control.add_stop(watched(control.session, said))


def delete(control: Control, said: Words) -> Answer:
    """Forget a stop."""
    number = words.number(said[0])
    if number not in control.stops:
        raise InputError(f"delete: {number}: no such stop; `info breaks` lists them")
    stop = control.stops.pop(number)
    return Answer({"deleted": number}, f"deleted {number}: {stop.words}")


# -- Changing ---------------------------------------------------------------------------------------------------------


def set_(control: Control, said: Words) -> Answer:
    """Set a register, a field of one, or a word of memory."""
    from relocscope.stepping.edits import set_value

    set_value(control.session, said[0], words.value(control.session, said[1]))
    return control.here()


def patch(control: Control, said: Words) -> Answer:
    """Assemble over an instruction."""
    from relocscope.stepping.edits import patch

    written = patch(control.session, words.address(control.session, said[0]), said[1])
    answer = control.here()
    return Answer({**answer.facts, "written": written}, answer.text)
