"""GeoTIFF in and out, and the table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from rddm_pansharpen import cli
from rddm_pansharpen.classical import METHODS
from rddm_pansharpen.fuse import fuse, source_of
from rddm_pansharpen.rasters import SAMPLE
from rddm_pansharpen.table import full
from rddm_pansharpen.wald import upsampled
from typer.testing import CliRunner

import rddm
from rddm import OutputError, SpecError
from rddm.plugin import DataError, Task

Make = Callable[..., Path]
Counts = Callable[..., np.ndarray]


def spec(folder: Path, *, channels: int = 4, **source: Any) -> dict[str, Any]:
    source = {"name": "pansharpen", "path": str(folder), **source}
    task = {"name": "paired", "channels": channels, "train": source, "eval": source, "shown": [{"role": "pan"}]}
    backbone = {"name": "nafnet", "width": 4, "enc_blocks": [1], "dec_blocks": [1], "middle_blocks": 1}
    return {"task": task, "schedule": "power", "sampler": {"name": "sm-res", "steps": 1}, "backbone": backbone}


@pytest.fixture
def trainer(scene: Make) -> Any:
    return rddm.build(spec(scene()))


@pytest.mark.parametrize("recipe", sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml")), ids=lambda p: p.stem)
def test_recipes_train_and_evaluate_on_areas_that_do_not_overlap(recipe: Path) -> None:
    task = rddm.build(recipe)[Task]
    assert task.train.area[1] <= task.eval.area[0]
    assert task.train.model_copy(update={"area": task.eval.area}) == task.eval
    assert task.train_records().roles == task.eval_records().roles == {"target", "input", "pan"}
    assert {metric.ratio for metric in task.metrics if hasattr(metric, "ratio")} == {task.train.ratio}


def files(folder: Path) -> tuple[Path, Path]:
    return folder / "ms" / "a.tif", folder / "pan" / "a.tif"


def test_the_task_shows_pan_and_gives_it_and_the_input_to_metrics(scene: Make) -> None:
    made = spec(scene())
    made["task"]["metrics"] = ["sam", {"name": "q-index", "window": 16}, {"name": "qnr", "ratio": 2}]
    trainer = rddm.build(made)
    assert trainer[Task].conditions == 5
    found = trainer.evaluate()
    assert {"sam", "qnr", "d_lambda", "d_s", "input_sam", "input_q_index"} <= set(found)


def test_full_resolution_is_evaluated_by_metrics_without_reference(scene: Make) -> None:
    made = spec(scene())
    made["task"]["eval"] = made["task"]["eval"] | {"resolution": "full"}
    found = rddm.build(made).evaluate(metrics="qnr")
    assert {"qnr", "input_qnr", "d_lambda", "d_s"} <= set(found)
    assert found["qnr"] == pytest.approx(full(rddm.build(made))["rddm"]["qnr"], rel=1e-6)


def test_a_fused_file_has_the_dtype_of_ms_and_the_place_of_pan(trainer: Any, scene: Make, tmp_path: Path) -> None:
    ms, pan = files(scene())
    with rasterio.open(ms, "r+") as raster:
        raster.descriptions = ("blue", "green", "red", "nir")
    fuse(trainer, ms, pan, tmp_path / "new" / "out.tif")
    with rasterio.open(tmp_path / "new" / "out.tif") as out, rasterio.open(pan) as fine, rasterio.open(ms) as coarse:
        assert (out.crs, out.transform, out.shape) == (fine.crs, fine.transform, (192, 160))
        assert (out.count, out.dtypes, out.descriptions) == (4, coarse.dtypes, ("blue", "green", "red", "nir"))
        assert out.nodata is None
        assert out.read().std() > 0
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["out.tif"]


def test_a_fused_file_is_what_restore_gives_in_tiles_or_whole(trainer: Any, scene: Make, tmp_path: Path) -> None:
    ms, pan = files(scene())
    fuse(trainer, ms, pan, tmp_path / "out.tif", tile=64, overlap=16)
    coarse, fine = (rasterio.open(file).read().astype(float) / 2047 for file in (ms, pan))
    up = np.clip(upsampled(np.moveaxis(coarse, 0, -1), 4), 0, 1)
    image, beside = torch.from_numpy(up).permute(2, 0, 1).float(), torch.from_numpy(fine).float()
    expected = trainer.restore(image, extras={"pan": beside}, tile=64, overlap=16)
    found = rasterio.open(tmp_path / "out.tif").read()
    assert np.array_equal(found, (expected.double().numpy() * 2047).round())


def test_bands_are_taken_as_in_training_and_holes_stay_holes(scene: Make, counts: Counts, write: Make) -> None:
    folder, ms = scene(), counts(1, 48, 40, 4).astype(np.int16)
    ms[5, 7, 0] = -1
    trainer = rddm.build(spec(folder, channels=2, bands=[4, 1]))
    out = folder / "out.tif"
    fuse(trainer, write("holed.tif", ms, 8.0, nodata=-1), folder / "pan" / "a.tif", out)
    with rasterio.open(out) as raster:
        found = raster.read()
        assert (raster.count, raster.nodata, raster.dtypes[0]) == (2, -1, "int16")
    assert (found[:, 20:24, 28:32] == -1).all()
    assert (found == -1).sum() == 2 * 16
    pan = counts(2, 192, 160, 1)
    pan[9, 3] = 0
    fuse(trainer, write("holed.tif", ms, 8.0, nodata=-1), write("b.tif", pan, 2.0, nodata=0), out, overwrite=True)
    with rasterio.open(out) as raster:
        again = raster.read()
    assert (again[:, 9, 3] == -1).all()
    assert (again == -1).sum() == 2 * 17


def test_what_cannot_be_fused_is_refused(trainer: Any, scene: Make, counts: Counts, write: Make) -> None:
    ms, pan = files(scene())
    out = pan.parents[1] / "out.tif"
    with pytest.raises(DataError, match="gives 8 bands, and the model takes 4"):
        fuse(trainer, write("eight.tif", counts(0, 48, 40, 8), 8.0), pan, out)
    with pytest.raises(DataError, match="set zero and peak"):
        fuse(trainer, write("bright.tif", counts(0, 48, 40, 4) * np.uint16(4), 8.0), pan, out)
    with pytest.raises(DataError, match="for ratio=4"):
        fuse(trainer, ms, ms, out)
    for own in (ms, pan):
        with pytest.raises(OutputError, match="one of the images that are fused"):
            fuse(trainer, ms, pan, own, overwrite=True)
    with pytest.raises(OutputError, match="add --overwrite"):
        fuse(trainer, ms, pan, write("there.tif", counts(0, 48, 40, 4), 8.0))
    other = rddm.build({"task": {"name": "paired", "train": "a", "eval": "b", "degradation": "rain"}})
    with pytest.raises(SpecError, match="source of the name pansharpen"):
        source_of(other)
    assert not out.exists()


def test_where_pan_is_simulated_there_is_no_full_resolution() -> None:
    assert full(rddm.build(spec(SAMPLE, pan=[1, 1, 1, 1], peak=5000))) == {}


def test_the_commands_write_files_and_tables_and_tell_errors_in_a_line(
    trainer: Any, scene: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ms, pan = files(scene())
    trainer.save(tmp_path / "run")
    command = ["fuse", str(tmp_path / "run"), "--ms", str(ms), "--pan", str(pan), "--out", str(tmp_path / "out.tif")]
    assert CliRunner().invoke(cli.app, command).exit_code == 0
    assert (tmp_path / "out.tif").is_file()
    written = ["--json", str(tmp_path / "t.json"), "--picture", str(tmp_path / "p.png"), "task.eval.area=[0, 0.7]"]
    shown = CliRunner().invoke(cli.app, ["table", str(tmp_path / "run"), *written])
    assert all(name in shown.output for name in (*METHODS, "rddm", "target"))
    found = json.loads((tmp_path / "t.json").read_text())
    assert list(found["reduced"]) == [*METHODS, "rddm", "target"]
    assert list(found["reduced"]["rddm"]) == ["sam", "ergas", "q_index", "q2n"]  # too small for qnr
    best = {"sam": 0, "ergas": 0, "q_index": 1, "q2n": 1}
    assert found["reduced"]["target"] == pytest.approx(best, abs=1e-4)
    assert list(found["full"]) == [*METHODS, "rddm"]
    assert list(found["full"]["rddm"]) == ["qnr", "d_lambda", "d_s"]
    assert (tmp_path / "p.png").stat().st_size > 1000
    monkeypatch.setattr("sys.argv", ["rddm-pansharpen", *command])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert capsys.readouterr().err.startswith("error: ")
