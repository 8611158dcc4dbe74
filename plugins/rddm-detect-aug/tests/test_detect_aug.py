"""Source, task, metric and detector: contracts, golden numbers and properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from rddm_detect_aug.auc import estimate, wins
from rddm_detect_aug.detection import Detection
from rddm_detect_aug.detector import features, read, trained
from rddm_detect_aug.examples import examples, label_of
from rddm_detect_aug.filters import GRID, brightened
from rddm_detect_aug.labelled import Labelled
from rddm_detect_aug.lfw import LFWSubset
from skimage.data import lfw_subset
from sklearn.metrics import roc_auc_score

from rddm.plugin import DataError, ShapeError, Source, Task, resolve
from rddm.plugin import images as files
from rddm.testing import check

FACES, OTHERS = ({"name": "lfw-subset", "split": split} for split in ("train", "test"))
PHOTOS = {"name": "photos", "images": "test"}


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def task(**changes):
    return Labelled(**{"channels": 1, "train": FACES, "eval": OTHERS, "degradation": "noise"} | changes)


def stripes(upright, seed, side=25):
    """An image (1, side, side) of noisy stripes, upright or lying."""
    wave = 0.5 + 0.4 * torch.sin(torch.arange(side) * 1.3 + seed)
    image = wave.expand(side, side) if upright else wave[:, None].expand(side, side)
    return (image + 0.05 * torch.randn(side, side, generator=seeded(seed))).clamp(0, 1)[None]


def striped(count=6):
    pictures = [stripes(n % 2 == 0, n) for n in range(count)]
    return pictures, [n % 2 == 0 for n in range(count)]


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """A file with a detector of upright stripes."""
    path = tmp_path_factory.mktemp("detector") / "made" / "stripes.npz"
    trained(*striped(), "upright").write(path)
    return path


# ------------------------------------------------------------------------------------------------ contracts
@pytest.mark.parametrize("split", ["train", "test"])
def test_the_faces_keep_the_contract_of_sources(split):
    check(LFWSubset(split=split))


def test_the_task_keeps_the_contract_of_tasks():
    made = task()
    check(made, record=made.train_records()[0], data=True)
    check(Labelled(train=PHOTOS, eval=PHOTOS, degradation="rain"))


def test_the_metric_keeps_the_contract_of_metrics(detector):
    label = torch.stack([torch.ones(25, 25), torch.zeros(25, 25)])
    check(Detection(file=detector), size=(25, 25), channels=1, extras={"label": label})


# ---------------------------------------------------------------------------------------------------- faces
def test_the_halves_are_all_images_once_faces_first():
    found = [LFWSubset(split=split).open() for split in ("train", "test")]
    assert [len(one) for one in found] == [100, 100]
    assert not set(found[0].names) & set(found[1].names)
    whole = lfw_subset()
    for half, records in enumerate(found):
        for n, record in enumerate(records):
            number = (n // 50) * 100 + 50 * half + n % 50
            np.testing.assert_array_equal(record["target"][..., 0], whole[number].astype(np.float32))
            assert records.names[n] == f"{'face' if n < 50 else 'background'}-{50 * half + n % 50:03d}"
            assert record["label"][3, 7].tolist() == ([1, 0] if n < 50 else [0, 1])


def test_faces_alone_keep_both_planes_of_the_label():
    source = LFWSubset(keep=("face",))
    assert source.labels == ("face", "background")
    assert len(source.open()) == 50
    assert all(name.startswith("face") for name in source.open().names)


# ----------------------------------------------------------------------------------------------------- task
def test_the_network_sees_what_that_of_paired_sees_and_never_the_label():
    own, paired = (
        task(),
        resolve(
            Task,
            {"name": "paired", "channels": 1} | {"train": FACES, "eval": OTHERS, "degradation": "noise"},
        ),
    )
    record = own.train_records()[3]
    one, other = (made.example(record, (24, 24), seeded(1)) for made in (own, paired))
    assert set(one) - set(other) == {"label"}
    assert all(torch.equal(one[role], other[role]) for role in other)
    assert own.conditions == 1
    assert own.extras == {}
    assert torch.equal(own.condition(one["input"][None], {}), one["input"][None])


def test_the_label_of_an_example_is_that_of_its_record_at_the_size_of_the_crop():
    made = task()
    records = made.train_records()
    for number, planes in ((0, [1, 0]), (99, [0, 1])):
        label = made.example(records[number], (16, 20), seeded(0))["label"]
        assert label.shape == (2, 16, 20)
        assert torch.equal(label, torch.tensor(planes).float()[:, None, None].expand(2, 16, 20))


def test_folders_by_label_are_a_labelled_source(tmp_path):
    for label, seed in (("scratch", 0), ("fine", 1)):
        for n in range(3):
            (tmp_path / label).mkdir(exist_ok=True)
            files.write(tmp_path / label / f"{n}.png", files.to_array(stripes(seed == 0, n)))
    parts = [{"source": str(tmp_path / label), "label": label} for label in ("scratch", "fine")]
    made = task(train={"name": "mix", "parts": parts}, eval={"name": "mix", "parts": parts})
    found = examples(made, made.train_records(), 2)
    assert found.inputs.shape == (2, 6, 1, 25, 25)
    assert found.positives.tolist() == [True] * 3 + [False] * 3
    assert label_of({Task: made}) == "scratch"


def test_a_source_without_labels_is_refused():
    made = Labelled(train=PHOTOS, eval=PHOTOS, degradation="rain")
    with pytest.raises(DataError, match=r"task\.train has no labels, only \['target'\]; .* \{name: mix, parts"):
        made.train_records()
    with pytest.raises(DataError, match="no labels; take a source that has"):
        label_of({Task: made})
    with pytest.raises(DataError, match="the records have no label"):
        examples(made, resolve(Source, PHOTOS).open(), 1)


def test_each_draw_of_an_image_is_its_own_and_always_the_same():
    made = task()
    one, other = (examples(made, made.eval_records(), 2) for _ in range(2))
    assert torch.equal(one.inputs, other.inputs)
    assert (one.inputs[0] != one.inputs[1]).any()
    assert torch.equal(examples(made, made.eval_records(), 1).inputs[0], one.inputs[0])
    assert one.positives.sum() == 50


# ------------------------------------------------------------------------------------------------- detector
def test_features_do_not_change_with_exposure():
    image = stripes(True, 3)
    assert features(image).shape == (512,)
    np.testing.assert_allclose(features(0.5 * image + 0.1), features(image), atol=1e-3)


def test_a_detector_tells_what_it_was_trained_on_apart_from_the_rest():
    pictures, upright = striped()
    found = trained(pictures, upright, "upright")
    others = [stripes(n % 2 == 0, 50 + n) for n in range(10)]
    assert [score > 0 for score in found.scores(others)] == [True, False] * 5
    colours = others[0].expand(3, -1, -1)
    assert found.score(colours) == pytest.approx(found.score(others[0]))


def test_a_detector_of_clean_faces_is_right_for_99_in_a_hundred():
    made = task()
    train, test = (examples(made, records, 1) for records in (made.train_records(), made.eval_records()))
    found = trained(train.clean, train.positives, "face").scores(test.clean)
    assert np.mean((found > 0) == test.positives) == pytest.approx(0.99, abs=0.011)
    assert wins(found[None], test.positives).mean() > 0.998


def test_a_detector_comes_back_from_its_file(detector):
    found, own = read(detector), trained(*striped(), "upright")
    assert (found.size, found.positive, found.bias) == ((25, 25), "upright", own.bias)
    np.testing.assert_array_equal(found.weights, own.weights)


def test_detectors_refuse_what_they_cannot_be_made_of_or_look_at(detector, tmp_path):
    pictures, _ = striped()
    with pytest.raises(DataError, match="'upright' needs images with and without; given 6 of one kind"):
        trained(pictures, [True] * 6, "upright")
    with pytest.raises(ShapeError, match=r"one size; given \[\(24, 25\), \(25, 25\)\]"):
        trained([*pictures, pictures[0][:, 1:]], [True, False] * 3 + [True], "upright")
    with pytest.raises(ShapeError, match=r"\(C, 25, 25\); given"):
        read(detector).score(torch.rand(1, 30, 25))
    with pytest.raises(ShapeError, match="5 x 5 pixels at the least"):
        features(torch.rand(1, 4, 9))
    (tmp_path / "text.npz").write_text("none")
    for path in (tmp_path / "missing.npz", tmp_path / "text.npz"):
        with pytest.raises(DataError, match=r"holds no detector .* rddm-detect-aug train-detector"):
            Detection(file=path).prepare()


# --------------------------------------------------------------------------------------------------- metric
@pytest.mark.parametrize("upright", [True, False])
def test_a_decision_is_right_where_it_is_the_label(detector, upright):
    image, metric = stripes(upright, 9), Detection(file=detector)
    label = torch.tensor([upright, not upright]).float()[:, None, None].expand(2, 25, 25)
    assert metric.measure(image, image, {"label": label})["detection"] == 1
    assert metric.measure(image, image, {"label": 1 - label})["detection"] == 0
    assert Detection(file=detector, positive=1).measure(image, image, {"label": label})["detection"] == 0


def test_without_a_label_there_is_the_score_alone(detector):
    image = stripes(True, 9)
    found = Detection(file=detector).measure(image, image, {})
    assert found == {"detection_score": pytest.approx(1 / (1 + math.exp(-read(detector).score(image))))}


def test_a_detector_that_is_trained_again_is_read_again(tmp_path):
    pictures, upright = striped()
    path, image = tmp_path / "d.npz", stripes(True, 9)
    metric = Detection(file=path)
    trained(pictures, upright, "upright").write(path)
    before = metric.measure(image, image, {})["detection_score"]
    trained(pictures, [not one for one in upright], "lying").write(path)
    after = metric.measure(image, image, {})["detection_score"]
    assert after == pytest.approx(1 - before, abs=1e-3)


# ------------------------------------------------------------------------------------------------------ AUC
def test_wins_average_to_the_area_under_the_roc_curve_of_scikit_learn():
    rng = np.random.default_rng(0)
    positives = rng.random(40) < 0.4
    scores = np.round(rng.normal(size=(3, 40)) + positives, 1)  # with ties
    want = np.mean([roc_auc_score(positives, row) for row in scores])
    assert wins(scores, positives).mean() == pytest.approx(want)
    assert wins(scores, positives).shape == (positives.sum(), (~positives).sum())


def test_intervals_are_those_of_the_binomial_where_one_kind_is_certain():
    found = np.r_[np.ones(80), np.zeros(20)][:, None].repeat(50, 1)
    one = estimate(found)
    assert one.value == 0.8
    assert (one.low, one.high) == (pytest.approx(0.72, abs=0.011), pytest.approx(0.875, abs=0.011))
    assert estimate(found) == one
    nothing = estimate(found - found)
    assert (nothing.value, nothing.low, nothing.high) == (0, 0, 0)


# -------------------------------------------------------------------------------------------------- filters
def test_a_brightened_image_has_the_same_mean_and_contrast_whatever_the_exposure():
    image = stripes(True, 1) * 0.5
    bright = brightened(image, (0.5, 0.2))
    assert float(bright.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(bright.std()) == pytest.approx(0.2, abs=0.01)
    torch.testing.assert_close(brightened(0.1 * image + 0.02, (0.5, 0.2)), bright, atol=1e-3, rtol=0)
    assert brightened(torch.zeros(1, 3, 3), (0.4, 0.1)).isfinite().all()


@pytest.mark.parametrize("name", GRID)
def test_filters_take_noise_away_the_more_the_greater_their_parameter(name):
    function, grid = GRID[name]
    ((key, values),) = grid.items()
    clean = torch.linspace(0.2, 0.8, 25).expand(3, 25, 25)
    noisy = (clean + 0.1 * torch.randn(3, 25, 25, generator=seeded(0))).clamp(0, 1)
    rough = [
        float(function(noisy, (0.5, 0.2), **{key: value}).diff(dim=1).abs().mean())
        for value in (min(values), max(values))
    ]
    assert rough[1] < rough[0] < float(brightened(noisy, (0.5, 0.2)).diff(dim=1).abs().mean())
    assert function(noisy, (0.5, 0.2), **{key: values[0]}).shape == noisy.shape
