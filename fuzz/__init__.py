"""Fuzzers: every reader of what a person or a machine hands in, fed with damaged files (docs/threats.md).

`targets` is the table of readers; `edits` damages a valid seed; `attempt` is what no input may do; `reached` says how
much of a reader a run comes through; `python -m fuzz` runs it.
"""
