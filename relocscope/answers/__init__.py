"""Answers: what a sweep says in words, and what is found by looking for it instead of trying everything.

`question` is what a plan asks and `sentences` the rules that answer it, `shipped` the plans that come with Relocscope.
`reaching` looks for the smallest change that makes a case quick enough: `searching` along each of the `paths`, and
`probing` for all of them at once.
"""
