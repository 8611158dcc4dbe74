"""A trained model beside classical filters, on the same noisy windows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.stats import bootstrap
from torch import Tensor

from rddm import Trainer
from rddm.plugin import Array, ImageMetric, SpecError, Task
from rddm_ecg import filters
from rddm_ecg.metrics.snr_improvement import SNRImprovement
from rddm_ecg.sources._windows import Cut
from rddm_ecg.units import to_mv, to_unit

TUNING = 96  # training windows that filters are tuned on, evenly spread


@dataclass(frozen=True, eq=False)
class Window:
    """One evaluation window and what each method made of it, (C, L) in mV; "input" is the noisy one."""

    name: str
    clean: Tensor
    made: Mapping[str, Tensor]
    figures: Mapping[str, Mapping[str, float]]  # of each method, by key


def scale(trainer: Trainer) -> Cut:
    """The source of a model's task, which knows sampling rate and limits.

    Raises:
        SpecError: it is none of this package's.
    """
    source = getattr(trainer[Task], "train", None)
    if not isinstance(source, Cut):
        given = getattr(source, "name", None)
        problem = f"must be a source that knows mV and sampling rate, ecg or wfdb; given {given!r}"
        raise SpecError("Spec", [(("task", "train"), problem)])
    return source


def tuned(trainer: Trainer) -> dict[str, tuple[Callable[[Array], Array], dict[str, Any]]]:
    """Every classical filter, with the parameters that suit training windows under the task's noise best."""
    task, cut = trainer[Task], scale(trainer)
    records = task.train_records()
    chosen = sorted({round(n) for n in np.linspace(0, len(records) - 1, TUNING)})
    pairs = [(_mv(one["input"], cut), _mv(one["target"], cut)) for _, one in task.examples(records, numbers=chosen)]
    return {name: filters.tuned(name, pairs, cut.rate) for name in filters.GRIDS}


def compared(
    trainer: Trainer, methods: Mapping[str, Callable[[Array], Array]], *, limit: int | None = None, **options: Any
) -> Iterator[Window]:
    """Evaluation windows one by one, as noisy every time, with what the methods and the model ("rddm") make of them.

    Args:
        methods: functions of signals (C, L) in mV, by name.
        limit: the first so many windows only.
        options: for the model's `restore`: steps, sampler and so on.
    """
    task, cut = trainer[Task], scale(trainer)
    measured = [metric for metric in task.metrics if isinstance(metric, ImageMetric)]
    records = task.eval_records()
    for name, one in task.examples(records, numbers=range(len(records))[:limit]):
        noisy = _mv(one["input"], cut)
        made = {"input": one["input"]}
        made |= {key: to_unit(torch.from_numpy(apply(noisy)), cut.limits) for key, apply in methods.items()}
        made["rddm"] = trainer.restore(one["input"], **options)
        figures = {
            key: {k: v for metric in measured for k, v in metric.measure(y.float(), one["target"], one).items()}
            for key, y in made.items()
        }
        in_mv = {key: to_mv(y, cut.limits) for key, y in made.items()}
        yield Window(name, to_mv(one["target"], cut.limits), in_mv, figures)


def means(windows: Iterable[Window]) -> dict[str, dict[str, float]]:
    """The mean of every figure over windows, by method."""
    found = list(windows)
    return {
        method: {key: float(np.mean([one.figures[method][key] for one in found])) for key in figures}
        for method, figures in found[0].figures.items()
    }


def best(windows: Sequence[Window], methods: Sequence[str]) -> str:
    """The method of least squared error."""

    def error(method: str) -> float:
        return float(np.mean([float((one.made[method] - one.clean).square().mean()) for one in windows]))

    return min(methods, key=error)


class Lead(NamedTuple):
    """How far the model is ahead of another method in SNR: mean over windows in dB, its interval, and where it is."""

    mean: float
    interval: tuple[float, float] | None  # 95 %, by bootstrap; None of a single window
    windows: int  # in how many of them


def lead(windows: Sequence[Window], other: str) -> Lead:
    """The model's lead over a method, window by window."""
    measure = SNRImprovement().measure
    ours, theirs = ([measure(one.made[m], one.clean, {})["snr"] for one in windows] for m in ("rddm", other))
    gains = np.subtract(ours, theirs)
    spread = None
    if len(gains) > 1:
        found = bootstrap((gains,), np.mean, method="percentile", rng=np.random.default_rng(0)).confidence_interval
        spread = float(found.low), float(found.high)
    return Lead(float(gains.mean()), spread, int((gains > 0).sum()))


def _mv(unit: Tensor, cut: Cut) -> Array:
    mv: Array = to_mv(unit.double(), cut.limits).numpy()
    return mv
