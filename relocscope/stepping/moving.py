"""Moving: the commands that go somewhere in a run."""

from relocscope.stepping import stops, views, words
from relocscope.stepping.control import Answer, Control, Words
from relocscope.stepping.stop_words import stop_of
from traces.errors import InputError

# -- Moving -----------------------------------------------------------------------------------------------------------


def step(control: Control, said: Words) -> Answer:
    """Execute instructions."""
    return control.move(control.session.number + words.count(said[0] if said else None))


def block(control: Control, _: Words) -> Answer:
    """Go to the next block."""
    session = control.session
    return control.move(session.timeline.number(min(session.place.execution + 1, len(session.trace.executions))))


def page(control: Control, _: Words) -> Answer:
    """Go to the first store to the next page."""
    session = control.session
    executions = session.page_starts[1]
    later = [page for page in range(len(executions)) if executions[page] > session.place.execution]
    if not later:
        return control.move(session.timeline.end)
    return control.seek([(f"page {later[0]}", stops.at_page(session, later[0]))])


def finish(control: Control, _: Words) -> Answer:
    """Leave the routine that PC is in: the first instruction of another symbol, or at another level."""
    session = control.session
    here = views.symbol(session, session.pc).partition("+")[0]
    if not here:
        raise InputError("finish: no symbol covers this address")
    return control.seek([(f"left {here}", stops.outside(session, here))])


def continue_(control: Control, _: Words) -> Answer:
    """Go to the next stop, or the end."""
    return control.seek(control.set_stops())


def until(control: Control, said: Words) -> Answer:
    """Go to what is named, or to a stop before it."""
    wanted = stop_of(control.session, said)
    return control.seek([*((stop.words, stop) for stop in wanted), *control.set_stops()])


def back(control: Control, said: Words) -> Answer:
    """Go back by instructions, or to the last place of what is named."""
    if said and said[0] and "until".startswith(said[0]):
        if len(said) < 2:
            raise InputError("back until: of what? As with `until`")
        return control.seek_back([(stop.words, stop) for stop in stop_of(control.session, said[1:])])
    if len(said) > 1:
        raise InputError("back: write it as: back [N], or back until ...")
    if said and said[0] and "continue".startswith(said[0]):
        return control.seek_back(control.set_stops())
    return control.move(control.session.number - words.count(said[0] if said else None))


def goto(control: Control, said: Words) -> Answer:
    """Go to a place by its number."""
    kind, value = words.one_of(said[0], ("insn", "cycle"), "goto"), words.number(said[1])
    if value < 0:
        raise InputError(f"goto: {value}: must not be negative")
    if kind == "insn":
        if value > control.session.timeline.end:
            raise InputError(f"goto: insn {value}: the run has {control.session.timeline.end}")
        return control.jump(value)
    return control.jump(control.session.number_at_cycle(value))


def restart(control: Control, _: Words) -> Answer:
    """Go to the first instruction."""
    return control.jump(0)
