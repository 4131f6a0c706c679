"""Answers: what a sweep says in words, and what is found by looking for it instead of trying everything.

`question` is what a plan asks and the rule that answers it, `shipped` the plans that come with Relocscope.
"""
