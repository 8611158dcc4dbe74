"""Images from noise alone: the task, its arrays, drawing, and how a set of drawn images is judged."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import rddm
from rddm import DataError, ShapeError, SpecError
from rddm.core.data import seeded
from rddm.core.kinds import Task
from rddm.core.network import Network
from rddm.core.systems.evaluate import compared, sets
from rddm.core.systems.trajectory import trajectory
from rddm.metrics.swd import SWD
from rddm.sources.arrays import Arrays

SMALL = {"name": "nafnet", "width": 4, "enc_blocks": [1], "middle_blocks": 1, "dec_blocks": [1]}


def trainer_of(train="a", held_out="b", channels=1, schedule="ddim", **training):
    trainer = rddm.build(
        {
            "task": {"name": "generation", "train": train, "eval": held_out, "channels": channels},
            "schedule": schedule,
            "sampler": {"name": "sm-n", "steps": 3},
            "backbone": SMALL,
            "training": {"crop": 8, "batch_size": 2, "steps": 4} | training,
        }
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # an untrained output layer may be zero, which would hide everything
        for parameter in trainer[Network].parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return trainer


@pytest.fixture(scope="module")
def trainer():
    return trainer_of()


# --------------------------------------------------------------------------------------------- drawing
@settings(max_examples=15)
@given(st.integers(1, 7), st.integers(1, 7), st.sampled_from([0.0, 1.0]))
def test_image_n_depends_on_the_seed_and_n_alone_whatever_count_and_batch(trainer, count, batch, eta):
    images = trainer.sample(count, seed=5, batch=batch, eta=eta)
    assert images.shape == (count, 1, 8, 8)
    assert 0 <= images.min() <= images.max() <= 1
    torch.testing.assert_close(images, trainer.sample(7, seed=5, eta=eta)[:count], rtol=0, atol=1e-5)


@given(st.integers(0, 5))
def test_images_from_a_number_on_are_those_of_that_number(trainer, start):
    torch.testing.assert_close(trainer.sample(2, start=start), trainer.sample(7)[start : start + 2], rtol=0, atol=1e-5)


@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_parts_of_a_validation_are_the_whole_of_it(tmp_path, world):
    trainer = trainer_of(*held_out_arrays(tmp_path))
    whole = sets(trainer)
    parts = [sets(trainer, part=(rank, world)) for rank in range(world)]
    for n in (0, 1):
        torch.testing.assert_close(torch.cat([part[n] for part in parts]), whole[n], rtol=0, atol=1e-5)
    metrics = trainer[Task].metrics
    together, alone = (compared(metrics, [pair[:2] for pair in pairs]) for pairs in (parts, [whole]))
    assert together["swd"] == pytest.approx(alone["swd"], abs=1e-6)
    assert together["images"] == alone["images"] == 5


@pytest.mark.slow
def test_two_processes_draw_one_validation(tmp_path):
    trainer = trainer_of(*held_out_arrays(tmp_path), steps=1)
    (tmp_path / "spec.yaml").write_text(trainer[rddm.Spec].to_yaml())
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "rddm", "fit"]
    done = subprocess.run(
        [sys.executable, *command, str(tmp_path / "spec.yaml"), "--out", str(tmp_path / "run")],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert found["images"] == 5
    assert found["swd"] == pytest.approx(rddm.load(tmp_path / "run", "cpu").evaluate()["swd"], rel=1e-4)


def held_out_arrays(folder):
    """Two files of arrays as sources."""
    for name, count in (("train", 4), ("eval", 5)):
        images_in(folder / f"{name}.npy", count, seed=count)
    return [{"name": "arrays", "path": str(folder / f"{name}.npy")} for name in ("train", "eval")]


def test_images_and_seeds_differ_from_each_other(trainer):
    images = trainer.sample(3, seed=5)
    assert not torch.allclose(images[0], images[1], atol=1e-3)
    assert not torch.allclose(images, trainer.sample(3, seed=6), atol=1e-3)


def test_given_noise_is_the_noise_that_is_started_from(trainer):
    noise = torch.randn(3, 1, 9, 7, generator=torch.Generator().manual_seed(1))
    images = trainer.sample(noise=noise, batch=2)
    with torch.inference_mode():
        *_, last = trajectory(trainer, torch.zeros_like(noise), noise=noise)
    torch.testing.assert_close(images, ((last.x + 1) / 2).clamp(0, 1), rtol=0, atol=1e-5)
    # what image 0 starts from when its noise is drawn
    drawn = torch.randn(1, 1, 8, 8, generator=seeded(0, 3, 0))
    torch.testing.assert_close(trainer.sample(noise=drawn), trainer.sample(1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(8, 8), (5, 11), (1, 1)])
def test_images_of_any_size_are_drawn(trainer, size):
    assert trainer.sample(2, size=size).shape == (2, 1, *size)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "count, or their start noise"),
        ({"count": 2, "noise": torch.zeros(2, 1, 8, 8)}, "count, or their start noise"),
        ({"noise": torch.zeros(2, 3, 8, 8)}, r"\(N, 1, H, W\), of at least one each; given \(2, 3, 8, 8\)"),
        ({"noise": torch.zeros(2, 1)}, r"given \(2, 1\)"),
        ({"noise": torch.zeros(0, 1, 8, 8)}, r"given \(0, 1, 8, 8\)"),
        ({"count": 0}, r"given \(0, 1, 8, 8\)"),
        ({"count": 2, "size": (8, 0)}, r"given \(2, 1, 8, 0\)"),
        ({"count": 2, "size": (8,)}, r"given \(2, 1, 8\)"),
        ({"count": 2, "size": "8x8"}, r"given \(2, 1, '8', 'x', '8'\)"),
        ({"count": 2, "size": 8.0}, r"given \(2, 1, 8\.0, 8\.0\)"),
        ({"count": 2.5}, r"given \(2\.5, 1, 8, 8\)"),
        ({"noise": "x"}, r"given \(\)"),
    ],
)
def test_wrong_counts_and_shapes_are_refused_with_what_was_given(trainer, options, message):
    with pytest.raises(ShapeError, match=message):
        trainer.sample(**options)


def test_a_task_with_an_input_draws_nothing():
    trainer = rddm.build({"task": {"name": "paired", "train": "a", "eval": "b"}, "backbone": SMALL})
    with pytest.raises(SpecError, match=r"task 'paired' turns inputs into images; use restore\(image\)"):
        trainer.sample(2)


def test_steps_eta_and_sampler_of_the_call_take_effect(trainer):
    own = trainer.sample(2)
    torch.testing.assert_close(own, trainer.sample(2, steps=3, eta=0.0))
    for options in ({"steps": 2}, {"eta": 1.0}, {"sampler": {"name": "sm-n", "clip": "none"}}):
        assert not torch.allclose(own, trainer.sample(2, **options), atol=1e-4), options


def test_the_input_of_the_task_is_mid_grey_and_the_network_does_not_see_it():
    task = trainer_of(channels=3)[Task]
    record = {"target": np.random.default_rng(0).integers(0, 255, (9, 10, 3), np.uint8)}
    example = task.example(record, (8, 8), seeded(0))
    assert example["target"].shape == (3, 8, 8)
    assert (example["input"] == 0.5).all()  # 0 in [-1, 1]
    assert task.condition(example["input"][None], {}) is None
    assert task.conditions == 0
    whole = task.example(record, None, seeded(0))["target"]
    np.testing.assert_array_equal((whole * 255).round().byte().numpy(), record["target"].transpose(2, 0, 1))


# --------------------------------------------------------------------------------------------- judging
@given(st.integers(1, 6), st.integers(0, 99))
def test_equal_sets_are_at_distance_0_in_any_order(count, seed):
    images = torch.rand(count, 2, 3, 3, generator=torch.Generator().manual_seed(seed))
    assert SWD().compare(images, images.flip(0))["swd"] < 1e-12


def test_the_distance_of_single_pixels_is_the_mean_gap_of_the_sorted_values():
    # of one pixel, all directions are 1 or -1: |0 - 0.1|, |0.5 - 0.4|, |1 - 0.6|
    images = torch.tensor([1.0, 0.0, 0.5]).reshape(3, 1, 1, 1)
    targets = torch.tensor([0.4, 0.6, 0.1]).reshape(3, 1, 1, 1)
    assert SWD().compare(images, targets)["swd"] == pytest.approx((0.1 + 0.1 + 0.4) / 3, rel=1e-6)


def test_a_shift_is_the_mean_length_of_its_projections():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(5, 1, 6, 6, generator=generator)
    found = SWD(directions=20_000).compare(images, images + 0.1)["swd"]
    # a random direction u of length 1 in d dimensions: E |u . s| = |s| E |u_1|
    d, length = 36, 0.1 * 6
    want = length * math.exp(math.lgamma(d / 2) - math.lgamma((d + 1) / 2)) / math.sqrt(math.pi)
    assert found == pytest.approx(want, rel=0.02)


def test_sets_of_other_shapes_have_no_distance():
    with pytest.raises(ShapeError, match="equally many images of one size; given 2 and 3 images"):
        SWD().compare(torch.zeros(2, 1, 3, 3), torch.zeros(3, 1, 3, 3))


def images_in(file, count=6, dtype=np.uint8, shape=(8, 8), seed=0, **others):
    array = np.random.default_rng(seed).integers(0, 255, (count, *shape), np.uint8)
    array = (array / 255).astype(dtype) if np.dtype(dtype).kind == "f" else array.astype(dtype)
    np.save(file, array) if file.suffix == ".npy" else np.savez(file, target=array, **others)
    return array


def test_fitting_leaves_a_sheet_of_drawn_images_and_their_distance(tmp_path):
    images_in(tmp_path / "a.npy")
    images_in(tmp_path / "b.npz", count=5, seed=1)
    source = {"name": "arrays", "path": str(tmp_path / "a.npy")}
    trainer = trainer_of(source, {"name": "arrays", "path": str(tmp_path / "b.npz")}, eval_every=2, eval_images=3)
    found = trainer.fit(tmp_path / "run", progress=False)
    assert {"swd", "images", "per_image"} == set(found)
    assert found["images"] == 5
    saved = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert saved["swd"] == found["swd"]
    assert sorted(file.name for file in (tmp_path / "run" / "samples").iterdir())[-1] == "step_00000004.png"
    assert trainer.evaluate()["swd"] == found["swd"]
    assert trainer.evaluate(limit=2)["images"] == 2
    targets = torch.from_numpy(np.load(tmp_path / "b.npz")["target"])[:, None] / 255
    assert SWD().compare(trainer.sample(5), targets)["swd"] == pytest.approx(found["swd"], rel=1e-5)
    loaded = rddm.load(tmp_path / "run", "cpu")
    torch.testing.assert_close(loaded.sample(2), trainer.sample(2), rtol=0, atol=1e-6)


# ---------------------------------------------------------------------------------------------- arrays
def test_a_npy_file_holds_targets_and_is_mapped_not_read(tmp_path):
    array = images_in(tmp_path / "a.npy", shape=(4, 6, 3))
    records = Arrays(path=tmp_path / "a.npy").open()
    assert isinstance(records.arrays["target"], np.memmap)
    assert records.roles == {"target"}
    assert records.sizes() == [(4, 6)] * 6
    assert list(records.names) == [f"{n:06d}" for n in range(6)]
    np.testing.assert_array_equal(records[-1]["target"], array[5])
    np.testing.assert_array_equal(records[1:3][1]["target"], array[2])


def test_a_npz_file_holds_targets_and_inputs(tmp_path):
    inputs = np.random.default_rng(3).random((6, 8, 8), np.float32)
    array = images_in(tmp_path / "a.npz", input=inputs, label=np.arange(6))
    records = Arrays(path=tmp_path / "a.npz", start=2, stop=5).open()
    assert records.roles == {"target", "input"}
    assert list(records.names) == ["000002", "000003", "000004"]
    np.testing.assert_array_equal(records[0]["target"], array[2][..., None])
    np.testing.assert_array_equal(records[2]["input"], inputs[4][..., None])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
def test_numbers_come_as_they_are_and_floats_as_float32(tmp_path, dtype):
    array = images_in(tmp_path / "a.npy", dtype=dtype)
    row = Arrays(path=tmp_path / "a.npy").open()[3]["target"]
    assert row.shape == (8, 8, 1)
    assert row.dtype == (np.float32 if np.dtype(dtype).kind == "f" else dtype)
    np.testing.assert_allclose(row[..., 0], array[3].astype(row.dtype))


@pytest.mark.parametrize(("value", "span"), [(np.nan, "nan"), (1.5, r"1\.5"), (-0.25, r"-0\.25"), (np.inf, "inf")])
def test_floats_that_are_no_image_are_refused_one_by_one_with_their_span(tmp_path, value, span):
    array = np.full((3, 4, 4), 0.5, np.float32)
    array[1, 2, 2] = value
    np.save(tmp_path / "a.npy", array)
    records = Arrays(path=tmp_path / "a.npy").open()
    assert records[0]["target"].shape == (4, 4, 1)
    with pytest.raises(DataError, match=rf"target 000001 spans .*{span}.*; must be in \[0, 1\]"):
        records[1]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"target": np.zeros((4, 4), np.uint8)}, r"must be \(N, H, W\[, C\]\).*given uint8 \(4, 4\)"),
        ({"target": np.zeros((2, 2, 4, 4, 3), np.uint8)}, r"given uint8 \(2, 2, 4, 4, 3\)"),
        ({"target": np.zeros((2, 4, 4), np.int64)}, r"given int64 \(2, 4, 4\)"),
        ({"target": np.zeros((2, 4, 4, 0), np.uint8)}, r"given uint8 \(2, 4, 4, 0\)"),
        ({}, r"holds \[\]; name the array"),
        ({"image": np.zeros((2, 4, 4), np.uint8)}, r"holds \['image'\]; name the array of the clean images 'target'"),
        (
            {"target": np.zeros((2, 4, 4), np.uint8), "input": np.zeros((2, 4, 5), np.uint8)},
            "must have one N and size; given",
        ),
    ],
)
def test_arrays_that_are_no_images_are_refused_with_what_they_are(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=message):
        Arrays(path=tmp_path / "a.npz").open()


@pytest.mark.parametrize("dtype", [">u2", ">f4", "<f8"])
def test_arrays_of_either_byte_order_are_read(tmp_path, dtype):
    values = (np.arange(32).reshape(2, 4, 4) / (1 if "u" in dtype else 32)).astype(dtype)
    np.save(tmp_path / "a.npy", values)
    found = Arrays(path=tmp_path / "a.npy").open()[1]["target"]
    assert found.dtype.isnative
    np.testing.assert_array_equal(found[..., 0], values[1].astype(found.dtype))


@pytest.mark.parametrize(("option", "value"), [("seed", -1), ("batch", 0), ("seed", 1.5)])
def test_seeds_and_batches_are_whole_numbers(trainer, option, value):
    with pytest.raises(SpecError, match=f"{option}: must be an integer, at least . *; given {value}"):
        trainer.sample(1, **{option: value})


def test_missing_and_broken_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"cannot be read as \.npy or \.npz \(looked for .*nothing\.npy"):
        Arrays(path=tmp_path / "nothing.npy").open()
    (tmp_path / "text.npy").write_text("no array")
    with pytest.raises(DataError, match="cannot be read as"):
        Arrays(path=tmp_path / "text.npy").open()
    np.savez(tmp_path / "half.npz", target=np.zeros((2, 4, 4)))
    whole = (tmp_path / "half.npz").read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cannot be read as.*half\.npz"):
        Arrays(path=tmp_path / "half.npz").open()
    (tmp_path / "half.npz").write_bytes(whole.replace(b"(2, 4, 4)", b"(3, 4, 4)"))
    with pytest.raises(DataError, match=r"cannot be read as.*half\.npz"):
        Arrays(path=tmp_path / "half.npz").open()
    np.save(tmp_path / "objects.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="cannot be read as"):
        Arrays(path=tmp_path / "objects.npy").open()


@pytest.mark.parametrize("keys", [{"start": 6}, {"start": 3, "stop": 3}, {"start": 9, "stop": 20}])
def test_a_range_without_examples_is_refused(tmp_path, keys):
    images_in(tmp_path / "a.npy")
    with pytest.raises(DataError, match="leave none of 6 examples"):
        Arrays(path=tmp_path / "a.npy", **keys).open()
