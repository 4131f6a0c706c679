"""Asking: the plan of a sweep that tells what a time hangs on."""

from collections.abc import Mapping
from typing import Any

from relocscope.answers.estimated import estimated_ranges
from relocscope.answers.indices import check_values
from relocscope.comparison import sides
from relocscope.operand import operand, with_settings
from relocscope.ranges import Step
from relocscope.runs import run_operand
from relocscope.sweeping.plan import Plan
from traces.errors import InputError


def asking_plan(
    cases: tuple[str, ...],
    *,
    core: str | None = None,
    settings: Mapping[str, Any] | None = None,
    sample: bool = False,
    ranges: Mapping[str, Any] | None = None,
    design: str = "morris",
    groups: int = 10,
    seed: int = 1,
    step: Step = lambda _done, _total: None,
) -> Plan:
    """Return the plan of that design over those ranges; without any, over the estimates that move a time here.

    Points that cannot be are skipped: the groups that they belong to are left out of the indices.
    """
    given = settings or {}
    if len(cases) not in (1, 2):
        raise InputError("CASE: must be one case, or two to compare")
    return _checked(
        Plan(
            cases=cases, core=core, settings=given, sample=sample, skip_impossible=True,
            ranges=ranges or _of_estimates(cases, core, given, sample, step),
            samples=groups, design=design, design_seed=seed,
        )
    )  # fmt: skip


def _checked(plan: Plan) -> Plan:
    check_values(plan.ranges)
    return plan


def _of_estimates(
    cases: tuple[str, ...], core: str | None, settings: Mapping[str, Any], sample: bool, step: Step
) -> dict[str, Any]:
    """Return the estimates that move what the cases cost; a number that is set here is none of them."""
    if len(cases) == 1:
        runs = [run_operand(with_settings(operand(cases[0]), settings, core=core, sample=sample))]
    else:
        runs = [run_operand(each) for each in sides(cases[0], cases[1], settings, core=core, sample=sample)]
    return {name: values for name, values in estimated_ranges(runs, step).items() if name not in settings}
