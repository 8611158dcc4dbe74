"""Automatic objective selection: the formula, the decision, what a run keeps of it, and how it goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as photos

import rddm
from rddm import CheckpointError, SpecError, TrainingError
from rddm.core.checkpoint import read_spec, steps_saved
from rddm.core.kinds import Sampler
from rddm.core.network import Network
from rddm.core.process import Path, Prediction, forward, unchanged
from rddm.core.spec import Spec
from rddm.core.systems import select
from rddm.core.systems.train import Look
from rddm.samplers.auto import Auto

NET = {"name": "nafnet", "width": 8, "enc_blocks": [1], "middle_blocks": 1, "dec_blocks": [1]}


@pytest.fixture(scope="session")
def clean(tmp_path_factory):
    """A folder with train/ and test/, of small photographs."""
    root = tmp_path_factory.mktemp("clean")
    generator = np.random.default_rng(0)
    for split, photo in (("train", photos.immunohistochemistry()), ("test", photos.astronaut())):
        (root / split).mkdir()
        for index in range(3):
            top, left = generator.integers(0, 200, 2)
            Image.fromarray(photo[top : top + 64, left : left + 64]).save(root / split / f"{index}.png")
    return root


def spec(clean, degradation="rain", beta_T2=1.0, sampler=None, **training):
    settings = {"steps": 4, "batch_size": 4, "crop": 32, "lr": 1e-3, "save_every": 2, "log_every": 2}
    task = {"train": str(clean / "train"), "eval": str(clean / "test"), "degradation": degradation}
    auto = {"name": "auto", "steps": 2, "delta": 0.004, "lambda_lr": 1e-3, "min_steps": 6, "max_steps": 30}
    return {
        "task": {"name": "paired", **task},
        "schedule": {"name": "power", "T": 1000, "beta_T2": beta_T2},
        "sampler": auto | (sampler or {}),
        "backbone": NET,
        "training": settings | training,
    }


def fitted(spec, out, **options):
    trainer = rddm.build(spec)
    trainer.fit(out, progress=False, **options)
    return trainer


def trace(run):
    return [json.loads(line) for line in (run / "selection.jsonl").read_text().splitlines()]


def assert_equal_weights(a, b):
    for one, two in zip(a[Network].parameters(), b[Network].parameters(), strict=True):
        assert torch.equal(one, two)


def test_an_open_choice_cannot_be_sampled_from_and_a_made_one_is_its_method(clean):
    image = torch.rand(3, 12, 10)
    with pytest.raises(SpecError, match="has not decided between sm-res and sm-n yet; fit it first"):
        rddm.build(spec(clean)).restore(image)
    for method, head in (("sm-res", "res"), ("sm-n", "noise")):
        settled, plain = (
            rddm.build(spec(clean) | {"sampler": keys})
            for keys in ({"name": "auto", "decision": method}, {"name": method})
        )
        assert settled[Sampler].choice is None
        assert settled[Sampler].heads == plain[Sampler].heads == (head,)
        assert torch.equal(settled.restore(image), plain.restore(image))
        assert torch.equal(settled.restore(image, sampler=method), plain.restore(image))


def test_the_loss_is_algorithm_5_1_and_so_is_its_gradient_in_lambda():
    T, weight, t = 10, torch.tensor(0.3, dtype=torch.float64, requires_grad=True), torch.tensor([3, 8])
    path = rddm.build({"task": {"name": "paired", "train": "a", "eval": "b"}, "schedule": {"name": "power", "T": T}})[
        Path
    ]
    x0, x_in, eps, o = torch.randn(4, 2, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x_t = forward(x0, x_in, eps, path[t])
    scores = select.objective(
        Auto().choice, weight, Look(path, path[t], x_t, Prediction(x0, x_in - x0, eps), {"undecided": o}, unchanged)
    )
    scores["loss"].backward()
    abar, bbar = (table[t].reshape(2, 1, 1, 1) for table in path.plane())

    def by_hand(lam):
        res_of_eps = x_in - (x_t - abar * x_in - bbar * o) / (1 - abar)
        eps_of_res = (x_t - x_in - (abar - 1) * o) / bbar
        res = ((x_in - x0) - (lam * o + (1 - lam) * res_of_eps)).abs().mean()
        noise = (eps - (lam * eps_of_res + (1 - lam) * o)).abs().mean()
        return res, noise, lam * res + (1 - lam) * noise

    res, noise, loss = by_hand(0.3)
    for name, value in (("loss_res", res), ("loss_noise", noise), ("loss", loss)):
        assert scores[name].item() == pytest.approx(value.item(), rel=1e-9)
    assert scores["size_res"].item() == pytest.approx((x_in - x0).abs().mean().item())
    slope = (by_hand(0.3 + 1e-6)[2] - by_hand(0.3 - 1e-6)[2]) / 2e-6
    assert weight.grad.item() == pytest.approx(slope.item(), rel=1e-5)


DARK = {"name": "low-light", "exposure": [0.01, 0.03]}


@pytest.mark.parametrize(
    ("degradation", "beta_T2", "method"), [("rain", 1.0, "sm-res"), (DARK, 0.01, "sm-n")], ids=["rain", "dark"]
)
def test_a_fast_lambda_selects_the_residual_where_it_is_small_and_the_noise_where_it_is_large(
    clean, tmp_path, degradation, beta_T2, method
):
    trainer = fitted(spec(clean, degradation, beta_T2), tmp_path / "run")
    found = trainer[Sampler]
    assert found.decision == method
    assert (found.decided_lambda > 0.5) == (method == "sm-res")
    assert f"lambda {found.decided_lambda:.4f} is away from 0.5 at step {found.decided_at}" in found.reason
    lines = trace(tmp_path / "run")
    assert [line["step"] for line in lines] == list(range(1, found.decided_at + 1))
    assert lines[-1]["lambda"] == found.decided_lambda
    assert abs(lines[0]["lambda"] - 0.5) == pytest.approx(1e-3, rel=1e-3)  # Adam's first move is its rate
    assert all(abs(line["lambda"] - 0.5) < 0.004 for line in lines[5:-1])
    assert {"loss", "loss_res", "loss_noise", "size_res", "size_noise", "grad_norm"} <= lines[0].keys()


def test_what_was_decided_is_in_every_spec_and_the_model_is_used_as_one_of_that_method(clean, tmp_path):
    trainer = fitted(spec(clean), tmp_path / "run")
    trainer.save(tmp_path / "saved")
    assert trainer[Spec].sampler == trainer[Sampler]
    image = torch.rand(3, 20, 17)
    for folder in ("run", "saved", "run/checkpoints/step_00000004", "run/checkpoints/best"):
        assert read_spec(tmp_path / folder).sampler == trainer[Sampler], folder
    for folder in ("run", "saved"):
        loaded = rddm.load(tmp_path / folder, "cpu")
        assert torch.equal(loaded.restore(image), trainer.restore(image))
        assert torch.equal(loaded.restore(image, sampler="sm-res"), trainer.restore(image))


@pytest.mark.parametrize("ema", [None, {"decay": 0.9, "every": 1, "after": 1}], ids=str)
def test_after_the_decision_training_is_that_of_the_method_from_its_start_bit_for_bit(clean, tmp_path, ema):
    trainer = fitted(spec(clean, ema=ema), tmp_path / "auto")
    plain = fitted(spec(clean, ema=ema) | {"sampler": {"name": "sm-res", "steps": 2}}, tmp_path / "plain")
    assert_equal_weights(trainer, plain)


def test_without_a_decision_the_side_of_lambda_decides_at_max_steps(clean, tmp_path):
    trainer = fitted(spec(clean, sampler={"delta": 0.2, "min_steps": 1, "max_steps": 3}), tmp_path / "run")
    found = trainer[Sampler]
    assert (found.decision, found.decided_at) == ("sm-res", 3)
    assert "is still within delta of 0.5 at step 3 (delta 0.2" in found.reason
    exact = select._verdict(Auto().choice, [{"lambda": 0.5, "size_res": 1.0, "size_noise": 1.0}])
    assert exact.decision == "sm-res"


def test_lambda_has_a_rate_of_its_own_and_stays_between_0_and_1(clean, tmp_path):
    fitted(spec(clean, sampler={"lambda_lr": 0.3, "min_steps": 5}), tmp_path / "run")
    lambdas = [line["lambda"] for line in trace(tmp_path / "run")]
    assert lambdas[0] == pytest.approx(0.8)
    assert all(0 <= value <= 1 for value in lambdas)
    assert 1.0 in lambdas


def test_times_at_which_one_target_says_nothing_of_the_other_are_not_drawn(clean, tmp_path):
    for schedule in ({"name": "power", "T": 3}, {"name": "i2sb", "T": 5}):
        path = rddm.build(spec(clean) | {"schedule": schedule})[Path]
        times = select._telling(path).tolist()
        assert times == [t for t in range(1, path.T + 1) if path.A[t] > 1e-12 and path.C[t] > 0]
        assert path.T not in times
    with pytest.raises(SpecError, match="needs times that hold both image and noise"):
        fitted(spec(clean, beta_T2=0.0), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_decided_run_resumes_bit_equal_from_the_open_spec_or_from_its_own(clean, tmp_path):
    once = fitted(spec(clean), tmp_path / "once")
    for given, name in ((spec(clean), "open"), (read_spec(tmp_path / "once"), "own")):
        shutil.copytree(tmp_path / "once", tmp_path / name)
        shutil.rmtree(steps_saved(tmp_path / name)[-1])
        torch.manual_seed(99)
        again = fitted(given, tmp_path / name, resume=True)
        assert_equal_weights(once, again)
        assert again[Spec] == once[Spec]
        assert trace(tmp_path / name) == trace(tmp_path / "once")


def test_a_run_of_another_choice_or_method_is_not_resumed(clean, tmp_path):
    fitted(spec(clean), tmp_path / "run")
    other = rddm.build(spec(clean, sampler={"delta": 0.005}))
    with pytest.raises(CheckpointError, match=r"\(sampler\.delta: 0\.004 there, 0\.005 here\)"):
        other.fit(tmp_path / "run", resume=True, progress=False)
    assert other[Sampler].choice is not None
    fitted(spec(clean) | {"sampler": {"name": "sm-res", "steps": 2}}, tmp_path / "plain")
    with pytest.raises(CheckpointError, match=r"sampler\.name: 'sm-res' there, 'auto' here"):
        fitted(spec(clean), tmp_path / "plain", resume=True)


def test_ctrl_c_in_the_selection_decides_nothing_and_it_starts_anew(clean, tmp_path):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    once, trainer = fitted(spec(clean), tmp_path / "once"), rddm.build(spec(clean))

    def press():
        log = tmp_path / "run" / "selection.jsonl"
        while not (log.exists() and log.read_text()):
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(KeyboardInterrupt, match=r"stopped at step \d of the selection, which has decided nothing"):
        trainer.fit(tmp_path / "run", progress=False)
    thread.join()
    assert trainer[Sampler].choice is not None
    assert read_spec(tmp_path / "run").sampler.choice is not None
    trainer.fit(tmp_path / "run", progress=False, resume=True)
    assert_equal_weights(once, trainer)
    assert trace(tmp_path / "run") == trace(tmp_path / "once")
    signal.signal(signal.SIGINT, before)


def test_a_decision_outlives_a_kill_before_the_first_checkpoint(clean, tmp_path):
    once = fitted(spec(clean), tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    (tmp_path / "run" / "model.safetensors").unlink()
    (tmp_path / "run" / "selection.jsonl").write_text("kept\n")
    assert_equal_weights(once, fitted(spec(clean), tmp_path / "run", resume=True))
    assert (tmp_path / "run" / "selection.jsonl").read_text() == "kept\n"


def test_a_loss_that_is_not_finite_stops_the_selection(clean, tmp_path, monkeypatch):
    real = select.objective
    monkeypatch.setattr(select, "objective", lambda *a: {k: v * float("nan") for k, v in real(*a).items()})
    with pytest.raises(TrainingError, match="loss is nan at step 1"):
        fitted(spec(clean), tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampler": {"min_steps": 31}}, "min_steps must be at most max_steps, 30; it is 31"),
        ({"sampler": {"delta": 0.6}}, "sampler.delta"),
        ({"sampler": {"nets": 2}}, "sampler.nets"),
        ({"precision": "fp16"}, "lambda has its own; use bf16, or no"),
        ({"loss_weights": {"res": 2.0}}, "are no heads of auto"),
    ],
    ids=str,
)
def test_settings_that_do_not_go_together_are_refused(clean, changes, message):
    with pytest.raises(SpecError, match=message):
        rddm.build(spec(clean, **changes))


TWO = """
import sys, torch, rddm
from pathlib import Path
from rddm.core.kinds import Sampler
torch.set_num_threads(1)
if __name__ == "__main__":
    trainer = rddm.build(sys.argv[1])
    trainer.fit(sys.argv[2], progress=False)
    Path(sys.argv[2] + f".{torch.distributed.get_rank()}").write_text(trainer[Sampler].model_dump_json())
    torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_decide_alike_at_the_same_step(clean, tmp_path):
    (tmp_path / "two.py").write_text(TWO)
    (tmp_path / "spec.json").write_text(json.dumps(spec(clean, accumulate=2)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    arguments = [str(tmp_path / "two.py"), str(tmp_path / "spec.json"), str(tmp_path / "run")]
    done = subprocess.run(command + arguments, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    one, two = (json.loads((tmp_path / f"run.{rank}").read_text()) for rank in (0, 1))
    assert one == two == json.loads(read_spec(tmp_path / "run").sampler.model_dump_json())
    assert one["decision"] == "sm-res"
    assert trace(tmp_path / "run")[-1]["lambda"] == one["decided_lambda"]
