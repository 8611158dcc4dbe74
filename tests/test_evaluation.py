"""Evaluation of runs and of results of any program, from Python and from the command line."""

from __future__ import annotations

import csv
import json
import math
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import rddm
from rddm import DataError, RddmError, ShapeError, SpecError
from rddm.cli import app
from rddm.core import images, registry
from rddm.core.kinds import ImageMetric, Metric, SetMetric, Task, check_metrics
from rddm.core.named import resolve
from rddm.core.pictures import side_by_side
from rddm.core.systems.evaluate import results
from rddm.metrics._features import FILE
from rddm.metrics.lpips import FILES

SMALL = {"name": "nafnet", "width": 8, "enc_blocks": [1], "middle_blocks": 1, "dec_blocks": [1]}


def rows_of(file):
    return list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))


def tensors_of(folder):
    """The images below a folder, in order of their names."""
    return [images.to_tensor(images.read(file)) for file in images.find(folder)]


def colours(side):
    """The mean colour of a set of images."""
    return torch.stack([image.flatten(1).mean(1) for image in side]).mean(0)


def call(*words, code=0):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output + str(result.exception)
    return result


def put(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def folders(tmp_path):
    """Three images, their targets, inputs and masks; the results are PNG, the inputs BMP."""
    rng = np.random.default_rng(0)
    for name in ("a", "b", "deep/c"):
        target = rng.integers(0, 256, (24, 20, 3), dtype=np.uint8)
        for noise, role in ((0, "target"), (10, "output"), (30, "input")):
            noisy = np.clip(target + rng.normal(0, noise, target.shape), 0, 255).astype(np.uint8)
            put(tmp_path / role / f"{name}.{'bmp' if role == 'input' else 'png'}", noisy)
        put(tmp_path / "mask" / f"{name}.png", (np.arange(24 * 20).reshape(24, 20) < 100).astype(np.uint8) * 255)
    return tmp_path


def pairs(root, size=(24, 24), count=4):
    rng = np.random.default_rng(1)
    for n in range(count):
        target = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        put(root / "target" / f"{n}.png", target)
        put(root / "input" / f"{n}.png", (target // 2).astype(np.uint8))
    return root


def spec(root, **task):
    source = str(pairs(root))
    return {
        "task": {"name": "paired", "train": source, "eval": source, **task},
        "sampler": {"name": "sm-res-n", "steps": 1},
        "backbone": SMALL,
        "training": {"steps": 2, "batch_size": 2, "crop": 16},
    }


class Brightness(ImageMetric):
    """The mean of an image, which needs no target."""

    name: Literal["brightness"] = "brightness"
    reference = False

    @property
    def keys(self):
        return ("brightness",)

    def measure(self, output, target, extras):
        assert target is output
        return {"brightness": output.mean().item()}


class Means(SetMetric):
    """The distance of the mean images, of which it keeps the mean colours alone."""

    name: Literal["means"] = "means"
    better = "lower"

    @property
    def keys(self):
        return ("means",)

    def features(self, image):
        return image.flatten(1).mean(1)

    def compare(self, outputs, targets):
        one, other = (torch.stack(list(images)) for images in (outputs, targets))
        assert one.shape[1] == other.shape[1] == 3
        return {"means": (one.mean(0) - other.mean(0)).abs().max().item()}


# --------------------------------------------------------------------------------------------- any program
def test_folders_are_measured_by_name_and_tensors_by_place_alike(folders):
    found = rddm.evaluate(folders / "output", str(folders / "target"), inputs=folders / "input")
    assert list(found["per_image"]) == ["a", "b", "deep/c"]
    files = [tensors_of(folders / role) for role in ("output", "target")]
    tensors = rddm.evaluate(torch.stack(files[0]), files[1])
    assert list(tensors["per_image"]) == ["000000", "000001", "000002"]
    named = rddm.evaluate(dict(zip("xyz", files[0])), dict(zip("zyx", files[1][::-1])))
    for key in ("psnr", "ssim", "psnr_y", "ssim_y"):
        assert found[key] == pytest.approx(np.mean([one[key] for one in found["per_image"].values()]))
        assert found[key] == tensors[key] == named[key]
        assert found["ci"][key][0] < found[key] < found["ci"][key][1]
    assert found["input_psnr"] < found["psnr"]
    assert found["images"] == 3
    assert "missing" not in found
    assert "errors" not in found


def test_what_lacks_a_partner_cannot_be_read_or_differs_in_size_is_named_and_the_others_are_measured(folders):
    want = rddm.evaluate(folders / "output", folders / "target")["per_image"]["deep/c"]
    (folders / "target/a.png").unlink()
    (folders / "output/b.png").write_bytes(b"no image")
    put(folders / "output/odd.png", np.zeros((4, 5, 3), np.uint8))
    put(folders / "target/odd.png", np.zeros((4, 6, 3), np.uint8))
    put(folders / "target/lone.png", np.zeros((4, 6, 3), np.uint8))
    (folders / "mask/deep/c.png").unlink()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        found = rddm.evaluate(folders / "output", folders / "target", masks=folders / "mask")
    assert found["missing"] == {"target": ["a"], "output": ["lone"], "mask": ["deep/c", "odd"]}
    assert set(found["errors"]) == {"b", "odd"}
    assert found["errors"]["odd"] == "sizes differ: output 4x5, target 4x6"
    assert "b.png" in found["errors"]["b"]
    assert {key: value for key, value in found["per_image"]["deep/c"].items() if key in want} == want
    assert list(found["per_image"]) == ["deep/c"]
    said = " ".join(str(one.message) for one in warned)
    assert all(part in said for part in ("no target for a", "no output for lone", "evaluation: odd: sizes differ"))


def test_with_masks_regions_are_measured_by_default(folders):
    found = rddm.evaluate(folders / "output", folders / "target", masks=folders / "mask")
    share = 100 / (24 * 20)
    whole = share * found["lab_mae_s"] + (1 - share) * found["lab_mae_ns"]
    assert found["lab_mae"] == pytest.approx(whole, rel=1e-9)


def test_grey_beside_colour_is_repeated_and_alpha_is_left_out(tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (12, 14), dtype=np.uint8)
    put(tmp_path / "one/a.png", grey)
    put(tmp_path / "two/a.png", np.dstack([grey] * 3))
    put(tmp_path / "three/a.png", np.dstack([grey, np.full_like(grey, 7)]))
    for other in ("two", "three"):
        assert rddm.evaluate(tmp_path / "one", tmp_path / other)["psnr"] == math.inf


def test_sets_need_no_partners_and_metrics_without_reference_no_targets(folders):
    output = folders / "output"
    (output / "a.png").rename(output / "other.png")
    found = rddm.evaluate(output, folders / "target", metrics=Means())
    files = [tensors_of(folders / role) for role in ("output", "target")]
    assert found["means"] == pytest.approx((colours(files[0]) - colours(files[1])).abs().max().item(), rel=1e-5)
    assert (found["images"], found["per_image"]) == (3, {})
    alone = rddm.evaluate(output, metrics=[Brightness()])
    assert set(alone["per_image"]) == {"b", "deep/c", "other"}
    both = rddm.evaluate(files[0], files[1], metrics=["mae", Means(), Brightness()], inputs=files[1])
    assert both["means"] == pytest.approx(found["means"])
    assert (both["input_means"], both["input_mae"]) == (0, 0)
    with pytest.raises(SpecError, match="psnr, ssim, psnr, ssim compare an output with its target"):
        rddm.evaluate(output)
    with pytest.raises(SpecError, match="means compare with targets; give them"):
        rddm.evaluate(output, metrics=Means())


def test_mistakes_are_told(folders):
    image = torch.rand(3, 12, 12)
    with pytest.raises(DataError, match="no output has the name of a target: a, b, deep/c here, x there"):
        rddm.evaluate(folders / "output", {"x": image})
    with pytest.raises(DataError, match="is no folder"):
        rddm.evaluate(folders / "nothing", folders / "target")
    with pytest.raises(ShapeError, match=r"equally many; given \{'output': 2, 'target': 1\}"):
        rddm.evaluate([image, image], [image])
    with pytest.raises(ShapeError, match=r"given \(3, 12, 12\): give \[image\]"):
        rddm.evaluate(image, image)
    for wrong in (image * 255, (image * 255).byte(), image.numpy(), image * math.nan):
        with pytest.raises(ShapeError, match="output 000000 must be a floating point tensor in"):
            rddm.evaluate([wrong], [image])
    with pytest.raises(DataError, match="give at least one"):
        rddm.evaluate([], [])
    with pytest.raises(DataError, match="at least 1"):
        rddm.evaluate([image], [image], limit=0)
    with (
        pytest.warns(UserWarning, match="left out"),
        pytest.raises(DataError, match="none of 1 outputs can be measured; the first is 000000: sizes"),
    ):
        rddm.evaluate([image], [image[:, 1:]])


# ---------------------------------------------------------------------------------------------------- runs
@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run on four pairs."""
    root = tmp_path_factory.mktemp("evaluation")
    rddm.build(spec(root / "pairs")).fit(root / "run", progress=False)
    return root / "run"


def test_a_run_s_scores_are_those_of_the_files_it_restores(run, tmp_path):
    call("restore", run, run.parent / "pairs/input", "--out", tmp_path / "out", "--device", "cpu")
    own = rddm.load(run, "cpu").evaluate()
    files = rddm.evaluate(tmp_path / "out", run.parent / "pairs/target", inputs=run.parent / "pairs/input")
    assert own.keys() == files.keys()
    for key in ("psnr", "ssim", "psnr_y", "ssim_y", "input_psnr", "images"):
        assert own[key] == pytest.approx(files[key], rel=1e-3)
    assert own["per_image"].keys() == files["per_image"].keys()


def test_metrics_may_be_others_than_the_task_s_and_sets_are_compared_beside_images(run):
    trainer = rddm.load(run, "cpu")
    found = trainer.evaluate(metrics=["mae", {"name": "ssim", "space": "y"}, Means(), "swd", Brightness()])
    measured = [key for key, value in found.items() if isinstance(value, float) and not key.startswith("input_")]
    assert measured == ["mae", "ssim_y", "brightness", "means", "swd"]
    outputs, targets, inputs = (
        colours([getattr(result, role) for result in results(trainer)]) for role in ("output", "target", "input")
    )
    assert found["means"] == pytest.approx((outputs - targets).abs().max().item(), rel=1e-5)
    assert found["input_means"] == pytest.approx((inputs - targets).abs().max().item(), rel=1e-5)
    assert set(found["ci"]) == {f"{side}{key}" for side in ("", "input_") for key in ("mae", "ssim_y", "brightness")}


def test_drawn_images_are_measured_by_metrics_that_need_no_target(tmp_path):
    source = str(pairs(tmp_path, count=3))
    task = {"name": "generation", "train": source, "eval": source}
    trainer = rddm.build(
        {"task": task, "backbone": SMALL, "training": {"crop": 16}, "sampler": {"steps": 1, "name": "sm-n"}}
    )
    found = trainer.evaluate(metrics=["swd", Brightness()])
    drawn = trainer.sample(3)
    assert found["brightness"] == pytest.approx(drawn.mean().item(), rel=1e-5)
    assert list(found["per_image"]) == ["000000", "000001", "000002"]
    assert found["swd"] == trainer.evaluate()["swd"]
    with pytest.raises(SpecError, match="take metrics of sets"):
        trainer.evaluate(metrics="psnr")


def test_inputs_without_targets_are_measured_by_metrics_without_reference(run, tmp_path):
    trainer = rddm.load(run, "cpu", overrides=["task.eval.target=null"])
    assert trainer.evaluate(metrics=Brightness()) == rddm.load(run, "cpu").evaluate(metrics=Brightness())
    shown = list(trainer.results(measured=[Brightness()]))
    assert [result.target for result in shown] == [None] * 4
    widths = []
    for name, some in (("two", shown), ("three", list(rddm.load(run, "cpu").results()))):
        side_by_side(some, tmp_path / f"{name}.png")
        widths.append(images.size(tmp_path / f"{name}.png")[1] + 6)
    assert widths[1] == 3 * widths[0] // 2
    lost = "psnr, ssim compare with targets, and the evaluation images have none"
    with pytest.raises(SpecError, match=lost):
        trainer.evaluate()
    with pytest.raises(SpecError, match="swd compare with targets"):
        trainer.evaluate(metrics=["swd", Brightness()])
    with pytest.raises(DataError, match="give pairs"):
        trainer.path_dependence()
    said = call(
        "eval",
        run,
        f"task.eval.path={run.parent / 'pairs/input'}",
        "task.eval.input=.",
        "task.eval.target=null",
        code=2,
    )
    assert lost in said.stderr
    call("report", run, "--set", "task.eval.target=null", "--out", tmp_path / "page", "--device", "cpu")


def test_a_fit_that_could_not_be_measured_for_want_of_targets_is_refused_before_it_begins(tmp_path):
    table = spec(tmp_path / "pairs")
    table["task"]["eval"] = {"name": "folder", "path": table["task"]["eval"], "target": None}
    with pytest.raises(SpecError, match="compare with targets"):
        rddm.build(table).fit(tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()
    with pytest.raises(DataError, match=r"task.train .* gives \['input'\]; source 'folder' must give 'target'"):
        rddm.build(
            table | {"task": {"name": "paired", "train": table["task"]["eval"], "eval": str(tmp_path / "pairs")}}
        ).fit(tmp_path / "run")


def test_fitting_keeps_the_best_by_the_first_metric_even_if_it_is_of_sets_or_better_when_lower(tmp_path):
    table = spec(tmp_path / "pairs", metrics=["swd", "mae"])
    table["training"] |= {"steps": 3, "eval_every": 1, "eval_images": 2}
    found = rddm.build(table).fit(tmp_path / "run", progress=False)
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "eval_swd" in line] == [1, 2, 3]
    assert {"eval_mae", "eval_input_mae", "eval_input_swd"} <= lines[-1].keys()
    best = rddm.load(tmp_path / "run/checkpoints/best", "cpu").evaluate(limit=2)["swd"]
    first = [line["eval_swd"] for line in lines if "eval_swd" in line][:2]
    assert best == pytest.approx(min([*first, rddm.load(tmp_path / "run", "cpu").evaluate(limit=2)["swd"]]), rel=1e-4)
    saved = json.loads((tmp_path / "run/evaluation.json").read_text())
    assert saved["ci"]["mae"] == pytest.approx(found["ci"]["mae"])


def test_a_metric_that_lacks_its_weights_stops_a_fit_before_it_begins(tmp_path):
    table = spec(tmp_path / "pairs", metrics=["psnr", {"name": "lpips", "file": "nowhere.pth"}])
    with pytest.raises(RddmError, match=r"nowhere\.pth is not there|needs torchmetrics"):
        rddm.build(table).fit(tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("own", "other"), [("sm-res-n", "sm-n"), ("sm-res", "sm-n")])
def test_a_sampler_with_other_heads_is_no_override_and_the_message_says_how_to_sample_with_it(own, other, tmp_path):
    table = spec(tmp_path / "pairs")
    rddm.build(table | {"sampler": own}).save(tmp_path / "model")
    with pytest.raises(SpecError, match=f"leave sampler={other} out and sample with it by --sampler {other}") as raised:
        rddm.load(tmp_path / "model", overrides=[f"sampler={other}"])
    assert "state_dict" not in str(raised.value)
    assert rddm.load(tmp_path / "model", overrides=["sampler.steps=3"])


# -------------------------------------------------------------------------------------------- command line
def test_eval_of_results_prints_and_writes_means_intervals_and_images(folders):
    files = [folders / f"scores.{suffix}" for suffix in ("json", "csv", "md")]
    words = ["eval", folders / "output", "--targets", folders / "target", "--inputs", folders / "input"]
    written = [word for pair in zip(("--json", "--csv", "--markdown"), files) for word in pair]
    said = call(*words, *written).stdout
    found = rddm.evaluate(folders / "output", folders / "target", inputs=folders / "input")
    for text in ("psnr in", "psnr out", "deep/c", "mean of 3", "95 % from", f"{found['ci']['psnr'][0]:.2f}"):
        assert text in said
    saved = json.loads(files[0].read_text())
    assert saved["psnr"] == found["psnr"]
    assert tuple(saved["ci"]["psnr"]) == found["ci"]["psnr"]
    rows = {row["image"]: row for row in rows_of(files[1])}
    assert list(rows) == ["a", "b", "deep/c", "mean", "95 % from", "95 % to"]
    assert float(rows["b"]["input_ssim_y"]) == found["per_image"]["b"]["input_ssim_y"]
    assert [float(rows[row]["psnr"]) for row in list(rows)[3:]] == [found["psnr"], *found["ci"]["psnr"]]
    low, high = found["ci"]["psnr"]
    row = f"| psnr | {found['input_psnr']:.2f} | {found['psnr']:.2f} | {low:.2f} .. {high:.2f} | 3 |"
    assert row in files[2].read_text().splitlines()
    assert "not replaced" in call(*words, *written, code=2).stderr
    call(*words, *written, "--overwrite", "--limit", 1)


def test_eval_of_results_ends_with_1_if_an_image_cannot_be_measured_and_notes_what_has_no_value(folders):
    put(folders / "output/a.png", np.zeros((9, 9, 3), np.uint8))
    words = ["eval", folders / "output", "--targets", folders / "target"]
    with pytest.warns(UserWarning, match="a: sizes differ"):
        assert "mean of 2" in call(*words, code=1).stdout
    put(folders / "target/a.png", np.zeros((9, 9, 3), np.uint8))
    said = call(*words, "--metric", "ssim", "--metric", "{name: mae, space: y}").stdout
    assert "ssim has no value for 1 of 3 images" in said
    assert "mae_y" in said
    assert "psnr" not in said


def test_eval_of_a_run_takes_other_data_and_metrics(run, tmp_path):
    pairs(tmp_path / "more", count=2)
    said = call("eval", run, "--data", tmp_path / "more", "--metric", "mae", "--device", "cpu").stdout
    assert "mean of 2" in said
    assert "mae in" in said
    words = ["eval", run, "--data", tmp_path / "more", "task.eval.target=input", "--metric", "mae"]
    assert "0.00" in call(*words, "--device", "cpu").stdout  # what the user assigns comes last


def test_pairs_as_other_data_take_the_place_of_a_degradation(tmp_path):
    table = spec(tmp_path / "pairs", degradation="noise")
    table["task"] |= {"train": {"name": "photos"}, "eval": {"name": "photos"}}
    rddm.build(table).save(tmp_path / "model")
    said = call("eval", tmp_path / "model", "--data", tmp_path / "pairs", "--device", "cpu").stdout
    assert "mean of 4" in said
    clean = tmp_path / "pairs/target"
    assert "mean of 1" in call("eval", tmp_path / "model", "--data", clean, "--limit", 1, "--device", "cpu").stdout


def test_other_data_of_a_translation_are_its_two_domains(tmp_path):
    folder = pairs(tmp_path / "pairs", count=2)
    sides = {"source": str(folder / "input"), "target": str(folder / "target")}
    table = {"task": {"name": "translation", "train": sides, "eval": sides}, "backbone": SMALL}
    table |= {"sampler": {"name": "sm-res-n", "steps": 1}, "training": {"crop": 16}}
    rddm.build(table).save(tmp_path / "model")
    (folder / "input").rename(folder / "source")
    assert "over 2 images" in call("eval", tmp_path / "model", "--data", folder, "--device", "cpu").stdout
    assert "source/ and target/" in call("eval", tmp_path / "model", "--data", tmp_path, code=2).stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["eval", "OUT"], "--targets: OUT is no run; give the folder"),
        (["eval", "none"], "none is no run"),
        (["eval", "none", "--targets", "OUT"], "none is no folder"),
        (["eval", "RUN", "--targets", "OUT"], "--targets: is of folders of results, and RUN is a run"),
        (["eval", "OUT", "--targets", "OUT", "--steps", "2"], "--steps: is of runs, and OUT holds results"),
        (["eval", "OUT", "sampler.steps=2", "--targets", "OUT"], "KEY=VALUE: is of runs"),
        (["eval", "RUN", "--metric", "nope"], "unknown metric 'nope'"),
        (["eval", "RUN", "sampler=sm-n"], "sample with it by --sampler sm-n"),
        (["eval", "OUT", "--targets", "OUT", "--csv", "a.txt"], "written to a .csv file"),
        (["bench-methods", "RUN", "--steps", "1,x"], "must be such as 5 or 1,2,5,10"),
        (["bench-methods", "RUN", "RUN"], "two methods have one name"),
    ],
)
def test_mistakes_on_the_command_line_are_one_message(words, message, run, folders):
    names = {"RUN": str(run), "OUT": str(folders / "output")}
    said = call(*(names.get(word, word) for word in words), code=2).stderr
    for name, path in names.items():
        message = message.replace(name, path)
    assert message in said


def test_bench_methods_sets_quality_beside_cost_for_runs_and_cost_alone_for_specs(run, tmp_path):
    (tmp_path / "plain.yaml").write_text(rddm.load(run, "cpu")[rddm.Spec].to_yaml())
    files = {suffix: tmp_path / f"table.{suffix}" for suffix in ("json", "csv", "md")}
    words = ["bench-methods", f"mine={run}", tmp_path / "plain.yaml", "--steps", "1,2", "--size", 32, "--device", "cpu"]
    words += ["--limit", 2, "--json", files["json"], "--csv", files["csv"], "--markdown", files["md"]]
    said = call(*words, "--set", "sampler.eta=0").stdout
    assert "no quality of plain: fit them" in said
    assert "cost of one image of 32x32 on cpu" in said
    rows = json.loads(files["json"].read_text())["methods"]
    assert [(row["method"], row["steps"]) for row in rows] == [("mine", 1), ("mine", 2), ("plain", 1), ("plain", 2)]
    trainer = rddm.load(run, "cpu", overrides=["sampler.eta=0"])
    assert rows[1]["quality"]["psnr"] == pytest.approx(trainer.evaluate(limit=2, steps=2)["psnr"], rel=1e-5)
    assert set(rows[1]["quality"]) == {"psnr", "ssim", "psnr_y", "ssim_y"}
    assert rows[2]["quality"] == {}
    cost = trainer.profile((32, 32), runs=1)
    assert [row["macs"] for row in rows] == [cost.macs, 2 * cost.macs] * 2
    assert {row["parameters"] for row in rows} == {cost.parameters}
    table = rows_of(files["csv"])
    assert float(table[0]["psnr"]) == rows[0]["quality"]["psnr"]
    assert table[2]["psnr"] == ""
    lines = files["md"].read_text().splitlines()
    assert lines[0].startswith("| method | sampler | nets | backbone | steps | psnr |")
    assert lines[4].startswith("| plain | sm-res-n | 2 | nafnet | 1 | - |")
    call("bench-methods", tmp_path / "plain.yaml", "--size", 32, "--device", "cpu", "--csv", tmp_path / "own.csv")
    assert [row["steps"] for row in rows_of(tmp_path / "own.csv")] == ["1"]


def test_the_documentation_names_every_metric_every_figure_and_every_file_of_weights():
    text = (Path(__file__).parent.parent / "docs/evaluation.md").read_text(encoding="utf-8")
    for entry in registry.entries("metric"):
        if entry.distribution == "residual-diffusion":
            assert f"| `{entry.name}` |" in text
            assert all(f"`{key}`" in text for key in resolve(Metric, entry.name).keys)
    for file in (*FILES.values(), FILE):
        assert f"{file}`" in text


@pytest.mark.parametrize(
    "given", [0.5, {"other": 1.0}, [("brightness", 1.0)], {"brightness": "a"}, {"brightness": torch.ones(2)}]
)
def test_a_metric_that_gives_no_figures_stops_a_fit_before_it_begins_and_says_where_it_is(given, tmp_path):
    class Odd(Brightness):
        def measure(self, output, target, extras):
            return given

    table = spec(tmp_path / "pairs")
    trainer = rddm.build(table)
    trainer = trainer.replace(trainer[Task].model_copy(update={"metrics": (Odd(),)}))
    with pytest.raises(SpecError, match=r"'brightness' must give a dict of numbers.*gave .*test_evaluation.py:\d+"):
        trainer.fit(tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_a_metric_that_says_better_as_nobody_else_is_refused():
    class Odd(Brightness):
        better = "Higher"

    with pytest.raises(SpecError, match=r"must declare better = .*; it is 'Higher', in .*test_evaluation.py"):
        check_metrics([Odd()], targets=True)


def test_a_validation_that_fails_leaves_what_was_trained(tmp_path):
    calls = []

    class Late(Brightness):
        def measure(self, output, target, extras):
            calls.append(1)
            if len(calls) > 1:
                raise ZeroDivisionError("late")
            return {"brightness": 0.5}

    trainer = rddm.build(spec(tmp_path / "pairs"))
    trainer = trainer.replace(trainer[Task].model_copy(update={"metrics": (Late(),)}))
    with pytest.raises(ZeroDivisionError):
        trainer.fit(tmp_path / "run", progress=False)
    assert (tmp_path / "run/checkpoints/step_00000002").is_dir()
    assert (tmp_path / "run/model.safetensors").is_file()
