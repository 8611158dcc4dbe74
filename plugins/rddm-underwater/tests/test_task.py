from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rddm_underwater.colour import compensated, lab, wavelets
from rddm_underwater.task import Underwater

import rddm
from rddm.plugin import DataError, Metric, SpecError, Task, resolve

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))
PHOTOS = {"train": {"name": "photos"}, "eval": {"name": "photos"}, "degradation": "underwater"}
TINY = {
    "sampler": {"name": "sm-res", "steps": 1},
    "backbone": {"name": "underwater-wtconv", "width": 8, "enc_blocks": [1], "middle_blocks": 1, "dec_blocks": [1]},
    "training": {"steps": 2, "batch_size": 1, "crop": 32},
}


def uieb(folder: Path, count: int = 2) -> Path:
    rng = np.random.default_rng(0)
    for part in ("raw-890", "reference-890", "challenging-60"):
        (folder / part).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(rng.integers(0, 256, (35, 41, 3), dtype=np.uint8)).save(folder / part / f"{number}.png")
    return folder


def pairs(folder: Path) -> dict[str, object]:
    return {"name": "folder", "path": str(folder), "input": "raw-890", "target": "reference-890"}


def test_the_network_sees_the_input_its_colours_and_their_wavelets() -> None:
    x = torch.rand(2, 3, 33, 21) * 2 - 1
    colours = lab(compensated((x + 1) / 2))
    for sees, want in (
        ("input", [x]),
        ("input+lab", [x, colours]),
        ("input+lab+dwt", [x, colours, wavelets(colours)]),
    ):
        task = Underwater(**PHOTOS, sees=sees)
        assert torch.equal(task.condition(x, {}), torch.cat(want, dim=1))
        assert task.conditions == sum(part.shape[1] for part in want)


def test_examples_are_those_of_paired() -> None:
    table = {**PHOTOS, "augment": "dihedral"}
    record = {"target": np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)}
    found, want = (
        resolve(Task, {"name": name, **table}).example(record, (32, 32), torch.Generator().manual_seed(3))
        for name in ("underwater", "paired")
    )
    assert found.keys() == want.keys()
    assert all(torch.equal(found[role], want[role]) for role in want)


def test_psnr_ssim_uiqm_and_uciqe_are_measured() -> None:
    task = Underwater(**PHOTOS)
    assert [key for metric in task.metrics for key in metric.keys][-2:] == ["uiqm", "uciqe"]
    assert task.metrics[0] == resolve(Metric, {"name": "psnr"})


def test_only_rgb_images_are_taken() -> None:
    with pytest.raises(SpecError, match="channels"):
        Underwater(**PHOTOS, channels=1)


def test_clean_photographs_alone_need_the_water() -> None:
    with pytest.raises(DataError, match=r"task\.degradation"):
        Underwater(train={"name": "photos"}, eval={"name": "photos"}).train_records()


def test_the_layout_of_uieb_is_trained_on_evaluated_and_restored_without_references(tmp_path: Path) -> None:
    folder = uieb(tmp_path / "UIEB")
    trainer = rddm.build({"task": {"name": "underwater", "train": pairs(folder), "eval": pairs(folder)}, **TINY})
    trainer.fit(tmp_path / "run")
    scores = trainer.evaluate()
    assert {"psnr", "ssim", "uiqm", "uciqe", "input_uiqm", "input_uciqe"} <= scores.keys()
    without = ["task.eval.input=challenging-60", "task.eval.target=null"]
    found = rddm.load(tmp_path / "run", overrides=without).evaluate(metrics=["uiqm", "uciqe"])
    assert {"uiqm", "uciqe", "input_uiqm"} <= found.keys()
    assert "psnr" not in found


def test_tiles_see_the_colours_of_the_whole_image(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, whole = [], Underwater.condition

    def condition(task: Underwater, x_in: torch.Tensor, extras: Mapping[str, torch.Tensor]) -> torch.Tensor:
        seen.append(x_in.shape[-2:])
        return whole(task, x_in, extras)

    monkeypatch.setattr(Underwater, "condition", condition)
    trainer = rddm.build({"task": {"name": "underwater", **PHOTOS}, **TINY})
    image = torch.rand(3, 75, 91)
    seen.clear()  # of what is tried when it is built
    assert trainer.restore(image, tile=32).shape == image.shape
    assert set(seen) == {(75, 91)}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_recipes_are_specs(recipe: Path) -> None:
    from rddm.core.spec import read_table

    spec = rddm.Spec(**read_table(recipe))
    assert (spec.task.name, spec.backbone.name) == ("underwater", "underwater-wtconv")
