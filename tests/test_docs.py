"""docs/theory.md: what it names exists, and its numbers are so."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML
from strategies import truth

from rddm.core import registry
from rddm.core.heads import decode, encode
from rddm.core.kinds import Route, Source, Task
from rddm.core.named import resolve
from rddm.core.process import Prediction, forward, reverse_step
from rddm.grids.arc_length import ArcLength
from rddm.grids.uniform import Uniform
from rddm.samplers.sm_n import SMN
from rddm.samplers.sm_res import SMRes
from rddm.schedules.ddim import DDIM
from rddm.schedules.power import Power

TESTS = Path(__file__).parent
DOCS = TESTS.parent / "docs"
TEXT = (DOCS / "theory.md").read_text(encoding="utf-8")


def test_every_test_that_the_theory_names_exists():
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", TEXT)
    assert len(named) > 40
    assert TEXT.count("::") == len(named)
    for file, test in named:
        tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
        assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{file}::{test}"


@pytest.mark.parametrize("kind", ["schedule", "sampler", "solver", "grid", "route"])
def test_the_theory_mentions_every_component(kind):
    built_in = [entry.name for entry in registry.entries(kind) if entry.distribution == "residual-diffusion"]
    assert built_in
    assert [name for name in built_in if f"`{name}`" not in TEXT] == []


def test_links_lead_somewhere_and_pictures_are_small():
    for target in re.findall(r"\]\((?!http)([^)]+)\)", TEXT):
        file, _, anchor = target.partition("#")
        assert not file or (DOCS / file).is_file(), target
        text = (DOCS / file).read_text(encoding="utf-8") if file.endswith(".md") else TEXT
        titles = {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in re.findall("(?m)^#+ (.+)$", text)}
        assert not anchor or anchor in titles, target
    pictures = sorted((DOCS / "images").glob("theory-*.png"))
    assert [f"images/{file.name}" for file in pictures] == sorted(re.findall(r"images/theory-\w+\.png", TEXT))
    assert all(file.stat().st_size < 150_000 for file in pictures)


def test_ddpm_draws_ten_times_the_noise_that_is_there_and_rddm_no_more_than_it():
    ddim = DDIM().path()
    residual = replace(ddim, F=torch.ones_like(ddim.F))
    paths = [Power().path(), Power(beta_T2=0.01).path(), ddim, residual]
    sums = [path.posterior_variance.sum().item() for path in paths]
    assert sums == pytest.approx([0.996, 0.00996, 10.04, 0.991], rel=5e-4)
    torch.testing.assert_close(residual.posterior_variance, ddim.A[:-1] ** 2 * ddim.posterior_variance)


@pytest.mark.parametrize(
    ("schedule", "t", "factor"),
    [
        (Power(), 500, 2.0),
        (Power(), 800, 19.9),
        (Power(), 900, 89.2),
        (Power(), 999, 499_999.75),
        (DDIM(), 1000, 157.4),
    ],
)
def test_sm_n_multiplies_errors_by_bbar_over_1_minus_abar_and_sm_res_does_not(schedule, t, factor):
    path, known = schedule.path(), truth(0)
    node, x_in = path[t], known.x0 + known.res
    x_t = forward(known.x0, x_in, known.eps, node)
    for sampler, want in ((SMN(), factor), (SMRes(), 1.0)):
        [target] = sampler.targets(path, node).values()
        found = decode(x_t, node, [(target, encode(target, known) + 1e-3)], x_in)
        grown = (found.x0 - known.x0).abs() / 1e-3
        torch.testing.assert_close(grown, torch.full_like(grown, want), rtol=3e-3, atol=0)


def test_the_wrong_gauge_is_a_third_off_at_eta_1_and_right_at_eta_0():
    right = DDIM().path()
    wrong = replace(right, F=torch.ones_like(right.F))

    def sampled(path, eta):
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(20_000, 1, generator=generator, dtype=torch.float64)
        for now, to in pairwise(Uniform().times(path, 10)):
            eps, z = torch.randn(2, *x.shape, generator=generator, dtype=torch.float64)  # whatever a network might say
            x0 = (x - path.C[now] * eps) / path.A[now]
            x = reverse_step(Prediction(x0, -x0, eps), path[now], path[to], eta, lambda z=z: z)
        return x

    for eta, off in ((1.0, 0.33), (0.5**2, 0.16), (0.0, 0.0)):
        want = sampled(right, eta)
        assert ((sampled(wrong, eta) - want).norm() / want.norm()).item() == pytest.approx(off, abs=0.01)


def test_a_uniform_grid_leaves_a_third_of_the_noise_to_the_last_step():
    path = Power(beta2="mean").path()
    left = [path.C[grid.times(path, 10)[-2]].item() for grid in (Uniform(), ArcLength())]
    assert left == pytest.approx([0.316, 0.161], abs=1e-3)


def test_a_clamp_between_two_passes_removes_noise_twice():
    own = Power().path()
    path = registry.load(Route, "residual-first")().path(own)
    generator = torch.Generator().manual_seed(0)
    x0, x_in = torch.rand(2, 200_000, 1, generator=generator, dtype=torch.float64) * 2 - 1
    eps = torch.randn(x0.shape, generator=generator, dtype=torch.float64)
    known, off = Prediction(x0, x_in - x0, eps), []
    for clamped in (True, False):
        x = path.start(x_in, eps)
        for now, to in pairwise([path.T, *path.corners, 0]):
            a, b = path.B[to] - path.B[now], path.C[to] - path.C[now]
            x = x + a * known.res + b * known.eps  # the step at eta = 0
            x = x.clamp(-1, 1) if clamped and to > 0 else x
        off.append((x - x0).abs().mean().item())
    assert off == pytest.approx([0.25, 0.0], abs=0.005)


def test_every_snippet_of_the_pages_on_tasks_is_a_task_or_a_source():
    pages = [*sorted((DOCS / "tasks").glob("*.md")), DOCS / "tasks.md"]
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    found = [YAML(typ="safe").load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    parts = [resolve(Task, one["task"]) if "task" in one else resolve(Source, one["train"]) for one in found]
    assert [part.name for part in parts] == ["paired", "translation", "list", "datasets", "webdataset", "paired"]


def test_the_page_on_tasks_mentions_every_task_and_source():
    text = (DOCS / "tasks.md").read_text(encoding="utf-8")
    for kind in ("task", "source"):
        built_in = [entry.name for entry in registry.entries(kind) if entry.distribution == "residual-diffusion"]
        assert [name for name in built_in if f"| `{name}` |" not in text] == []
        assert kind == "source" or {page.stem for page in (DOCS / "tasks").glob("*.md")} == set(built_in)


def test_links_of_the_pages_on_tasks_and_the_demo_lead_somewhere():
    for page in [*(DOCS / "tasks").glob("*.md"), DOCS / "tasks.md", DOCS / "demo.md"]:
        for target in re.findall(r"\]\((?!http|#)([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).is_file(), f"{page.name}: {target}"
