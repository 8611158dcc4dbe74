"""Histogram-equalised inputs: the same in training, evaluation and restoration."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.exposure import equalize_hist

import rddm
from rddm.core import images
from rddm.core.kinds import Task
from rddm.core.network import Network
from rddm.core.systems.evaluate import results
from rddm.core.systems.restore_files import plan, restore_files
from rddm.tasks._histogram import equalised, equalised_batch
from rddm.tasks.paired import Paired


def noise(seed=0, height=12, width=14, channels=3, top=255, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, top, (height, width, channels), dtype, endpoint=True)


def batch(array):
    return images.to_tensor(array)[None]


@given(st.integers(0, 999), st.sampled_from([np.uint8, np.uint16]), st.integers(1, 4), st.integers(0, 300))
def test_equalising_gives_what_scikit_image_gives_channel_by_channel(seed, dtype, channels, top):
    array = noise(seed, channels=channels, top=min(top, np.iinfo(dtype).max), dtype=dtype)
    expected = np.stack([equalize_hist(array[..., c]) for c in range(channels)], 2).astype(np.float32)
    np.testing.assert_array_equal(equalised(array), expected)
    np.testing.assert_array_equal(equalised_batch(batch(array)), batch(expected))


@given(st.integers(0, 999), st.integers(1, 400))
def test_equalising_twice_is_equalising_once_bit_for_bit(seed, top):
    once = equalised_batch(batch(noise(seed, top=top, dtype=np.uint16)))
    assert torch.equal(equalised_batch(once), once)
    assert once.max() == 1
    assert once.min() > 0


def test_values_become_the_share_of_pixels_that_are_not_above_them():
    array = np.array([[3, 3, 7, 9]], np.uint8)[..., None]
    assert equalised(array).ravel().tolist() == [0.5, 0.5, 0.75, 1.0]
    assert equalised(np.zeros((2, 2, 1), np.uint8)).ravel().tolist() == [1.0] * 4
    signal = torch.tensor([[[0.1, 0.4, 0.2, 0.2]]])
    assert equalised_batch(signal).tolist() == [[[0.25, 1.0, 0.75, 0.75]]]


def test_each_image_of_a_batch_is_equalised_by_itself_and_keeps_its_type():
    two = torch.cat([batch(noise(0)), batch(noise(1, top=20))])
    together = equalised_batch(two)
    assert torch.equal(together, torch.cat([equalised_batch(one[None]) for one in two]))
    assert equalised_batch(two.to(torch.bfloat16)).dtype == torch.bfloat16


@pytest.fixture(scope="module")
def dark(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dark")
    for seed in range(3):
        images.write(folder / "target" / f"{seed}.png", noise(seed))
        images.write(folder / "input" / f"{seed}.png", noise(seed, top=40))
    return folder


def test_crops_are_cut_from_the_whole_image_equalised(dark):
    task = Paired(train=str(dark), eval=str(dark), equalise=True, augment="none")
    record = task.train_records()[1]
    whole = task.example(record, None, torch.Generator())
    assert torch.equal(whole["input"], equalised_batch(batch(record["input"]))[0])
    assert torch.equal(whole["target"], images.to_tensor(record["target"]))
    crop = task.example(record, (5, 6), torch.Generator().manual_seed(1))
    row, column = next(
        (r, c)
        for r in range(8)
        for c in range(9)
        if torch.equal(whole["target"][:, r : r + 5, c : c + 6], crop["target"])
    )
    assert torch.equal(crop["input"], whole["input"][:, row : row + 5, column : column + 6])


def test_grey_images_of_a_colour_model_are_equalised_as_the_model_sees_them(dark, tmp_path):
    rgb = noise(5, top=60)
    task = Paired(train="a", eval="b", equalise=True, channels=1)
    example = task.example({"target": rgb, "input": rgb}, None, torch.Generator())
    assert torch.equal(example["input"], task.prepare(images.for_model(rgb, 1)[0][None])[0])


def test_with_a_degradation_the_crop_is_equalised_after_it():
    task = Paired(train="a", eval="b", equalise=True, degradation="low-light")
    plain = task.model_copy(update={"equalise": False})
    record = {"target": noise(0)}
    for crop in (None, (8, 8)):
        one, other = (each.example(record, crop, torch.Generator().manual_seed(3)) for each in (task, plain))
        assert torch.equal(one["input"], equalised_batch(other["input"][None])[0])
        assert torch.equal(one["target"], other["target"])


def test_restoring_equalises_the_image_as_evaluation_and_training_do(dark, tmp_path):
    trainer = rddm.build(
        {
            "task": {"name": "paired", "train": str(dark), "eval": str(dark), "equalise": True},
            "schedule": {"name": "power", "T": 10},
            "sampler": {"name": "sm-res", "steps": 2},
            "backbone": {"name": "nafnet", "width": 4, "enc_blocks": [1], "middle_blocks": 1, "dec_blocks": [1]},
            "training": {"crop": 8, "batch_size": 2, "steps": 1},
        }
    )
    with torch.no_grad():
        for parameter in trainer[Network].parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
    image = batch(noise(1, top=40))
    restored = trainer.restore(image)
    assert torch.equal(restored, trainer.restore(trainer[Task].prepare(image)))
    plain = trainer.replace(trainer[Task].model_copy(update={"equalise": False}))
    assert torch.equal(restored, plain.restore(equalised_batch(image)))
    assert not torch.allclose(restored, plain.restore(image), atol=1e-3)
    found = {result.name: result for result in results(trainer)}
    assert torch.equal(found["1"].output, restored[0])
    assert torch.equal(found["1"].input, equalised_batch(image)[0])
    jobs = plan([dark / "input"], tmp_path / "out")
    assert restore_files(trainer, jobs) == []
    np.testing.assert_array_equal(images.read(tmp_path / "out" / "1.png"), images.to_array(restored[0]))
