"""What the experiments share: models trained once and kept, Markdown tables, and the quality of drawn digits."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

import rddm
from rddm.core.spec import override, read_table

HERE = Path(__file__).parent
RUNS = Path("runs/experiments")


def trained(name: str, base: str, *changes: str) -> rddm.Trainer:
    """The model of `experiments/<base>.yaml` with `changes` (such as "sampler=sm-n"), trained once into RUNS/name."""
    trainer, run = rddm.build(override(read_table(HERE / f"{base}.yaml"), changes)), RUNS / name
    if not (run / "evaluation.json").exists():
        print(f"training {name}: {' '.join(changes)}", file=sys.stderr)
        trainer.fit(run, overwrite=run.exists(), progress=sys.stderr.isatty())
    if (there := rddm.load(run)[rddm.Spec]) != trainer[rddm.Spec] and there.sampler.name != "auto":
        raise SystemExit(f"{run} was trained from another spec; remove it to train anew")
    return rddm.load(run)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a Markdown table; floats with three significant digits after the point at most."""
    cells = [[f"{value:.3f}" if isinstance(value, float) else str(value) for value in row] for row in rows]
    print(
        *("| " + " | ".join(row) + " |" for row in [list(header), ["---"] * len(header), *cells]), sep="\n", flush=True
    )


@cache
def _digits() -> tuple[np.ndarray, MLPClassifier]:
    images, labels = load_digits(return_X_y=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return images / 16, MLPClassifier((64,), max_iter=60, random_state=0).fit(images / 16, labels)


def digit_scores(images: torch.Tensor) -> dict[str, float]:
    """Frechet distance of drawn digits (N, 1, 8, 8) from all real ones, lower is better, and the inception score.

    Both by a classifier of the digits, trained here, in place of an Inception network: `fd` on its 64 hidden
    features, `is` from its class probabilities, 1 to 10, higher is better.
    """
    real, classifier = _digits()
    drawn = images.flatten(1).double().numpy()
    a, b = (np.maximum(x @ classifier.coefs_[0] + classifier.intercepts_[0], 0) for x in (real, drawn))
    products = np.linalg.eigvals(np.cov(a.T) @ np.cov(b.T)).real.clip(0)
    distance = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T)) - 2 * np.sqrt(products).sum()
    p = classifier.predict_proba(drawn)
    score = np.exp(np.mean(np.sum(p * (np.log(p + 1e-12) - np.log(p.mean(0) + 1e-12)), axis=1)))
    return {"fd": float(distance), "is": float(score)}
