"""Report: what a run, or runs beside each other, come to, for people.

`gathered` collects the facts once, as one object; `answer`, `pace`, `code`, `memory_map`, `walks` and `origin` are its
parts. `html` (with `charts`, `drawing` and the template), `text` and `markdown` only show it; `notebook` shows less.
"""
