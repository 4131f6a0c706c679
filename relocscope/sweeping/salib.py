"""SALib: designs in the unit cube and the indices of what was found there, by a process of its own.

SALib imports pandas, which loads PyArrow (Apache-2.0) where it is installed: not beside Unicorn (docs/decisions.md).
`python -m relocscope.sweeping.salib` is that other process: JSON in, JSON out.
"""

import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from relocscope.other_process import python
from traces.errors import InputError

LEVELS = 4
"""Values of each key that Morris' trajectories visit: 0, a third, two thirds and all of the way along its range."""

STEP = 2 / 3
"""How far along its values each step of a trajectory moves a key; effects are per whole way."""

CONFIDENCE = 0.95

Rows = Sequence[Sequence[float]]
Indices = Mapping[str, Sequence[float | None]]


def design(dimensions: int, groups: int, *, method: str, seed: int) -> Rows:
    """Return the rows of `groups` trajectories (`morris`) or Saltelli's samples (`sobol-indices`), shares of 0 to 1."""
    found: Rows = _asked({"do": "design", "dimensions": dimensions, "groups": groups, "method": method, "seed": seed})
    return found


def indices(rows: Rows, answers: Sequence[Sequence[float]], *, method: str, seed: int) -> list[Indices]:
    """Return the indices of each answer, whose values belong to the rows of whole groups, a number for each key.

    `morris`: `mu`, `mu_star`, `sigma`, `mu_star_conf`, in the answer's unit and for the whole of a key's range.
    `sobol-indices`: `s1`, `st`, `s1_conf`, `st_conf`, shares of the variance. `_conf`: half of a 95 % interval, by
    bootstrap. An answer that never changes has zeros; what the answers leave undefined is None.
    """
    found: list[Indices] = _asked(
        {"do": "indices", "rows": rows, "answers": answers, "method": method, "seed": seed, "dimensions": len(rows[0])}
    )
    return found


def _asked(what: Mapping[str, Any]) -> Any:
    if find_spec("SALib") is None:
        raise InputError("SALib is not installed: pip install 'relocscope[statistics]'")
    pipe = subprocess.PIPE
    with python("relocscope.sweeping.salib", stdin=pipe, stdout=pipe, stderr=pipe) as process:
        out, err = process.communicate(json.dumps(what).encode())
    if process.returncode:
        raise RuntimeError(f"SALib failed: {err.decode(errors='replace')[-2000:]}")
    return json.loads(out)


def _answer() -> None:
    asked = json.load(sys.stdin)
    count = asked["dimensions"]
    problem = {"num_vars": count, "names": [str(each) for each in range(count)], "bounds": [[0.0, 1.0]] * count}
    json.dump(_design(problem, asked) if asked["do"] == "design" else _indices(problem, asked), sys.stdout)


def _design(problem: dict[str, Any], asked: Mapping[str, Any]) -> Any:
    if asked["method"] == "morris":
        from SALib.sample import morris

        return morris.sample(problem, asked["groups"], num_levels=LEVELS, seed=asked["seed"]).tolist()
    from SALib.sample import sobol

    return sobol.sample(problem, asked["groups"], calc_second_order=False, seed=asked["seed"]).tolist()


def _indices(problem: dict[str, Any], asked: Mapping[str, Any]) -> list[dict[str, list[float | None]]]:
    import numpy as np

    rows = np.array(asked["rows"], float)
    found: list[dict[str, list[float | None]]] = []
    for answer in asked["answers"]:
        values = np.array(answer, float)
        names = _NAMES[asked["method"]]
        if np.ptp(values) == 0:
            found.append({name: [0.0] * problem["num_vars"] for name in names})
            continue
        made = _analysed(problem, rows, values, asked)
        found.append({name: [_number(each) for each in made[theirs]] for name, theirs in names.items()})
    return found


def _analysed(problem: dict[str, Any], rows: Any, values: Any, asked: Mapping[str, Any]) -> Any:
    with_seed = {"conf_level": CONFIDENCE, "num_resamples": 1000, "seed": asked["seed"]}
    if asked["method"] == "morris":
        from SALib.analyze import morris

        return morris.analyze(problem, rows, values, num_levels=LEVELS, **with_seed)
    from SALib.analyze import sobol

    return sobol.analyze(problem, values, calc_second_order=False, **with_seed)


_NAMES: Mapping[str, Mapping[str, str]] = {
    "morris": {name: name for name in ("mu", "mu_star", "sigma", "mu_star_conf")},
    "sobol-indices": {"s1": "S1", "st": "ST", "s1_conf": "S1_conf", "st_conf": "ST_conf"},
}


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


if __name__ == "__main__":
    _answer()
