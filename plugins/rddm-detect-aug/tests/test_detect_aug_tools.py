"""Tables, drawn images and commands, with models that are hardly trained."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from rddm_detect_aug.augment import drawn, read, write
from rddm_detect_aug.cli import app
from rddm_detect_aug.filters import GRID
from rddm_detect_aug.scarce import shifted
from rddm_detect_aug.table import table
from typer.testing import CliRunner

import rddm
from rddm import OutputError, RddmError, SpecError
from rddm.plugin import DataError, Source, Task, images, resolve

RECIPES = Path(__file__).parents[1] / "recipes"
SMALL = {"name": "nafnet", "width": 4, "patch": 1, "enc_blocks": [1], "middle_blocks": 1, "dec_blocks": [1]}
SHORT = {"steps": 2, "batch_size": 2}


def small(recipe, **task):
    """A recipe with a small network and two steps."""
    spec = rddm.build(RECIPES / f"{recipe}.yaml")[rddm.Spec].model_dump(mode="json")
    spec["task"] |= task
    spec["training"] |= SHORT
    return spec | {"backbone": SMALL}


def written(path, spec):
    path.write_text(json.dumps(spec))
    return path


def ran(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A detector, and runs of both recipes with it."""
    out = tmp_path_factory.mktemp("runs")
    ran("train-detector", RECIPES / "restore.yaml", "--out", out / "detector.npz")
    detection = {"name": "detection", "file": str(out / "detector.npz")}
    rddm.build(small("restore", metrics=["psnr", detection])).fit(out / "restore", progress=False)
    rddm.build(small("generate", metrics=["swd", detection])).fit(out / "generate", progress=False)
    return out


@pytest.fixture
def quick(monkeypatch):
    """Filters and detectors of the tables, tuned on little."""
    monkeypatch.setattr("rddm_detect_aug.table.SEEN", 1)
    monkeypatch.setattr("rddm_detect_aug.scarce.DRAWS", 1)
    few = {name: (one, {key: values[2:4] for key, values in grid.items()}) for name, (one, grid) in GRID.items()}
    monkeypatch.setattr("rddm_detect_aug.table.GRID", few)


@pytest.fixture
def pieces(tmp_path):
    """A model of inpainting, untrained, and a folder of clean images to put something into."""
    for n in range(3):
        (tmp_path / "clean").mkdir(exist_ok=True)
        files = np.random.default_rng(n).integers(0, 256, (25, 30, 1), dtype=np.uint8)
        images.write(tmp_path / "clean" / f"{n}.png", files)
    faces = {"name": "lfw-subset"}
    task = {"name": "inpainting", "channels": 1, "train": faces, "eval": faces, "mask": "box"}
    trainer = rddm.build({"task": task, "backbone": SMALL, "sampler": {"name": "sm-res", "steps": 1}})
    return trainer, resolve(Source, str(tmp_path / "clean"))


# ---------------------------------------------------------------------------------------------- restoration
def test_evaluation_tells_detection_beside_psnr(folder):
    scores = rddm.load(folder / "restore").evaluate()
    assert {"psnr", "detection", "detection_score", "input_detection"} <= set(scores)
    each = [one["detection"] for one in scores["per_image"].values()]
    assert set(each) <= {0.0, 1.0}
    assert scores["detection"] == pytest.approx(np.mean(each))
    assert 0.5 < scores["input_detection"] < 0.95


def test_evaluation_of_drawn_images_tells_how_many_look_like_faces(folder):
    scores = rddm.load(folder / "generate").evaluate(limit=3)
    assert 0 <= scores["detection_score"] <= 1
    assert "detection" not in scores


@pytest.mark.usefixtures("quick")
def test_the_table_has_every_way_on_the_same_images(folder):
    trainer = rddm.load(folder / "restore")
    rows, tuned = table(trainer, draws=1)
    found = {row.method: row for row in rows}
    assert list(found) == [
        *("clean images", "spoilt images", "brightened", "total variation", "non-local means", "rddm"),
        *(f"trained on {way}" for way in ("spoilt", "total variation", "non-local means", "rddm")),
    ]
    assert set(tuned) == {way + name for name in GRID for way in ("", "trained on ")}
    assert found["clean images"].auc.value > 0.99 > found["spoilt images"].auc.value
    assert np.isnan(found["clean images"].psnr)
    assert found["trained on spoilt"].psnr == found["spoilt images"].psnr
    assert found["rddm"].below is None
    gain = found["rddm"].auc.value - found["spoilt images"].auc.value
    assert found["spoilt images"].below.value == pytest.approx(gain)
    assert found["trained on rddm"].below is None
    gain = found["trained on rddm"].auc.value - found["trained on spoilt"].auc.value
    assert found["trained on spoilt"].below.value == pytest.approx(gain)


# ----------------------------------------------------------------------------------------------------- drawn
def test_drawn_images_follow_from_seed_and_number_alone(folder):
    trainer = rddm.load(folder / "generate")
    three, two, other = (list(drawn(trainer, count, seed=seed)) for count, seed in ((3, 5), (2, 5), (2, 6)))
    for one, same, different in zip(three, two, other, strict=False):
        torch.testing.assert_close(one.image, same.image)
        assert (one.image - different.image).abs().max() > 0.01
        assert (one.x, one.y, one.width, one.height) == (0, 0, 25, 25)


def test_inpainting_changes_the_box_it_tells_of_and_nothing_else(pieces):
    trainer, clean = pieces
    found = list(drawn(trainer, 5, seed=1, into=clean))
    again = list(drawn(trainer, 5, seed=1, into=clean))
    records = clean.open()
    for n, one in enumerate(found):
        assert torch.equal(one.image, again[n].image)
        changed = (one.image - images.to_tensor(records[n % 3]["target"]))[0] != 0
        inside = changed[one.y : one.y + one.height, one.x : one.x + one.width]
        assert changed.sum() == inside.sum() > 0.8 * inside.numel()
    assert len({(one.x, one.y, one.width) for one in found}) > 1


def test_what_is_written_is_read_with_its_labels(tmp_path, pieces):
    trainer, clean = pieces
    found = list(drawn(trainer, 4, into=clean))
    assert write(iter(found), tmp_path / "out", "scratch") == 4
    with (tmp_path / "out" / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [f"{n:06d}.png" for n in range(4)]
    assert [int(row["width"]) for row in rows] == [one.width for one in found]
    pictures, labels = read(tmp_path / "out", 1)
    assert labels == ["scratch"] * 4
    for picture, one in zip(pictures, found, strict=True):
        torch.testing.assert_close(picture, one.image, atol=0.5 / 255 + 1e-6, rtol=0)
    table = {"name": "list", "path": str(tmp_path / "out" / "labels.csv"), "columns": {"target": "file"}}
    assert len(resolve(Source, table).open()) == 4


def test_models_draw_what_they_can(folder, pieces, tmp_path):
    trainer, clean = pieces
    with pytest.raises(DataError, match="needs images to fill holes in; give --into FOLDER"):
        drawn(trainer, 1)
    with pytest.raises(DataError, match="a model of generation draws whole images; leave --into out"):
        drawn(rddm.load(folder / "generate"), 1, into=clean)
    with pytest.raises(SpecError, match="'labelled' restores; take a model of the task generation or inpainting"):
        drawn(rddm.load(folder / "restore"), 1)
    with pytest.raises(OutputError, match="is there already; choose another folder for --out"):
        write(iter(()), folder, "face")
    with pytest.raises(DataError, match="a table with the columns file and label"):
        read(tmp_path, 1)


def test_shifted_copies_are_the_image_moved_and_mirrored():
    image = torch.rand(1, 1, 9, 9, generator=torch.Generator().manual_seed(0))
    copies = shifted(image, 200, 0)
    assert copies.shape == (200, 1, 9, 9)
    middle = image[0, 0, 2:7, 2:7]
    places = {(y, x) for y in range(5) for x in range(5)}
    seen = set()
    for copy in copies[:, 0]:
        for other in (copy, copy.flip(-1)):
            seen |= {(y, x) for y, x in places if torch.equal(other[y : y + 5, x : x + 5], middle)}
    assert seen == places
    assert torch.equal(shifted(image, 200, 0), copies)
    assert not torch.equal(shifted(image, 200, 1), copies)


# ------------------------------------------------------------------------------------------------- commands
@pytest.mark.usefixtures("quick")
def test_the_commands_train_detectors_with_drawn_images_and_make_a_table(folder, tmp_path):
    out = ran("augment", folder / "generate", "--count", 4, "--label", "face", "--out", tmp_path / "drawn", "--seed", 3)
    assert "4 images and labels.csv" in out
    arguments = ("--out", tmp_path / "d.npz", "--spoilt", 1, "--add", tmp_path / "drawn")
    said = ran("train-detector", folder / "restore", *arguments)
    assert "detector of 'face' from 104 images, 54 of them positive" in said
    numbers = tmp_path / "table.json"
    ran("table", folder / "restore", "--draws", 1, "--json", numbers)
    found = json.loads(numbers.read_text())
    assert found["draws"] == 1
    assert found["rows"][0]["method"] == "clean images"


@pytest.mark.usefixtures("quick")
def test_few_positives_are_those_the_model_was_trained_on(folder, tmp_path):
    recipe = written(tmp_path / "few.json", small("generate", metrics=["swd"]))
    numbers, models = tmp_path / "few.json.out", tmp_path / "models"
    arguments = ("--real", 3, "--seeds", 2, "--added", 4, "--draws", 1, "--out", models, "--json", numbers)
    ran("scarce", recipe, RECIPES / "restore.yaml", *arguments)
    found = json.loads(numbers.read_text())["outcomes"]
    assert [(one["real"], one["seed"]) for one in found] == [(3, 0), (3, 1)]
    assert set(found[0]["areas"]) == {"real", "real + copies", "real + shifted", "real + drawn"}
    assert all(0.5 < area < 1 for one in found for area in one["areas"].values())
    for one in ("3-0", "3-1"):
        source = rddm.load(models / one / "run")[Task].train
        assert Path(source.path) == models / one / "real"
        assert len(source.open()) == 3
    ran("scarce", recipe, RECIPES / "restore.yaml", *arguments)
    assert json.loads(numbers.read_text())["outcomes"] == found


def test_an_error_of_a_user_is_told(folder, tmp_path):
    arguments = ("--count", "1", "--label", "x", "--out", tmp_path / "x", "--into", tmp_path)
    with pytest.raises(RddmError, match="--into"):
        ran("augment", folder / "generate", *arguments)


# -------------------------------------------------------------------------------------------------- recipes
@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_recipes_are_evaluated_on_what_training_never_sees(recipe):
    task = rddm.build(recipe)[Task]
    assert not set(task.train_records().names) & set(task.eval_records().names)
    assert "minutes" in recipe.read_text().partition("task:")[0]
