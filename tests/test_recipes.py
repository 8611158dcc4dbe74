"""The recipes: each is built, trained for two steps, and used on its evaluation data."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

import rddm
from rddm.core.data import evaluation_crops
from rddm.core.extras import of
from rddm.core.kinds import Task
from rddm.core.spec import override, read_table
from rddm.core.systems.train import Run

ROOT = Path(__file__).parent.parent
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
assert RECIPES


def built(recipe, *changes):
    return rddm.build(override(read_table(recipe), changes))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda file: file.stem)
def test_every_recipe_trains_and_is_evaluated_on_images_that_it_has_not_seen(recipe):
    trainer = built(recipe, "training.steps=2", "training.batch_size=2", "training.crop=32", "sampler.steps=1")
    task, run = trainer[Task], Run.start(trainer)
    losses = [scores["loss"] for scores in run.steps()]
    assert len(losses) == 2
    assert all(map(math.isfinite, losses))
    assert not set(task.train_records().names) & set(task.eval_records().names)
    [example] = evaluation_crops(task, (32, 32), 1)
    with run.settling():
        if task.from_noise:
            output = trainer.sample(1, size=32)[0]
        else:
            output = trainer.restore(example["input"], extras=of(task, example))
    assert output.shape == example["target"].shape
    assert output.isfinite().all()
    assert not torch.equal(output, example["input"])


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda file: file.stem)
def test_every_recipe_stands_in_the_docs_and_says_what_it_is_and_how_long_it_takes(recipe):
    head = recipe.read_text(encoding="utf-8").partition("task:")[0]
    assert head.startswith("# ")
    assert "minute" in head
    pages = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").rglob("*.md"))
    assert f"rddm fit recipes/{recipe.name}" in pages


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda file: file.stem)
def test_every_recipe_leaves_a_run(recipe, tmp_path):
    scores = built(recipe, "training.steps=2", "sampler.steps=1").fit(tmp_path / "run", progress=False)
    assert scores["images"] > 0
    assert len(list((tmp_path / "run/samples").glob("*.png"))) == 1
