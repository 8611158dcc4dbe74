"""Images that do not fit together, and unusual ones, on their way through training and restoration."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import rddm
from rddm.core import images
from rddm.core.data import Examples
from rddm.core.errors import DataError, OutputError
from rddm.core.spec import Training
from rddm.core.systems import restore_files as files
from rddm.tasks.paired import Paired


def noise(seed=0, height=12, width=14, channels=3, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (height, width, channels), dtype)


def write(folder, **arrays):
    for name, array in arrays.items():
        role, number, suffix = name.split("_")
        images.write(folder / role / f"{number}.{suffix}", array)
    return str(folder)


def examples(source, channels=3, shown=(), **training):
    task = Paired(train=source, eval=source, channels=channels, shown=shown, augment="none")
    return Examples(task, Training(crop=8, **training))


def model(source, channels=3):
    return rddm.build(
        {
            "task": {"name": "paired", "train": source, "eval": source, "channels": channels},
            "schedule": {"name": "power", "T": 10},
            "sampler": {"name": "sm-res", "steps": 2},
            "backbone": {"name": "nafnet", "width": 4, "enc_blocks": [1], "middle_blocks": 1, "dec_blocks": [1]},
            "training": {"crop": 8, "batch_size": 2, "steps": 2},
        }
    )


def test_images_of_other_channels_fit_where_they_can_and_are_left_out_with_a_reason_where_not(tmp_path):
    source = write(
        tmp_path,
        input_0_png=noise(0, channels=1),
        target_0_png=noise(1, channels=4),
        input_1_tif=noise(2, channels=5),
        target_1_png=noise(3),
    )
    for number in range(4):
        example = examples(source)[number]
        assert example["input"].shape == example["target"].shape == (3, 8, 8)
    told = {problem for number in range(2) for problem in examples(source)[number]["problems"]}
    assert told == {
        "1: an image has 5 channels where 3 are needed; 1 to 4 can become 1 or 3, no others:"
        " give other images, or set channels to 5"
    }


def test_a_mask_of_another_size_is_named_before_training(tmp_path):
    write(tmp_path, input_0_png=noise(0), target_0_png=noise(1), mask_0_png=noise(2, height=11, channels=1))
    source = {"name": "folder", "path": str(tmp_path), "extras": ["mask"]}
    with pytest.raises(DataError, match=r"1 pairs differ in size \(0 \[\(11, 14\), \(12, 14\), \(12, 14\)\]\)"):
        examples(source, shown=[{"role": "mask"}])


def test_pairs_with_nan_empty_files_and_loops_are_left_out_with_their_reasons(tmp_path):
    for number in range(4):
        write(tmp_path, **{f"input_{number}_png": noise(number), f"target_{number}_npy": noise(10 + number)})
    np.save(tmp_path / "target" / "1.npy", np.full((12, 14, 3), np.nan))
    (tmp_path / "input" / "2.png").write_bytes(b"")
    (tmp_path / "input" / "3.png").unlink()
    (tmp_path / "input" / "3.png").symlink_to("3.png")
    (tmp_path / "target" / "again").symlink_to(tmp_path / "target")
    found = [examples(str(tmp_path))[number] for number in range(8)]
    told = {problem for example in found for problem in example["problems"]}
    assert len(told) == 3
    for reason in (
        r"1.npy as an image: NaN, and values",
        "2.png as an image: not an image",
        "3.png as an image: Too many",
    ):
        assert any(reason in one for one in told)
    for example in found:
        assert any(
            torch.equal(example["input"], images.to_tensor(noise(0)[r : r + 8, c : c + 8]))
            for r in range(5)
            for c in range(7)
        )


def test_names_that_differ_by_case_only_are_examples_of_their_own(tmp_path):
    source = write(tmp_path, input_a_png=noise(0), target_a_png=noise(1), input_A_png=noise(2), target_A_png=noise(3))
    if len(list((tmp_path / "input").iterdir())) < 2:
        pytest.skip("this disk ignores case")
    records = Paired(train=source, eval=source).train_records()
    assert list(records.names) == ["A", "a"]
    np.testing.assert_array_equal(records[0]["input"], noise(2))
    assert len(files.plan([tmp_path / "input"], tmp_path / "out")) == 2


def test_results_whose_names_differ_by_case_only_are_refused_where_the_disk_ignores_case(tmp_path, monkeypatch):
    for name in ("a.png", "A.png", "b.png"):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).touch()
    if len(list((tmp_path / "in").iterdir())) < 3:
        pytest.skip("this disk ignores case")
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda self: exists(self) or self.name.startswith("CASE"))
    with pytest.raises(
        OutputError, match=r"A\.png and .*a\.png are one file on this disk, which ignores case; restore"
    ):
        files.plan([tmp_path / "in"], tmp_path / "out")
    assert len(files.plan([tmp_path / "in" / "a.png", tmp_path / "in" / "b.png"], tmp_path / "out")) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


@pytest.mark.parametrize("suffix", ["tif", "npy"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_images_of_eight_channels_are_trained_on_evaluated_restored_and_written(tmp_path, suffix, dtype):
    for number in range(2):
        arrays = (noise(number + place, channels=8, dtype=dtype) for place in (0, 10))
        write(tmp_path / "data", **{f"{role}_{number}_{suffix}": one for role, one in zip(("input", "target"), arrays)})
    trainer = model(str(tmp_path / "data"), channels=8)
    trainer.fit(tmp_path / "run")
    assert trainer.evaluate()["images"] == 2
    jobs = files.plan([tmp_path / "data" / "input"], tmp_path / "out")
    assert files.restore_files(trainer, jobs) == []
    read = images.read(tmp_path / "data" / "input" / f"0.{suffix}")
    back = images.read(tmp_path / "out" / f"0.{suffix}")
    assert (back.shape, back.dtype) == ((12, 14, 8), dtype)
    np.testing.assert_array_equal(back, images.to_array(trainer.restore(images.to_tensor(read)), dtype))


def test_one_pixel_is_restored_and_evaluated(tmp_path):
    source = write(tmp_path / "data", input_0_png=noise(0, 1, 1), target_0_png=noise(1, 1, 1))
    trainer = model(source)
    assert trainer.restore(torch.rand(3, 1, 1)).shape == (3, 1, 1)
    assert trainer.evaluate()["psnr"] > 0
    jobs = files.plan([tmp_path / "data" / "input"], tmp_path / "out")
    assert files.restore_files(trainer, jobs) == []
    assert images.size(tmp_path / "out" / "0.png") == (1, 1)
    with pytest.raises(DataError, match=r"smaller than the crop 8x8: 0 \(1x1\). Remove them, or set training.crop to"):
        examples(source)
