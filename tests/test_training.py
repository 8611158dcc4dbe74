"""Training runs: what they leave behind, how they resume, and how they end."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import Literal

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as photos
from torch import nn

import rddm
from rddm import CheckpointError, DataError, LaunchError, OutputError, SpecError, TrainingError
from rddm.core.checkpoint import steps_saved
from rddm.core.data import Examples, batches, seeded
from rddm.core.kinds import Backbone, Task
from rddm.core.network import Network
from rddm.core.spec import Training
from rddm.core.systems import launch, train

NET = {"name": "nafnet", "width": 8, "enc_blocks": [1], "middle_blocks": 1, "dec_blocks": [1]}


@pytest.fixture(scope="session")
def pairs(tmp_path_factory):
    """A folder with train/ and test/, each of input/ and target/."""
    root = tmp_path_factory.mktemp("pairs")
    generator = np.random.default_rng(0)
    for split, image in (("train", photos.coffee()), ("test", photos.astronaut())):
        for side in ("input", "target"):
            (root / split / side).mkdir(parents=True)
        for index in range(3):
            top, left = generator.integers(0, 200, 2)
            crop = image[top : top + 70, left : left + 50]
            Image.fromarray(crop).save(root / split / "target" / f"{index}.png")
            noisy = crop + generator.normal(0, 25, crop.shape)
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(root / split / "input" / f"{index}.png")
    return root


def spec(pairs, **training):
    return {
        "task": {"name": "paired", "train": str(pairs / "train"), "eval": str(pairs / "test")},
        "sampler": {"name": "sm-res-n", "nets": 2, "steps": 2},
        "backbone": NET,
        "training": {"steps": 6, "batch_size": 2, "crop": 16, "lr": 1e-3, "save_every": 3, "log_every": 2, **training},
    }


def fitted(spec, out, **options):
    trainer = rddm.build(spec)
    trainer.fit(out, progress=False, **options)
    return trainer


def log(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def weights(trainer):
    return {key: value.clone() for key, value in trainer[Network].state_dict().items()}


def assert_equal_weights(a, b):
    assert a.keys() == b.keys()
    for key in a:
        assert torch.equal(a[key], b[key]), key


def test_a_run_leaves_a_model_a_log_a_picture_and_checkpoints(pairs, tmp_path):
    out = tmp_path / "run"
    scores = rddm.build(spec(pairs, eval_every=3)).fit(out, progress=False)
    assert {"psnr", "ssim", "psnr_y", "input_psnr", "input_ssim_y", "images", "per_image"} <= scores.keys()
    assert sorted(scores["per_image"]) == ["0", "1", "2"]
    lines = log(out)
    assert [line["step"] for line in lines if "loss" in line] == [2, 4, 6]
    assert [line["step"] for line in lines if "eval_psnr" in line] == [3, 6]
    assert {"loss", "loss_res", "loss_noise", "lr", "grad_norm", "images_per_second"} <= lines[0].keys()
    assert [p.name for p in steps_saved(out)] == ["step_00000003", "step_00000006"]
    assert json.loads((out / "evaluation.json").read_text())["psnr"] == pytest.approx(scores["psnr"])
    with Image.open(out / "samples" / "step_00000006.png") as picture:
        assert picture.width == 3 * 4 * 50 + 12  # small ones are enlarged
    assert (out / "checkpoints" / "best" / "model.safetensors").is_file()
    assert not list(out.rglob("*.tmp"))
    assert not list(out.rglob(".*"))


def test_what_is_saved_and_loaded_restores_bit_equal(pairs, tmp_path):
    trainer = fitted(spec(pairs), tmp_path / "run")
    trainer.save(tmp_path / "saved")
    image = torch.rand(3, 21, 34)
    want = trainer.restore(image)
    for folder in ("saved", "run", "run/checkpoints/step_00000006"):
        assert torch.equal(rddm.load(tmp_path / folder, "cpu").restore(image), want), folder
    with pytest.raises(OutputError, match="exists"):
        trainer.save(tmp_path / "saved")
    trainer.save(tmp_path / "saved", overwrite=True)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ema": None},
        {"ema": {"decay": 0.9, "every": 1, "after": 1}, "per_network": True, "lr_schedule": "cosine", "warmup": 2},
        {"accumulate": 2, "optimizer": "radam", "precision": "bf16"},
        {"workers": 1},
    ],
    ids=str,
)
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(pairs, tmp_path, changes):
    whole = spec(pairs, **changes, save_every=4, steps=7)
    once = fitted(whole, tmp_path / "once")
    # stopped after step 4: in the middle of an epoch of 3 images
    shutil.copytree(tmp_path / "once", tmp_path / "twice")
    for later in steps_saved(tmp_path / "twice")[1:]:
        shutil.rmtree(later)
    torch.manual_seed(123)  # the state of this process is another one by now
    twice = fitted(whole, tmp_path / "twice", resume=True)
    assert_equal_weights(weights(once), weights(twice))
    logs = [log(tmp_path / run) for run in ("once", "twice")]
    for line in logs[0] + logs[1]:
        line.pop("images_per_second", None)
    assert logs[0] == logs[1]


def test_a_complete_run_can_be_resumed_for_more_steps(pairs, tmp_path):
    fitted(spec(pairs), tmp_path / "run")
    with pytest.warns(UserWarning, match="has its 6 steps already; nothing is trained"):
        again = fitted(spec(pairs), tmp_path / "run", resume=True)
    assert_equal_weights(weights(again), weights(rddm.load(tmp_path / "run", "cpu")))
    longer = fitted(spec(pairs, steps=8), tmp_path / "run", resume=True)
    assert steps_saved(tmp_path / "run")[-1].name == "step_00000008"
    assert any(not torch.equal(a, b) for a, b in zip(weights(again).values(), weights(longer).values(), strict=True))


def test_the_same_spec_trains_to_the_same_weights_and_another_seed_to_others(pairs, tmp_path):
    one, two, other = (fitted(spec(pairs, seed=seed), tmp_path / str(i)) for i, seed in enumerate((0, 0, 1)))
    assert_equal_weights(weights(one), weights(two))
    assert any(not torch.equal(a, b) for a, b in zip(weights(one).values(), weights(other).values(), strict=True))


def test_one_optimizer_for_each_network_leaves_the_other_network_alone(pairs):
    trainer = rddm.build(spec(pairs, per_network=True))
    found = train.optimizers(trainer[Training], trainer[Network])
    assert len(found) == 2
    sizes = [sum(p.numel() for group in o.param_groups for p in group["params"]) for o in found]
    assert sum(sizes) == sum(p.numel() for p in trainer[Network].parameters())


def test_every_example_depends_on_seed_and_number_alone(pairs):
    trainer = rddm.build(spec(pairs))
    examples = Examples(trainer[Task], trainer[Training])
    straight = [b["input"] for b in batches(examples, 0, 6, 0, 1)]
    later = [b["input"] for b in batches(Examples(trainer[Task], trainer[Training]), 4, 6, 0, 1)]
    assert torch.equal(straight[4], later[0])
    ranks = [[b["input"] for b in batches(examples, 0, 3, rank, 2)] for rank in (0, 1)]
    assert torch.equal(straight[0], ranks[0][0])
    assert torch.equal(straight[1], ranks[1][0])
    assert torch.equal(straight[5], ranks[1][2])


def test_every_epoch_sees_every_image_once_in_a_new_order(pairs):
    trainer = rddm.build(spec(pairs))
    examples = Examples(trainer[Task], trainer[Training])
    reads = []
    original = type(examples.records).__getitem__
    type(examples.records).__getitem__ = lambda self, i: (reads.append(i), original(self, i))[1]
    try:
        for number in range(60):
            examples[number]
    finally:
        type(examples.records).__getitem__ = original
    epochs = [tuple(reads[i : i + 3]) for i in range(0, 60, 3)]
    assert all(sorted(epoch) == [0, 1, 2] for epoch in epochs)
    assert len(set(epochs)) > 3


def test_images_are_mirrored_half_of_the_time(pairs):
    trainer = rddm.build(spec(pairs, crop=50))
    examples = Examples(trainer[Task], trainer[Training])
    task, record = trainer[Task], examples.records[0]
    seen = [task.example(record, (70, 50), seeded(i)) for i in range(400)]
    plain = task.example(record, None, seeded(0))
    mirrored = [torch.equal(e["input"], plain["input"].flip(-1)) for e in seen]
    same = [torch.equal(e["input"], plain["input"]) for e in seen]
    assert sum(mirrored) + sum(same) == 400
    assert 160 < sum(mirrored) < 240
    assert all(torch.equal(e["target"], plain["target"].flip(-1)) == m for e, m in zip(seen, mirrored, strict=True))


def test_an_existing_folder_is_never_overwritten_unasked(pairs, tmp_path):
    fitted(spec(pairs), tmp_path / "run")
    with pytest.raises(OutputError, match=r"--resume.*--overwrite"):
        fitted(spec(pairs), tmp_path / "run")
    fitted(spec(pairs), tmp_path / "run", overwrite=True)
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("x")
    with pytest.raises(OutputError, match=r"what rddm did not write: thesis\.txt"):
        fitted(spec(pairs), precious, overwrite=True)
    shutil.copy(precious / "thesis.txt", tmp_path / "run")
    with pytest.raises(OutputError, match=r"thesis\.txt"):
        fitted(spec(pairs), tmp_path / "run", overwrite=True)
    with pytest.raises(OutputError, match=r"thesis\.txt"):
        rddm.load(tmp_path / "run").save(precious, overwrite=True)
    with pytest.raises(OutputError, match="no folder"):
        rddm.load(tmp_path / "run").save(precious / "thesis.txt", overwrite=True)
    assert (precious / "thesis.txt").read_text() == "x"
    with pytest.raises(OutputError, match="give one of them"):
        fitted(spec(pairs), tmp_path / "run", overwrite=True, resume=True)


def test_a_run_that_is_overwritten_comes_back_if_the_new_one_fails_before_its_first_checkpoint(
    pairs, tmp_path, monkeypatch
):
    fitted(spec(pairs), tmp_path / "run")
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    monkeypatch.setattr(train, "losses", lambda *args: {"res": torch.tensor(math.nan, requires_grad=True)})
    with pytest.raises(TrainingError):
        fitted(spec(pairs, lr=1.0), tmp_path / "run", overwrite=True)
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before
    assert steps_saved(tmp_path / "run")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
    with pytest.raises(TrainingError):  # a failed run without a checkpoint is no obstacle to the next
        fitted(spec(pairs, lr=1.0), tmp_path / "new")
    monkeypatch.undo()
    fitted(spec(pairs), tmp_path / "new")


def test_what_a_killed_process_left_half_written_is_no_obstacle(pairs, tmp_path):
    fitted(spec(pairs), tmp_path / "run")
    (tmp_path / "run" / ".model.0123abcd.safetensors").write_bytes(b"half")
    (tmp_path / "run" / "checkpoints" / ".step_00000004.0123abcd.tmp").mkdir()
    fitted(spec(pairs), tmp_path / "run", overwrite=True)
    assert not list((tmp_path / "run").rglob(".*"))


@pytest.mark.parametrize("begun", [False, True])
def test_a_run_that_was_moved_aside_when_its_successor_was_killed_comes_back(pairs, tmp_path, begun):
    fitted(spec(pairs), tmp_path / "run")
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    (tmp_path / "run").rename(tmp_path / ".run.previous")
    if begun:
        (tmp_path / "run").mkdir()
        shutil.copy(tmp_path / ".run.previous" / "spec.yaml", tmp_path / "run")
    with pytest.raises(OutputError, match=r"--resume.*--overwrite"):
        fitted(spec(pairs), tmp_path / "run")
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_two_fits_in_one_folder_are_refused(pairs, tmp_path):
    from filelock import FileLock

    fitted(spec(pairs), tmp_path / "run")
    with FileLock(tmp_path / "run" / ".lock"):
        for options in ({"resume": True}, {"overwrite": True}):
            with pytest.raises(OutputError, match="another fit is running"):
                fitted(spec(pairs, steps=7), tmp_path / "run", **options)
    assert (tmp_path / "run" / "model.safetensors").is_file()


def test_resuming_without_a_checkpoint_or_under_another_spec_is_an_error(pairs, tmp_path):
    with pytest.raises(CheckpointError, match=r"no spec\.yaml"):
        fitted(spec(pairs), tmp_path / "none", resume=True)
    assert not (tmp_path / "none").exists()
    fitted(spec(pairs), tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"training\.lr: 0\.001 there, 0\.01 here"):
        fitted(spec(pairs, lr=1e-2), tmp_path / "run", resume=True)
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    with pytest.raises(CheckpointError, match="no checkpoint to resume from"):
        fitted(spec(pairs), tmp_path / "run", resume=True)


def test_damaged_and_foreign_checkpoints_are_named(pairs, tmp_path):
    trainer = fitted(spec(pairs), tmp_path / "run")
    with pytest.raises(CheckpointError, match="no run"):
        rddm.load(tmp_path)
    file = tmp_path / "run" / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be read"):
        rddm.load(tmp_path / "run")
    file.write_bytes(whole)
    with pytest.raises(CheckpointError, match="belongs to another network"):
        rddm.load(tmp_path / "run", overrides=["backbone.width=16"])
    file.unlink()
    with pytest.raises(CheckpointError, match="no model.safetensors"):
        rddm.load(tmp_path / "run")
    state = steps_saved(tmp_path / "run")[-1] / "state.pt"
    state.write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match=r"state\.pt is damaged .*remove"):
        trainer.fit(tmp_path / "run", resume=True)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(pairs, tmp_path, monkeypatch):
    calls = []

    def explode(*args):
        calls.append(args)
        found = original(*args)
        return {k: v * math.nan for k, v in found.items()} if len(calls) == 5 else found

    original = train.losses
    monkeypatch.setattr(train, "losses", explode)
    trainer = rddm.build(spec(pairs))
    with pytest.raises(TrainingError, match=r"nan at step 5.*training\.lr \(now 0\.001\).*step_00000003"):
        trainer.fit(tmp_path / "run", progress=False)
    assert all(value.isfinite().all() for value in weights(trainer).values())
    assert rddm.load(tmp_path / "run").restore(torch.rand(3, 8, 8)).isfinite().all()


def test_only_so_many_checkpoints_are_kept_and_the_best_stays(pairs, tmp_path):
    fitted(spec(pairs, save_every=1, keep_last=2, steps=5, eval_every=2), tmp_path / "run")
    kept = sorted(p.name for p in (tmp_path / "run" / "checkpoints").iterdir())
    assert kept == ["best", "step_00000004", "step_00000005"]


def test_a_disk_that_takes_no_more_is_an_error_that_leaves_the_old_checkpoint(pairs, tmp_path, monkeypatch):
    real = torch.save
    saves = []

    def full(*args, **kwargs):
        saves.append(1)
        if len(saves) == 2:
            raise OSError(28, "No space left on device")
        real(*args, **kwargs)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError, match="No space left on device"):
        fitted(spec(pairs), tmp_path / "run")
    assert [p.name for p in steps_saved(tmp_path / "run")] == ["step_00000003"]
    assert {p.name for p in (tmp_path / "run" / "checkpoints").iterdir()} == {"step_00000003", "best"}


def test_ctrl_c_saves_and_the_run_goes_on_bit_equal(pairs, tmp_path):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent may have it ignored
    whole = spec(pairs, steps=8, save_every=100)
    once = fitted(whole, tmp_path / "once")

    def press():
        log = tmp_path / "run" / "metrics.jsonl"
        while not (log.exists() and log.read_text()):
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(KeyboardInterrupt, match=r"stopped at step \d of 8 and saved; .*--resume"):
        fitted(whole, tmp_path / "run")
    thread.join()
    assert steps_saved(tmp_path / "run")
    assert_equal_weights(weights(once), weights(fitted(whole, tmp_path / "run", resume=True)))
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler


def test_images_smaller_than_the_crop_are_named_with_the_largest_crop(pairs, tmp_path):
    with pytest.raises(
        DataError, match=r"3 of 3 training images are smaller than the crop 64x64: 0 \(70x50\).*at most 50"
    ):
        fitted(spec(pairs, crop=64), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_corrupt_training_image_is_named_once_and_training_goes_on(pairs, tmp_path):
    shutil.copytree(pairs, tmp_path / "pairs")
    (tmp_path / "pairs/train/input/1.png").write_bytes(b"\x89PNG but not really")
    with pytest.warns(UserWarning, match=r"left out of training.*1\.png") as caught:
        fitted(spec(tmp_path / "pairs"), tmp_path / "run")
    assert len([w for w in caught if "left out of training" in str(w.message)]) == 1
    for file in (tmp_path / "pairs/train/input").iterdir():
        file.write_bytes(b"")
    with pytest.raises(DataError, match="none of the 3 training images can be read"):
        fitted(spec(tmp_path / "pairs"), tmp_path / "other")


def test_a_corrupt_evaluation_image_is_named_and_left_out(pairs, tmp_path):
    shutil.copytree(pairs, tmp_path / "pairs")
    (tmp_path / "pairs/test/target/2.png").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"left out of evaluation.*2"):
        scores = rddm.build(spec(tmp_path / "pairs")).evaluate()
    assert scores["images"] == 2


def test_missing_data_and_data_that_does_not_fit_the_task_say_what_to_do(pairs, tmp_path):
    def build(task, **training):
        return rddm.build(spec(pairs, **training) | {"task": {"name": "paired", "eval": str(pairs / "test")} | task})

    for task, message in (
        ({"train": str(tmp_path / "missing")}, "missing"),
        ({"train": str(pairs / "train" / "target")}, "set task.degradation"),
        ({"train": str(pairs / "train"), "degradation": "rain"}, "has inputs of its own; take the degradation away"),
    ):
        with pytest.raises(DataError, match=message):
            build(task).fit(tmp_path / "run", progress=False)


def test_fp16_on_a_cpu_is_refused(pairs, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(SpecError, match="fp16 needs a GPU"):
        fitted(spec(pairs, precision="fp16"), tmp_path / "run")


@pytest.mark.parametrize("variable", launch.WORLD_SIZES)
def test_processes_that_would_each_train_alone_are_an_error(pairs, tmp_path, monkeypatch, variable):
    monkeypatch.setenv(variable, "2")
    monkeypatch.setattr(launch.Accelerator, "num_processes", 1)
    with pytest.raises(LaunchError, match="each would train alone"):
        fitted(spec(pairs), tmp_path / "run")


def test_tensorboard_events_are_written_by_choice(pairs, tmp_path):
    fitted(spec(pairs, tensorboard=True), tmp_path / "run")
    assert list((tmp_path / "run" / "tensorboard").glob("events*"))


def test_a_learnt_denoiser_beats_its_input(pairs, tmp_path):
    trainer = rddm.build(
        {
            "task": {"name": "paired", "train": "photos", "eval": "photos", "degradation": {"name": "noise"}}
            | {"train": {"name": "photos"}, "eval": {"name": "photos", "images": ["coffee"]}},
            "sampler": {"name": "sm-res", "steps": 1},
            "backbone": NET,
            "training": {"steps": 250, "batch_size": 4, "crop": 32, "lr": 3e-3, "lr_schedule": "cosine", "ema": None},
        }
    )
    scores = trainer.fit(tmp_path / "run", progress=False)
    assert scores["psnr"] > scores["input_psnr"] + 2


class Tiny(nn.Module):
    """One weight a channel pair, and dropout on demand."""

    def __init__(self, in_chans, out_chans, dropout):
        super().__init__()
        self.conv = nn.Conv2d(in_chans, out_chans, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x, time):
        return self.dropout(self.conv(x))


class TinyBackbone(Backbone):
    """Builds the smallest network that learns."""

    name: Literal["tiny"] = "tiny"
    dropout: float = 0.0

    def build(self, in_chans, out_chans, times):
        return Tiny(in_chans, out_chans, self.dropout)


def tiny(pairs, sampler=None, dropout=0.0, **training):
    keys = {"steps": 4, "batch_size": 2, "crop": 16, "lr": 0.1, "optimizer": "momentum", "clip_grad": None, "ema": None}
    task = {"name": "paired", "train": str(pairs / "train"), "eval": str(pairs / "test")}
    return rddm.build(
        rddm.Spec(
            task=task,
            sampler=sampler or {"name": "sm-res", "steps": 1},
            backbone=TinyBackbone(dropout=dropout),
            training=Training(**(keys | training)),
        )
    )


def trained(trainer):
    """The weights after every step, and what each step reported."""
    run = train.Run.start(trainer)
    history = []
    for scores in run.steps():
        history.append((weights(trainer), scores))
    with run.settling():
        pass
    return history, run


def gradients(trainer, passes):
    """By hand: the mean gradient of the given forward passes, each with its own batch and its own noise."""
    examples = Examples(trainer[Task], trainer[Training])
    total = {}
    for number in passes:
        [batch] = list(batches(examples, number, number + 1, 0, 1))
        generator = seeded(trainer[Training].seed, 2, number, 0)
        found = train.losses(trainer, trainer[Network], batch, generator, torch.device("cpu"))
        trainer[Network].zero_grad()
        sum(found.values()).backward()
        for name, parameter in trainer[Network].named_parameters():
            total[name] = total.get(name, 0) + parameter.grad.clone() / len(passes)
    return total


def test_a_step_follows_the_mean_gradient_of_its_passes(pairs):
    trainer, copy = tiny(pairs, steps=1, accumulate=3), tiny(pairs, steps=1, accumulate=3)
    start, wanted = weights(copy), gradients(copy, [0, 1, 2])
    history, _ = trained(trainer)
    for name, value in history[0][0].items():
        torch.testing.assert_close(value, start[name] - 0.1 * wanted[name], rtol=1e-4, atol=1e-6)


def test_the_seed_decides_order_crops_and_noise(pairs):
    same, other = (gradients(tiny(pairs, seed=0), [n]) for n in (0, 1))
    fresh = tiny(pairs, seed=0)
    again = gradients(fresh, [0])
    assert all(torch.equal(same[name], again[name]) for name in same)
    assert any(not torch.equal(same[name], other[name]) for name in same)
    a, b = (Examples(t[Task], t[Training]) for t in (tiny(pairs, seed=0), tiny(pairs, seed=1)))
    assert any(not torch.equal(a[i]["input"], b[i]["input"]) for i in range(3))
    noises = [torch.randn(4, generator=seeded(0, 2, 5, rank)) for rank in (0, 1)]
    assert not torch.equal(*noises)
    assert seeded(5).initial_seed() != seeded(5, 0).initial_seed()


def test_the_gradient_is_clipped_to_its_joint_norm(pairs):
    trainer = tiny(pairs, steps=1, clip_grad=1e-3)
    before = weights(trainer)
    history, _ = trained(trainer)
    moved = sum(((history[0][0][name] - before[name]) ** 2).sum() for name in before).sqrt()
    assert moved.item() == pytest.approx(0.1 * 1e-3, rel=1e-3)
    assert history[0][1]["grad_norm"] > 1e-3


def test_the_rate_warms_up_and_follows_its_schedule(pairs):
    rates = [scores["lr"] for _, scores in trained(tiny(pairs, steps=6, warmup=3))[0]]
    assert rates == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])
    rates = [scores["lr"] for _, scores in trained(tiny(pairs, steps=4, lr_schedule="cosine"))[0]]
    assert rates == pytest.approx([0.05 * (1 + math.cos(math.pi * k / 4)) for k in range(4)])


def test_the_average_is_the_weights_first_and_then_moves_at_its_pace(pairs):
    trainer = tiny(pairs, steps=6, ema={"decay": 0.5, "every": 2, "after": 2})
    history, _ = trained(trainer)
    average = history[1][0]
    for step in (4, 6):  # warm-up: the decay is at most 1 - (1 + n)^(-2/3) at the n-th update
        n = (step - 2) // 2
        decay = min(0.5, 1 - (1 + n) ** (-2 / 3))
        average = {name: decay * value + (1 - decay) * history[step - 1][0][name] for name, value in average.items()}
    for name, value in weights(trainer).items():  # what is left in the network is the average
        torch.testing.assert_close(value, average[name])
    assert not trainer[Network].training
    assert "forward" not in vars(trainer[Network])


@pytest.mark.parametrize("ema", [{"after": 0, "every": 10}, {"after": 3, "every": 10}, {"after": 100, "every": 10}])
def test_the_average_is_never_the_untrained_network(pairs, tmp_path, ema):
    trainer = tiny(pairs, ema=ema)
    before = weights(trainer)
    history, _ = trained(trainer)
    if ema["after"]:
        assert_equal_weights(weights(trainer), history[min(ema["after"], 4) - 1][0])
    else:
        assert_equal_weights(weights(trainer), before)  # nothing to follow, and no update yet: as asked for


def test_loss_weights_choose_what_is_learnt(pairs):
    both = {"name": "sm-res-n", "nets": 2, "steps": 1}
    trainer = tiny(pairs, sampler=both, loss_weights={"noise": 0.0})
    before = weights(trainer)
    history, _ = trained(trainer)
    changed = {name.split(".")[1] for name, value in history[-1][0].items() if not torch.equal(value, before[name])}
    assert changed == {"res"}
    assert history[0][1]["loss"] == pytest.approx(history[0][1]["loss_res"])


@pytest.mark.filterwarnings("ignore:.*has no entry point")
def test_dropout_resumes_bit_equal_and_repeats_from_its_seed(pairs, tmp_path):
    def one(out, **options):
        trainer = tiny(pairs, dropout=0.5, steps=6, save_every=3, eval_every=3)
        trainer.fit(out, progress=False, **options)
        return weights(trainer)

    once = one(tmp_path / "once")
    assert_equal_weights(once, one(tmp_path / "again"))
    shutil.copytree(tmp_path / "once", tmp_path / "twice")
    shutil.rmtree(steps_saved(tmp_path / "twice")[-1])
    torch.manual_seed(99)
    assert_equal_weights(once, one(tmp_path / "twice", resume=True))


def test_a_component_without_an_entry_point_is_warned_of_before_it_is_saved(pairs, tmp_path):
    with pytest.warns(UserWarning, match=r"backbone 'tiny' .*has no entry point.*rddm\.backbones"):
        tiny(pairs).fit(tmp_path / "run", progress=False)


def test_more_steps_are_refused_where_the_rate_depends_on_the_end(pairs, tmp_path):
    fitted(spec(pairs, lr_schedule="cosine"), tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"training\.steps: 6 there, 8 here"):
        fitted(spec(pairs, lr_schedule="cosine", steps=8), tmp_path / "run", resume=True)


def test_input_and_target_are_cut_and_turned_alike(pairs):
    trainer = rddm.build(spec(pairs) | {"task": {"name": "paired", "train": str(pairs / "train"), "eval": "x"}})
    image = np.arange(40 * 30 * 3, dtype=np.uint8).reshape(40, 30, 3)
    record = {"target": image, "input": image}
    for augment, count in (("none", 1), ("flip", 2), ("dihedral", 8)):
        task = type(trainer[Task])(train="a", eval="b", augment=augment)
        square = {role: array[:30] for role, array in record.items()}
        for number in range(40):
            example = task.example(record, (16, 16), seeded(number))
            assert torch.equal(example["input"], example["target"])
        whole = {task.example(square, (30, 30), seeded(number))["input"].numpy().tobytes() for number in range(120)}
        assert len(whole) == count
    starts = {task.example(record, (39, 29), seeded(number))["input"].numpy().tobytes() for number in range(200)}
    assert len(starts) == 16  # 2 x 2 places, and the 4 flips; a rectangle is not turned


TWO = """
import sys, torch, rddm
torch.set_num_threads(1)
if __name__ == "__main__":
    rddm.build(sys.argv[1]).fit(sys.argv[2], progress=False, resume="resume" in sys.argv)
    torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_train_one_model_and_resume_bit_equal(pairs, tmp_path):
    (tmp_path / "two.py").write_text(TWO)
    (tmp_path / "spec.json").write_text(json.dumps(spec(pairs, save_every=3, steps=5)))

    def launch(out, *words, nproc=2):
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(nproc)]
        arguments = [str(tmp_path / "two.py"), str(tmp_path / "spec.json"), str(out), *words]
        return subprocess.run(command + arguments, capture_output=True, text=True, timeout=300)

    done = launch(tmp_path / "once")
    assert done.returncode == 0, done.stderr
    shutil.copytree(tmp_path / "once", tmp_path / "twice")
    shutil.rmtree(steps_saved(tmp_path / "twice")[-1])
    done = launch(tmp_path / "twice", "resume")
    assert done.returncode == 0, done.stderr
    one, two = (rddm.load(tmp_path / run, "cpu") for run in ("once", "twice"))
    assert_equal_weights(weights(one), weights(two))
    assert sorted(json.loads((tmp_path / "once" / "evaluation.json").read_text())["per_image"]) == ["0", "1", "2"]
    done = launch(tmp_path / "once", "resume", nproc=1)
    assert done.returncode == 0, done.stderr
    assert "written by 2 processes" in done.stderr


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
def test_training_on_a_gpu_gives_a_model_that_restores_the_same_on_the_cpu(pairs, tmp_path, precision):
    trainer = fitted(spec(pairs, precision=precision), tmp_path / "run")
    image = torch.rand(3, 20, 20)
    gpu, cpu = (rddm.load(tmp_path / "run", device).restore(image) for device in ("cuda", "cpu"))
    torch.testing.assert_close(gpu, cpu, atol=2e-3, rtol=0)
    assert trainer[Network].training is False
