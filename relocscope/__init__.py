"""Relocscope: what turning the MMU and D-cache on bought the arm64 kexec relocation, and why, or why not.

    >>> import relocscope
    >>> relocscope.explain().verdict.cause
    'copy-outside-translated-regime'

The engines are loaded by the first call that needs them.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from relocscope.own_packages import check_own_packages

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from caches import CoreConfig
    from relocscope.answers.indices import Sensitivities
    from relocscope.answers.reaching import Reach
    from relocscope.attached import Model
    from relocscope.calibration import Calibration
    from relocscope.checking import Check
    from relocscope.comparison import Comparison
    from relocscope.hypotheses import Observation, Theories
    from relocscope.runs import Run
    from relocscope.sweeping.table import Table

__all__ = [
    "attach",
    "calibrate",
    "cases",
    "check",
    "cores",
    "explain",
    "reach",
    "run",
    "sensitivities",
    "sweep",
    "theories",
]

check_own_packages()


def run(
    case: str,
    *,
    core: str | None = None,
    size: str | int | None = None,
    set: Mapping[str, Any] | None = None,  # noqa: A002
    sample: bool = False,
) -> "Run":
    """Run a CASE as the command line takes it; the Run has the keys of `run --json`. Bad input raises InputError."""
    from relocscope.operand import operand, with_settings
    from relocscope.runs import run_operand

    return run_operand(with_settings(operand(case), _settings(size, set), core=core, sample=sample))


def explain(
    a: "str | Run | None" = None,
    b: "str | Run | None" = None,
    *,
    core: str | None = None,
    size: str | int | None = None,
    set: Mapping[str, Any] | None = None,  # noqa: A002
    sample: bool = False,
    within: str | None = None,
) -> "Comparison":
    """Compare two cases, or two runs, and say why B is as fast as it is. Without arguments: the founding question.

    `within`: a group of mechanisms whose contribution is taken apart.
    """
    from relocscope.comparison import FOUNDING_QUESTION, compare, sides
    from relocscope.runs import Run, run_operand
    from relocscope.within import check_group
    from traces.errors import InputError

    if within is not None:
        check_group(within)
    if isinstance(a, Run) and isinstance(b, Run):
        return compare(a, b, group=within)
    if isinstance(a, Run) or isinstance(b, Run):
        raise InputError("explain: a, b: must be two cases or two runs")
    subjects = sides(
        a or FOUNDING_QUESTION[0], b or FOUNDING_QUESTION[1], _settings(size, set), core=core, sample=sample
    )
    return compare(run_operand(subjects[0]), run_operand(subjects[1]), group=within)


def check(
    case: str | None = None,
    *,
    size: str | int | None = None,
    set: Mapping[str, Any] | None = None,  # noqa: A002
    iomem: "Path | str | None" = None,
    kexec_debug: "Path | str | None" = None,
    dmesg: "Path | str | None" = None,
    dtb: "Path | str | None" = None,
    kernel: "Path | str | None" = None,
) -> "Check":
    """List the hazards of a CASE, or of the kexec of a machine of which /proc/iomem and `kexec -d` output are given."""
    from pathlib import Path

    from relocscope.checking import check_machine, check_operand
    from relocscope.operand import operand, with_settings
    from relocscope.own_machine import Files, plan
    from traces.errors import InputError

    given = {"iomem": iomem, "kexec_debug": kexec_debug, "dmesg": dmesg, "dtb": dtb, "kernel": kernel}
    paths = {name: Path(path) for name, path in given.items() if path is not None}
    if case is not None:
        if paths:
            raise InputError(f"--{next(iter(paths)).replace('_', '-')}: is of your own machine; leave CASE out")
        return check_operand(with_settings(operand(case), _settings(size, set)))
    for name in ("iomem", "kexec_debug"):
        if name not in paths:
            raise InputError(f"--{name.replace('_', '-')}: must be given to check your own machine")
    return check_machine(plan(Files(**paths), _settings(size, set)))


def theories(
    observed: "Sequence[str | Observation]",
    *,
    core: str,
    boot: str | None = None,
    case: str | None = None,
    set: Mapping[str, Any] | None = None,  # noqa: A002
    error: float = 0.05,
) -> "Theories":
    """Rank the hypotheses that could have produced measured times (`37MB=0.35:off`), as `relocscope theories` does."""
    from relocscope.hypotheses import theories_of

    return theories_of(observed, core=core, boot=boot, case=case, settings=set, error=error)


def attach(
    uc: Any,
    core: "str | CoreConfig" = "stingray",
    *,
    set: Mapping[str, Any] | None = None,  # noqa: A002
    untranslated: str = "architecture",
    initial: str = "cold",
) -> "AbstractContextManager[Model]":
    """Record what anybody's AArch64 `unicorn.Uc` runs while the context lasts; its value says what that costs.

    For an engine `uc` that is set up::

        with relocscope.attach(uc, core="rpi4") as model:
            uc.emu_start(begin, until)
        print(model.outcome().cycle_stack)

    `untranslated="Normal-WB"` for programs without their kernel; see `relocscope.attached.attach`.
    """
    from relocscope.attached import attach as attached

    return attached(uc, core, set=set, untranslated=untranslated, initial=initial)


def sweep(
    case: str | Sequence[str],
    *,
    grid: Mapping[str, Any] | None = None,
    points: Sequence[Mapping[str, Any]] = (),
    ranges: Mapping[str, Any] | None = None,
    samples: int = 0,
    design: str = "latin-hypercube",
    design_seed: int = 1,
    core: str | None = None,
    size: str | int | None = None,
    set: Mapping[str, Any] | None = None,  # noqa: A002
    sample: bool = False,
    skip_impossible: bool = False,
    out: "Path | str | None" = None,
    workers: int | None = None,
    scheduler: str | None = None,
) -> "Table":
    """Run a case, or two to compare, at every combination of a grid's values, listed points and samples of ranges.

    Values are lists or what `relocscope sweep --grid` takes. What is in the directory `out` is not computed again;
    without one nothing is kept. `workers`: processes, 0 or 1 for none but this one; `scheduler`: a Dask scheduler.
    """
    from relocscope.sweeping.plan import Plan
    from relocscope.sweeping.sweep import Means, default_workers, run_kept

    plan = Plan(
        cases=(case,) if isinstance(case, str) else tuple(case),
        core=core,
        settings=_settings(size, set),
        sample=sample,
        skip_impossible=skip_impossible,
        grid=grid or {},
        points=points,
        ranges=ranges or {},
        samples=samples,
        design=design,
        design_seed=design_seed,
    )
    means = Means(default_workers() if workers is None else workers, scheduler)
    return run_kept(plan, out, means)


def sensitivities(
    case: str | Sequence[str],
    *,
    method: str = "morris",
    ranges: Mapping[str, Any] | None = None,
    groups: int = 10,
    seed: int = 1,
    core: str | None = None,
    size: str | int | None = None,
    set: Mapping[str, Any] | None = None,  # noqa: A002
    sample: bool = False,
    out: "Path | str | None" = None,
    workers: int | None = None,
    scheduler: str | None = None,
) -> "Sensitivities":
    """Tell which keys a time hangs on, or the speed-up of two cases: `morris`, `sobol-indices` or `one-at-a-time`.

    Without `ranges`: the estimates of the core that move a time here. `.tornado()` draws it, `.table` is the sweep.
    """
    from relocscope.answers.asking import asking_plan
    from relocscope.answers.indices import sensitivities as computed
    from relocscope.sweeping.sweep import Means, default_workers, run_kept

    plan = asking_plan(
        (case,) if isinstance(case, str) else tuple(case),
        core=core,
        settings=_settings(size, set),
        sample=sample,
        ranges=ranges,
        design=method,
        groups=groups,
        seed=seed,
    )
    means = Means(default_workers() if workers is None else workers, scheduler)
    return computed(run_kept(plan, out, means))


def reach(
    case: str,
    *,
    target_seconds: float | None = None,
    speedup: float | None = None,
    keys: Sequence[str] = (),
    core: str | None = None,
    size: str | int | None = None,
    set: Mapping[str, Any] | None = None,  # noqa: A002
    out: "Path | str | None" = None,
    workers: int | None = None,
) -> "Reach":
    """Find the smallest change of a number that makes a case take no longer, as `relocscope reach` does.

    `keys`: `KEY`, `KEY=LOW..HIGH` or `KEY=V1,V2,...`; without, every number that its time may depend on.
    """
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from relocscope.answers.reaching import Target, reach
    from relocscope.sweeping.plan import Plan
    from relocscope.sweeping.sweep import Means, default_workers
    from traces.errors import InputError

    if (target_seconds is None) == (speedup is None):
        raise InputError("reach: target_seconds, speedup: give one of them")
    plan = Plan(cases=(case,), core=core, settings=_settings(size, set), points=[{}])
    means = Means(default_workers() if workers is None else workers)
    with TemporaryDirectory(prefix="relocscope-reach-") as directory:
        return reach(plan, Target(target_seconds, speedup), keys, Path(out or directory), means)


def calibrate(
    observed: "Sequence[str | Observation]" = (),
    *,
    core: str,
    tinymembench: Sequence[str] = (),
    lmbench: Sequence[str] = (),
    boot: str | None = None,
    case: str | None = None,
    error: float = 0.05,
) -> "Calibration":
    """Fit a core to a person's own measurements, as `relocscope calibrate` does; `.preset(name, base)` is the file."""
    from relocscope.calibration import calibrate_of

    return calibrate_of(
        observed, core=core, tinymembench=tinymembench, lmbench=lmbench, boot=boot, case=case, error=error
    )


def cases() -> tuple[str, ...]:
    """Return the names of the cases that ship."""
    from relocscope.case import case_names

    return case_names()


def cores() -> list[dict[str, Any]]:
    """Describe the modelled cores: name, title, architecture version, VHE, clock, numbers fitted to published times."""
    import caches

    listed = []
    for name in caches.core_names():
        config = caches.core(name)
        has = config.architecture
        listed.append(
            {
                "name": name,
                "title": config.title,
                "version": has.version,
                "has_vhe": has.has_vhe,
                "frequency_hz": config.frequency_hz,
                "calibrated": list(config.calibrated),
            }
        )
    return listed


def _settings(size: str | int | None, given: Mapping[str, Any] | None) -> dict[str, Any]:
    return {**(given or {}), **({} if size is None else {"size": size})}
