"""Charts of what a run logged, as points of polylines."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rddm.core.errors import DataError

WIDTH, HEIGHT = 240, 90  # of the area that the lines may use
_LOG = 10  # losses that span more than this are drawn over a logarithmic axis


@dataclass(frozen=True)
class Chart:
    """One logged figure of all runs over the steps."""

    key: str
    lines: Mapping[str, str]  # by run: "x,y x,y ..", y downwards
    low: float
    high: float
    steps: int
    logarithmic: bool


def logged(run: Path) -> list[dict[str, float]]:
    """The lines of a run's metrics.jsonl.

    Raises:
        DataError: there is none, or it cannot be read.
    """
    file = run / "metrics.jsonl"
    try:
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as cause:
        raise DataError(f"cannot read {file}: {cause}; give a folder that `rddm fit` wrote") from cause


def charts(runs: Mapping[str, list[dict[str, float]]]) -> list[Chart]:
    """A chart for each figure that was logged at two steps or more; those of the untouched input are left out."""
    keys = dict.fromkeys(key for lines in runs.values() for line in lines for key in line)
    found = []
    for key in keys:
        if key == "step" or key.startswith("eval_input_"):
            continue
        points = {
            run: [(line["step"], line[key]) for line in lines if line.get(key) is not None]
            for run, lines in runs.items()
        }
        values = [y for line in points.values() for _, y in line]
        if max(map(len, points.values())) < 2:
            continue
        low, high, steps = min(values), max(values), max(x for line in points.values() for x, _ in line)
        logarithmic = key.startswith("loss") and low > 0 and high / low > _LOG
        drawn = {run: _polyline(line, low, high, steps, logarithmic) for run, line in points.items() if line}
        found.append(Chart(key, drawn, low, high, int(steps), logarithmic))
    return found


def _polyline(points: list[tuple[float, float]], low: float, high: float, steps: float, logarithmic: bool) -> str:
    bottom, top = (math.log(low), math.log(high)) if logarithmic else (low, high)
    placed = []
    for x, y in points:
        share = ((math.log(y) if logarithmic else y) - bottom) / ((top - bottom) or 1)
        placed.append(f"{x / steps * WIDTH:.1f},{(1 - share) * HEIGHT:.1f}")
    return " ".join(placed)
