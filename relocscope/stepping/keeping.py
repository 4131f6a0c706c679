"""Keeping: the commands that write files: a session to go on with later, or a stretch of it for another program."""

from pathlib import Path

from relocscope.stepping import words
from relocscope.stepping.control import Answer, Control, Words
from traces.errors import InputError


def save(control: Control, said: Words) -> Answer:
    """Write the session to a file."""
    from relocscope.stepping.saving import save

    save(control, Path(said[0]))
    return Answer({"saved": said[0]}, f"saved to {said[0]}")


def load(control: Control, said: Words) -> Answer:
    """Go on with the session of a file instead of this one; where that cannot be, this one stays."""
    from relocscope.stepping.saving import load

    loaded, differs = load(Path(said[0]))
    control.session, control.stops, control.next_stop = loaded.session, loaded.stops, loaded.next_stop
    control.walked_from = loaded.walked_from
    here = control.here()
    lines = [f"loaded {loaded.session.subject.name} from {said[0]}", *([f"  {differs}"] if differs else []), here.text]
    return Answer({**here.facts, "loaded": said[0], "differs": differs or None}, "\n".join(lines))


def export(control: Control, said: Words) -> Answer:
    """Write a stretch of instructions with their bills, or what is in view, by the suffix of the file."""
    from relocscope.stepping.exporting import WRITERS
    from traces.replacing import replacing

    path, session = Path(said[0]), control.session
    if path.suffix not in WRITERS:
        raise InputError(f"export: {path}: must end in {', '.join(WRITERS)}")
    first = words.number(said[1], "from") if len(said) > 1 else control.walked_from
    last = words.number(said[2], "to") if len(said) > 2 else max(session.number, first)
    with replacing(path) as stream:
        stream.writelines(part.encode() for part in WRITERS[path.suffix](session, first, last))
    what = "what is in view" if path.suffix == ".txt" else f"instructions {first} to {last}"
    return Answer({"exported": said[0], "from": first, "to": last}, f"{what}: {path}")
