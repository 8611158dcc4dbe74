"""Tasks beside pairs and generation: holes, domains without pairs, and images that are shown beside the input."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import component
from torch import nn

import rddm
from rddm import DataError, ShapeError, SpecError
from rddm.core import images, registry
from rddm.core.data import Examples, batches, seeded
from rddm.core.kinds import Backbone, Mask, Source, Task
from rddm.core.network import Network
from rddm.core.spec import Training
from rddm.core.systems.dependence import path_dependence
from rddm.core.systems.evaluate import results, sets
from rddm.core.systems.train import losses
from rddm.core.systems.trajectory import trajectory
from rddm.masks.centre import Centre
from rddm.masks.files import Files
from rddm.masks.half import Half
from rddm.masks.outpaint import Outpaint
from rddm.tasks.inpainting import Inpainting
from rddm.tasks.paired import Paired
from rddm.tasks.translation import Translation

SMALL = {"name": "nafnet", "width": 4, "enc_blocks": [1], "middle_blocks": 1, "dec_blocks": [1]}
MASKS = [name for name in registry.names("mask") if name != "files"]


class Spy(nn.Module):
    """Keeps what it is given, and answers with a constant that can be trained."""

    def __init__(self, in_chans: int, out_chans: int) -> None:
        super().__init__()
        self.in_chans, self.value = in_chans, nn.Parameter(torch.full((out_chans,), 0.3))
        self.seen: list[torch.Tensor] = []

    def forward(self, x, time):
        assert x.shape[1] == self.in_chans
        self.seen.append(x.detach().clone())
        return self.value[:, None, None].expand(len(x), -1, *x.shape[2:])


class SpyBackbone(Backbone):
    """Builds spies."""

    name: Literal["spy"] = "spy"

    def build(self, in_chans, out_chans, times):
        return Spy(in_chans, out_chans)


def trainer_of(task, sampler="sm-res", backbone=None, schedule="power", **training):
    training = {"crop": 8, "batch_size": 2, "steps": 2} | training
    trainer = rddm.build(
        rddm.Spec(
            task=task,
            sampler=sampler,
            backbone=backbone or SpyBackbone(),
            schedule=schedule,
            training=Training(**training),
        )
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # an untrained output layer may be zero, which would hide everything
        for parameter in trainer[Network].parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return trainer


def spy(trainer) -> Spy:
    [found] = trainer[Network].nets.values()
    return found


def noise(seed, height=12, width=14, channels=3):
    return np.random.default_rng(seed).integers(0, 255, (height, width, channels), np.uint8)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(3):
        images.write(folder / f"{seed}.png", noise(seed))
    return str(folder)


@pytest.fixture(scope="module")
def shadows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shadows")
    for seed in range(3):
        pair = noise(seed), noise(seed + 10)
        for role, array in zip(("target", "input", "mask"), (*pair, pair[0][..., :1])):
            images.write(folder / role / f"{seed}.png", array)
    return {"name": "folder", "path": str(folder), "extras": ["mask"]}


# ---------------------------------------------------------------------------------------------- masks
@pytest.mark.parametrize("name", [name for name in MASKS if name != "half"])
def test_holes_have_the_share_of_the_area_that_is_asked_for(name):
    cls = registry.load(Mask, name)
    for share in (0.1, 0.5, 0.8):
        found = [cls(share=(share, share))(200, 120, seeded(seed)).mean().item() for seed in range(10)]
        if name in ("strokes", "free-form"):  # the last stroke goes beyond
            assert share <= min(found) <= max(found) < share + 0.1
        else:
            assert found == pytest.approx([share] * 10, abs=0.01)


@pytest.mark.parametrize("name", [name for name in MASKS if name not in ("centre", "half", "outpaint")])
def test_random_holes_are_everywhere_and_never_twice_the_same(name):
    maker = component(Mask, name)
    masks = torch.stack([maker(32, 48, seeded(seed)) for seed in range(200)])
    assert len({mask.numpy().tobytes() for mask in masks}) > 190
    assert nn.functional.avg_pool2d(masks, 8).mean(0).min() > 0.03
    low, high = maker.share
    assert low < masks.mean() < high + 0.05


def test_a_centre_is_in_the_middle_and_outpainting_is_all_around_it():
    rows = [[float(r in (2, 3, 4, 5) and c in (1, 2)) for c in range(4)] for r in range(8)]
    mask = Centre()(8, 4, seeded(0))
    assert mask[0].tolist() == rows
    assert torch.equal(Outpaint(share=(0.75, 0.75))(8, 4, seeded(0)), 1 - mask)


def test_a_half_is_on_the_side_that_is_named_or_on_any():
    sides = {side: Half(side=side)(4, 5, seeded(0))[0] for side in ("left", "right", "top", "bottom")}
    assert sides["left"].tolist() == [[1, 1, 0, 0, 0]] * 4
    assert sides["right"].tolist() == [[0, 0, 0, 1, 1]] * 4
    assert sides["top"].tolist() == [[1] * 5] * 2 + [[0] * 5] * 2
    assert sides["bottom"].tolist() == [[0] * 5] * 2 + [[1] * 5] * 2
    drawn = Counter(tuple(Half()(4, 5, seeded(seed)).flatten().tolist()) for seed in range(200))
    assert len(drawn) == 4
    assert min(drawn.values()) > 25


@pytest.mark.parametrize(("name", "key"), [("box", "share"), ("strokes", "share"), ("free-form", "share")])
@pytest.mark.parametrize("given", [(0, 0.5), (0.5, 0.2), (0.2, 1)])
def test_a_share_out_of_range_is_refused(name, key, given):
    with pytest.raises(SpecError, match="0 < low <= high <= 0.9"):
        registry.load(Mask, name)(**{key: given})


def test_files_are_masks_with_white_holes_stretched_to_the_image_and_all_of_them_are_drawn(tmp_path):
    left, top = np.zeros((4, 4, 1), np.uint8), np.zeros((4, 4, 3), np.uint8)
    left[:, :2], top[:1] = 255, 200
    images.write(tmp_path / "left.png", left)
    images.write(tmp_path / "deep" / "top.png", top)
    maker = Files(path=tmp_path)
    found = {maker(8, 12, seeded(seed)).numpy().tobytes() for seed in range(20)}
    want = torch.zeros(2, 1, 8, 12)
    want[0, :, :, :6], want[1, :, :2] = 1, 1
    assert found == {mask.numpy().tobytes() for mask in want}


def test_files_without_holes_and_folders_without_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="is no folder of masks; give one that holds images, white where"):
        Files(path=tmp_path / "none")(4, 4, seeded(0))
    images.write(tmp_path / "black.png", np.zeros((4, 4, 1), np.uint8))
    with pytest.raises(DataError, match=r"black.png has no hole at 4x4: white must be"):
        Files(path=tmp_path)(4, 4, seeded(0))


# ----------------------------------------------------------------------------------------- inpainting
@given(st.sampled_from(MASKS), st.integers(0, 99))
def test_the_input_is_mid_grey_in_the_hole_and_the_image_elsewhere(name, seed):
    task = Inpainting(train="a", eval="b", mask=component(Mask, name), augment="none")
    record = {"target": noise(seed)}
    example = task.example(record, None, seeded(seed))
    target, mask = images.to_tensor(record["target"]), example["mask"]
    assert torch.equal(example["target"], target)
    assert torch.equal(example["input"], torch.where(mask == 1, torch.tensor(0.5), target))  # 0 in [-1, 1]
    assert example["mask"].shape == (1, 12, 14)


@pytest.mark.parametrize(("sees", "channels"), [("state", 3), ("input", 6), ("input+mask", 7)])
def test_what_inpainting_shows_is_the_same_in_training_sampling_evaluation_and_measurement(sees, channels, photos):
    task = {"name": "inpainting", "train": photos, "eval": photos, "sees": sees, "augment": "dihedral"}
    trainer = trainer_of(task, {"name": "sm-res", "steps": 1})
    batch = next(iter(batches(Examples(trainer[Task], trainer[Training]), 0, 1, 0, 1)))
    losses(trainer, trainer[Network], batch, seeded(0), torch.device("cpu"))
    shown = {"training": (spy(trainer).seen[-1], batch["input"], batch["extras"]["mask"])}
    pair = trainer[Task].example({"target": noise(5)}, None, seeded(1))
    extras = {"mask": pair["mask"]} if sees == "input+mask" else None
    trainer.restore(pair["input"], extras=extras)
    shown["sampling"] = (spy(trainer).seen[-1], pair["input"][None], pair["mask"][None])
    [result] = results(trainer, limit=1)
    hole = (result.input != result.target).any(0, keepdim=True).float()
    shown["evaluation"] = (spy(trainer).seen[-1], result.input[None], hole[None])
    for where, (seen, x_in, mask) in shown.items():
        assert seen.shape[1] == channels, where
        torch.testing.assert_close(seen[:, 3:6], (x_in * 2 - 1)[:, : channels - 3])
        torch.testing.assert_close(seen[:, 6:], mask[:, : max(channels - 6, 0)])
    path_dependence(trainer, limit=2, times=1)
    assert spy(trainer).seen[-1].shape == (2, channels, 8, 8)


def test_evaluation_draws_an_image_s_hole_from_its_name_alone(photos):
    trainer = trainer_of({"name": "inpainting", "train": photos, "eval": photos})
    first, again = ([one.input for one in results(trainer)] for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, again))
    holes = [(one == 0.5).all(0) for one in first]
    assert not torch.equal(holes[0], holes[1])
    [third] = results(trainer, part=(2, 3))
    assert torch.equal(third.input, first[2])


@pytest.mark.parametrize("solver", registry.names("solver"))
@pytest.mark.parametrize("clip", ["x0", "residual", "none"])
def test_known_pixels_are_put_back_at_every_step_and_stay_bit_for_bit(solver, clip, photos):
    sampler = {"name": "sm-res", "steps": 3, "eta": float(solver in ("first-order", "posterior")), "solver": solver}
    task = {"name": "inpainting", "train": photos, "eval": photos, "keep_known": True}
    trainer = trainer_of(task, sampler | {"clip": clip})
    image = torch.rand(2, 3, 9, 7, generator=seeded(3))
    mask = torch.stack([component(Mask, "box")(9, 7, seeded(seed)) for seed in range(2)])
    restored = trainer.restore(image, extras={"mask": mask})
    known = (mask == 0).expand_as(image)
    assert torch.equal(restored[known], image[known])
    assert not torch.isclose(restored[~known], image[~known], atol=1e-3).all()
    x_in = image * 2 - 1
    with torch.inference_mode():
        for state in trajectory(trainer, x_in, extras={"mask": mask}):
            assert torch.equal(state.prediction.x0[known], x_in[known])
            assert (state.prediction.res[known] == 0).all()
            assert (state.prediction.res[~known] != 0).any()
    if solver != "multistep":  # it extrapolates the noise, too, which is as predicted; `restore` puts the pixels back
        torch.testing.assert_close(state.x[known], x_in[known], rtol=0, atol=1e-6)


def test_keeping_what_is_known_can_be_asked_of_a_trained_model_and_is_off_by_default(photos):
    trainer = trainer_of({"name": "inpainting", "train": photos, "eval": photos}, {"name": "sm-res", "steps": 2})
    keeping = trainer.replace(trainer[Task].model_copy(update={"keep_known": True}))
    image, mask = torch.rand(3, 8, 8), torch.zeros(1, 8, 8)
    mask[:, 2:5] = 1
    free, kept = trainer.restore(image), keeping.restore(image, extras={"mask": mask})
    assert not torch.isclose(free[:, :2], image[:, :2], atol=1e-3).all()
    assert torch.equal(kept[:, :2], image[:, :2])
    assert keeping.evaluate(limit=2)["psnr"] > trainer.evaluate(limit=2)["psnr"]
    assert keeping.profile((8, 8), runs=1).parameters == 3


def test_known_pixels_stay_where_the_process_runs_on_frequencies(photos):
    task = {"name": "inpainting", "train": photos, "eval": photos, "keep_known": True}
    trainer = trainer_of(task, {"name": "sm-x0", "steps": 3}, schedule="cold-blur")
    image, mask = torch.rand(1, 3, 8, 8, generator=seeded(0)), torch.zeros(1, 1, 8, 8)
    mask[..., 3:6, 2:5] = 1
    known = (mask == 0).expand_as(image)
    assert torch.equal(trainer.restore(image, extras={"mask": mask})[known], image[known])
    with torch.inference_mode():
        for state in trajectory(trainer, image * 2 - 1, extras={"mask": mask}):
            torch.testing.assert_close(state.prediction.x0[known], (image * 2 - 1)[known], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("extras", "message"),
    [
        (None, r"task 'inpainting' takes extras=\{'mask': \(2, 1, 8, 8\) in \[0, 1\]\}; given none"),
        ({"hole": torch.zeros(2, 1, 8, 8)}, r"takes extras=\{'mask'.*given \['hole'\]"),
        ({"mask": torch.zeros(2, 3, 8, 8)}, r"given 'mask': \(2, 3, 8, 8\)"),
        ({"mask": torch.zeros(1, 8, 8)}, r"given 'mask': \(1, 1, 8, 8\)"),
        ({"mask": torch.full((2, 1, 8, 8), 255.0)}, "floating point; given 'mask': torch.float32 from 255 to 255"),
        ({"mask": torch.zeros(2, 1, 8, 8, dtype=torch.bool)}, "floating point; given 'mask': torch.bool"),
        ({"mask": torch.full((2, 1, 8, 8), torch.nan)}, "from nan to nan"),
        ({"mask": np.zeros((2, 1, 8, 8))}, "as torch tensors; given 'mask': ndarray"),
    ],
)
def test_extras_that_do_not_fit_are_refused_with_what_to_give(extras, message):
    trainer = trainer_of({"name": "inpainting", "train": "a", "eval": "b", "sees": "input+mask"})
    with pytest.raises(ShapeError, match=message):
        trainer.restore(torch.rand(2, 3, 8, 8), extras=extras)


def test_a_task_without_extras_takes_none():
    trainer = trainer_of({"name": "paired", "train": "a", "eval": "b"})
    with pytest.raises(ShapeError, match=r"task 'paired' takes no extras; given \['mask'\]"):
        trainer.restore(torch.rand(3, 8, 8), extras={"mask": torch.zeros(1, 8, 8)})


def test_a_mask_maker_that_gives_something_else_is_named():
    class Grey(Mask):
        """No mask."""

        name: Literal["grey"] = "grey"

        def __call__(self, height, width, generator):
            return torch.full((1, height, width), 0.5)

    task = Inpainting(train="a", eval="b", mask=Grey())
    with pytest.raises(ShapeError, match=r"mask 'grey' must give \(1, 12, 14\) of 0 and 1; gave .* from 0.5 to 0.5"):
        task.example({"target": noise(0)}, None, seeded(0))


# ------------------------------------------------------------------------------ images shown with pairs
@given(st.integers(0, 999), st.sampled_from(["none", "flip", "dihedral"]))
def test_a_mask_is_cut_and_turned_as_its_pair_is(seed, augment):
    target = noise(0)
    record = {"target": target, "input": 255 - target, "mask": target[..., 1:2]}
    task = Paired(train="a", eval="b", shown=[{"role": "mask"}], augment=augment)
    example = task.example(record, (6, 6), seeded(seed))
    assert torch.equal(example["mask"], example["target"][1:2])
    torch.testing.assert_close(example["input"], 1 - example["target"])


def test_shown_images_stand_after_the_input_in_their_order_and_range(shadows):
    shown = [{"role": "mask", "range": "signed"}, {"role": "depth", "channels": 3}]
    task = Paired(train="a", eval="b", shown=shown)
    assert task.conditions == 3 + 1 + 3
    x_in, mask, depth = torch.rand(2, 3, 4, 4), torch.rand(2, 1, 4, 4), torch.rand(2, 3, 4, 4)
    found = task.condition(x_in, {"depth": depth, "mask": mask})
    assert torch.equal(found, torch.cat([x_in, mask * 2 - 1, depth], dim=1))


def test_a_mask_reaches_the_network_in_training_sampling_and_evaluation_alike(shadows):
    task = {"name": "paired", "train": shadows, "eval": shadows, "shown": [{"role": "mask"}]}
    trainer = trainer_of(task, {"name": "sm-res", "steps": 1})
    batch = next(iter(batches(Examples(trainer[Task], trainer[Training]), 0, 1, 0, 1)))
    losses(trainer, trainer[Network], batch, seeded(0), torch.device("cpu"))
    assert torch.equal(spy(trainer).seen[-1][:, 6:], batch["target"][:, :1])  # as the masks here are made
    image, mask = torch.rand(3, 8, 8), torch.rand(1, 8, 8)
    trainer.restore(image, extras={"mask": mask})
    assert torch.equal(spy(trainer).seen[-1][0, 6:], mask)
    for result in results(trainer):
        assert torch.equal(spy(trainer).seen[-1][0, 6:], result.target[:1])


@pytest.mark.parametrize("shown", [["target"], ["mask", "mask"], ["problems"]])
def test_roles_that_are_taken_are_refused(shown):
    with pytest.raises(SpecError, match="roles must differ from each other, and from target, input and problems"):
        Paired(train="a", eval="b", shown=[{"role": role} for role in shown])


def test_a_source_without_the_mask_and_a_mask_of_another_size_are_refused(shadows):
    plain = {key: value for key, value in shadows.items() if key != "extras"}
    with pytest.raises(
        DataError, match=r"task.shown wants \['mask'\], too; name them to the source: .*extras: \[mask\]"
    ):
        Paired(train=plain, eval=plain, shown=[{"role": "mask"}]).train_records()
    record = {"target": noise(0), "input": noise(0), "mask": noise(0, height=5)}
    with pytest.raises(DataError, match=r"must have one size; given .*'mask': \(5, 14\)"):
        Paired(train="a", eval="b", shown=[{"role": "mask"}]).example(record, None, seeded(0))


# ---------------------------------------------------------------------------------------- translation
@pytest.fixture(scope="module")
def domains(tmp_path_factory):
    """Two domains of one channel: 4 dark images of 12x14, and 6 bright ones of 10x9, each of one grey of its own."""
    root = tmp_path_factory.mktemp("domains")
    for n in range(4):
        images.write(root / "dark" / f"d{n}.png", np.full((12, 14, 1), 10 * n, np.uint8))
    for n in range(6):
        images.write(root / "bright" / f"b{n}.png", np.full((10, 9, 1), 200 + 5 * n, np.uint8))
    return {"source": str(root / "dark"), "target": str(root / "bright")}


def translation(domains, **keys):
    return Translation(train=domains, eval=domains, channels=1, **keys)


def greys(example):
    return tuple(round(example[role].mean().item() * 255) for role in ("input", "target"))


def test_every_draw_has_a_new_partner_and_all_of_them_come(domains):
    examples = Examples(translation(domains), Training(crop=8))
    drawn = [greys(examples[number]) for number in range(400)]
    assert Counter(one for one, _ in drawn) == {0: 100, 10: 100, 20: 100, 30: 100}  # every input once an epoch
    partners = Counter(drawn)
    assert set(partners) == {(10 * d, 200 + 5 * b) for d in range(4) for b in range(6)}
    assert max(partners.values()) < 40  # of 400 / 24 each
    assert drawn == [greys(examples[number]) for number in range(400)]


def test_direction_backward_turns_both_domains_around(domains):
    forward, backward = (Examples(translation(domains, direction=d), Training(crop=8)) for d in ("forward", "backward"))
    assert all(0 <= one < 40 and other >= 200 for one, other in (greys(forward[n]) for n in range(20)))
    assert all(one >= 200 and 0 <= other < 40 for one, other in (greys(backward[n]) for n in range(20)))
    assert (len(forward.records), len(backward.records)) == (4, 6)


def test_input_and_partner_are_cut_each_on_its_own():
    ramp = np.arange(40, dtype=np.uint8).reshape(1, 40, 1).repeat(40, 0)
    task = translation({"source": "a", "target": "b"})
    examples = [task.example({"input": ramp, "target 0": ramp}, (8, 8), seeded(n)) for n in range(200)]
    assert len({one - other for one, other in map(greys, examples)}) > 30


def test_evaluation_uses_every_image_of_both_domains(domains):
    task = translation(domains)
    records = task.eval_records()
    assert len(records) == len(set(records.names)) == 6
    found = [greys(task.example(record, None, seeded(0))) for record in records]
    assert found == [(10 * (n % 4), 200 + 5 * n) for n in range(6)]
    assert records.names[5] == "d1 to b5"


def test_a_crop_must_fit_the_images_of_both_domains(domains):
    with pytest.raises(DataError, match=r"smaller than the crop 10x10"):
        Examples(translation(domains), Training(crop=10))
    assert Examples(translation(domains), Training(crop=9))[0]["target"].shape == (1, 9, 9)


def test_translation_shows_the_state_alone_restores_images_and_draws_none(domains):
    trainer = trainer_of(translation(domains), {"name": "sm-res", "steps": 2})
    image = torch.rand(2, 1, 9, 5)
    assert trainer.restore(image).shape == image.shape
    assert spy(trainer).seen[-1].shape == (2, 1, 9, 5)
    with pytest.raises(SpecError, match=r"task 'translation' turns inputs into images; use restore\(image\)"):
        trainer.sample(2)


def test_evaluation_compares_translated_inputs_with_the_target_domain_as_sets(domains):
    trainer = trainer_of(translation(domains), {"name": "sm-res", "steps": 2})
    outputs, targets, inputs = sets(trainer)
    assert [round(one.mean().item() * 255) for one in inputs] == [0, 10, 20, 30, 0, 10]
    assert [round(one.mean().item() * 255) for one in targets] == [200 + 5 * n for n in range(6)]
    own = [trainer.restore(one, generator=seeded(0, 3, n)) for n, one in enumerate(inputs)]
    torch.testing.assert_close(outputs, torch.stack(own))
    assert trainer.evaluate()["images"] == 6
    with torch.no_grad():  # res = I_in - I_0: the nearer the output's grey to the targets', the smaller the distance
        spy(trainer).value.fill_(0.0)
        far = trainer.evaluate()["swd"]
        spy(trainer).value.fill_(2 * (15 - 212.5) / 255)
        near = trainer.evaluate()["swd"]
    assert near < 0.1 * far


def test_fitting_a_translation_leaves_a_sheet_of_inputs_and_outputs(domains, tmp_path):
    out = tmp_path / "run"
    trainer = trainer_of(translation(domains), {"name": "sm-res-n", "steps": 2}, SMALL)
    found = trainer.fit(out, progress=False)
    assert found["images"] == 6
    picture = images.read(out / "samples" / "step_00000002.png")
    assert picture.shape[1] > 2 * 3 * 8  # three pairs side by side, of 8 pixels enlarged
    loaded = rddm.load(out, "cpu")
    assert loaded[Task] == trainer[Task]
    assert loaded.evaluate()["swd"] == pytest.approx(found["swd"])


def test_parts_of_a_task_s_tables_are_watched_and_refused_like_any_other(tmp_path):
    class Own(Source):
        """A source without an entry point."""

        name: Literal["own"] = "own"

        def open(self):
            raise NotImplementedError

    domains = {"source": Own(), "target": "b"}
    trainer = rddm.build({"task": {"name": "translation", "train": domains, "eval": domains}, "backbone": SMALL})
    with pytest.warns(UserWarning, match="source 'own' .* has no entry point"):
        trainer.save(tmp_path / "model")
    with pytest.raises(SpecError, match=r"train.sorce: unknown key; did you mean 'source'"):
        Translation(train={"sorce": "a", "target": "b"}, eval={"source": "a", "target": "b"})
    with pytest.raises(SpecError, match=r"shown.0.channel: unknown key; did you mean 'channels'"):
        Paired(train="a", eval="b", shown=[{"role": "mask", "channel": 1}])
