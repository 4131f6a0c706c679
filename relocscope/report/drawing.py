"""Drawing: Vega-Lite in, SVG and the script that makes it interactive out, by a process of its own.

vl-convert holds libraries under Apache-2.0 and a JavaScript engine; neither is loaded into this process
(docs/decisions.md). `python -m relocscope.report.drawing` is that other process: JSON in, JSON out.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from relocscope.other_process import python

_VEGA_LITE = "6.4"
"""The version that both the drawings and the script use; its grammar is the one that `pictures` writes."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """SVG by id, and one script without imports, whose last statements are those given."""

    svg: Mapping[str, str]
    script: str


def drawn(specs: Mapping[str, Mapping[str, Any]], script: str) -> Drawn:
    """Draw the pictures."""
    asked = json.dumps({"specs": specs, "script": script}).encode()
    pipe = subprocess.PIPE
    with python("relocscope.report.drawing", stdin=pipe, stdout=pipe, stderr=pipe) as process:
        out, err = process.communicate(asked)
    if process.returncode:
        raise RuntimeError(f"drawing failed: {err.decode(errors='replace')[-2000:]}")
    made = json.loads(out)
    return Drawn(made["svg"], made["script"])


def _draw() -> None:
    import vl_convert

    asked = json.load(sys.stdin)
    svg = {name: vl_convert.vegalite_to_svg(spec, vl_version=_VEGA_LITE) for name, spec in asked["specs"].items()}
    script = vl_convert.javascript_bundle(asked["script"], vl_version=_VEGA_LITE)
    json.dump({"svg": svg, "script": script}, sys.stdout)


if __name__ == "__main__":
    _draw()
