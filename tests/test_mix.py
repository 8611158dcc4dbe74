"""Several sources as one: shares, labels, and what a task makes of them."""

from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import rddm
from rddm.core import images
from rddm.core.data import Examples, batches
from rddm.core.errors import DataError, SpecError
from rddm.core.kinds import Source
from rddm.core.named import resolve
from rddm.core.spec import Training
from rddm.sources.mix import Mix
from rddm.tasks.generation import Generation
from rddm.tasks.paired import Paired
from rddm.tasks.translation import Translation
from rddm.testing import check


def noise(seed=0, height=9, width=10, channels=3):
    return np.random.default_rng(seed).integers(0, 255, (height, width, channels), np.uint8)


def pairs(folder, count, start=0, roles=("target", "input")):
    for number in range(count):
        for place, role in enumerate(roles):
            images.write(folder / role / f"{number}.png", noise(start + 10 * number + place))
    return str(folder)


@pytest.fixture
def parts(tmp_path):
    rain, dark = pairs(tmp_path / "rain", 3), pairs(tmp_path / "dark", 5, 1000)
    return [{"source": rain, "weight": 2, "label": "rain"}, {"source": dark, "label": "dark"}]


def test_examples_stand_part_after_part_with_their_label_in_name_and_planes(parts):
    records = Mix(parts=parts).open()
    assert list(records.names) == [*(f"rain/{n}" for n in range(3)), *(f"dark/{n}" for n in range(5))]
    assert records.roles == {"target", "input", "label"}
    assert records.sizes() == [(9, 10)] * 8
    for index, seed, plane in ((0, 0, [1, 0]), (2, 20, [1, 0]), (3, 1000, [0, 1]), (-1, 1040, [0, 1])):
        np.testing.assert_array_equal(records[index]["target"], noise(seed))
        label = records[index]["label"]
        assert (label.shape, label.dtype, label.strides[:2]) == ((9, 10, 2), np.float32, (0, 0))
        assert (label == plane).all()
    assert [set(record) for record in records[1:3]] == [records.roles] * 2
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(records))[4]["label"], records[4]["label"])
    with pytest.raises(IndexError):
        records[8]


def test_a_weight_is_the_share_of_a_part_whatever_its_number_of_examples(parts):
    records = Mix(parts=parts).open()
    assert records.weights == pytest.approx([2 / 3] * 3 + [1 / 5] * 5)
    inner = {"name": "tiles", "source": {"name": "mix", "parts": parts}, "size": 4}
    tiles = resolve(Source, inner)
    assert tiles.labels == ("rain", "dark")
    assert tiles.open().weights == pytest.approx([2 / 3 / 4] * 12 + [1 / 5 / 4] * 20)
    assert resolve(Source, parts[0]["source"]).open().weights is None


class Spread(Generation):
    """Counts what is drawn."""

    def example(self, record, crop, generator):
        return {
            "target": torch.tensor(float(record["label"].argmax())),
            "input": torch.tensor(record["target"][0, 0, 0]),
        }


def test_training_draws_parts_by_their_shares_and_their_examples_evenly(parts):
    source = {"name": "mix", "parts": parts}
    examples = Examples(Spread(train=source, eval=source), Training(crop=8, seed=4))
    drawn = [examples[number] for number in range(8 * 400)]
    shares = Counter(int(one["target"]) for one in drawn)
    assert shares[0] / 3200 == pytest.approx(2 / 3, abs=4 * (2 / 9 / 3200) ** 0.5)  # four standard deviations
    each = Counter((int(one["target"]), int(one["input"])) for one in drawn)
    assert len(each) == 8
    assert min(each[key] for key in each if key[0] == 0) > 600
    assert min(each[key] for key in each if key[0] == 1) > 150


def test_weighted_draws_depend_on_seed_and_number_alone(parts):
    source = {"name": "mix", "parts": parts}
    task = Paired(train=source, eval=source, shown=[{"role": "label", "channels": 2}])
    one, other = (Examples(task, Training(crop=8, batch_size=2, seed=3)) for _ in range(2))
    order = [30, 2, 8, 7, 30, 0]
    late = {number: other[number] for number in order}
    for number in sorted(order):
        assert all(torch.equal(one[number][role], late[number][role]) for role in ("target", "input", "label"))
    whole = torch.cat([batch["target"] for batch in batches(one, 0, 12, 0, 1)])
    ranks = [[batch["target"] for batch in batches(other, 0, 6, rank, 2)] for rank in (0, 1)]
    assert torch.equal(whole, torch.cat([rank[number] for number in range(6) for rank in ranks]))
    elsewhere = Examples(task, Training(crop=8, batch_size=2, seed=5))
    assert any(not torch.equal(one[number]["target"], elsewhere[number]["target"]) for number in range(8))


def test_the_draws_of_an_epoch_are_these():
    class Three(Source):
        """Records of a number each."""

        name: str = "three"

        def open(self):
            return Numbers([1, 0, 3])

    examples = Examples(Generation(train=Three(), eval=Three(), channels=1, augment="none"), Training(crop=1, seed=0))
    assert [round(examples[n]["target"].item() * 255) for n in range(12)] == [2, 0, 0, 2, 0, 2, 2, 2, 2, 2, 2, 0]


class Numbers(rddm.core.kinds.Records):
    """One pixel each, of the value of its number."""

    def __init__(self, weights):
        self._weights, self.names, self.roles = weights, ["a", "b", "c"], frozenset(["target"])

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return {"target": np.full((1, 1, 1), index, np.uint8)}

    def sizes(self):
        return [(1, 1)] * 3

    @property
    def weights(self):
        return self._weights


def test_weights_that_are_not_one_for_each_example_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(Generation, "train_records", lambda self: Numbers([1, 2]))
    with pytest.raises(DataError, match="gives 2 weights for 3 examples"):
        Examples(Generation(train="a", eval="b"), Training(crop=1))


def test_a_part_that_cannot_be_read_is_reported_and_replaced_even_where_every_draw_is_of_it(tmp_path):
    for label, seed in (("bad", 0), ("good", 1)):
        images.write(tmp_path / label / "0.png", noise(seed))
    file = tmp_path / "bad" / "0.png"
    file.write_bytes(file.read_bytes()[:60])
    mix = {
        "name": "mix",
        "parts": [
            {"source": str(tmp_path / "bad"), "label": "bad", "weight": 1e9},
            {"source": str(tmp_path / "good"), "label": "good"},
        ],
    }
    example = Examples(Generation(train=mix, eval=mix), Training(crop=8))[0]
    assert "bad/0" in example["problems"][0]
    assert example["target"].shape == (3, 8, 8)


def test_parts_share_a_label_and_keep_the_roles_that_all_have(parts, tmp_path):
    third = {"name": "folder", "path": pairs(tmp_path / "more", 1, 7, ("target", "input", "mask")), "extras": ["mask"]}
    records = Mix(parts=[*parts, {"source": third, "label": "rain"}])
    with pytest.raises(DataError, match=r"mix gives 1 names more than once \(rain/0\)"):
        records.open()
    (tmp_path / "more" / "mask").rename(tmp_path / "more" / "m")
    for role in ("target", "input", "m"):
        (tmp_path / "more" / role / "0.png").rename(tmp_path / "more" / role / "x.png")
    records = Mix(parts=[*parts, {"source": third | {"extras": ["m"]}, "label": "rain"}]).open()
    assert records.roles == {"target", "input", "label"}
    assert set(records[8]) == records.roles
    assert records[8]["label"][0, 0].tolist() == [1, 0]


def test_parts_that_do_not_go_together_are_refused(parts, tmp_path):
    clean = {"source": f"{parts[0]['source']}/target", "label": "clean"}
    with pytest.raises(DataError, match="all pairs, or all clean images; given rain: input, target; clean: target"):
        Mix(parts=[parts[0], clean]).open()
    with pytest.raises(DataError, match="no role label, and be no mix; given both: input, label, target"):
        Mix(parts=[{"source": {"name": "mix", "parts": parts}, "label": "both"}]).open()
    with pytest.raises(DataError, match="mix.order has fog, rain, and parts are labelled dark, too"):
        Mix(parts=parts, order=["fog", "rain"]).open()
    with pytest.raises(SpecError, match="order: must name each label once"):
        Mix(parts=parts, order=["rain", "dark", "rain"])
    for wrong, message in (
        ([], "at least 1"),
        ([parts[0] | {"weight": 0}], "parts.0.weight: .*greater than 0"),
        ([parts[0] | {"lable": "x"}], r"parts.0.lable: unknown key"),
        ([{"source": "a"}], "parts.0.label: is required"),
    ):
        with pytest.raises(SpecError, match=message):
            Mix(parts=wrong)


def test_the_network_is_shown_the_label_if_channels_and_labels_fit(parts):
    mix = {"name": "mix", "parts": parts}
    only = {"name": "mix", "parts": parts[1:]}
    shown = [{"role": "label", "channels": 2}]
    task = Paired(train=mix, eval=only | {"order": ["rain", "dark"]}, shown=shown)
    record = task.eval_records()[0]
    example = task.example(record, None, torch.Generator())
    assert example["label"].shape == (2, 9, 10)
    assert (example["label"] == torch.tensor([0.0, 1.0])[:, None, None]).all()
    seen = task.condition(example["input"][None] * 2 - 1, {"label": example["label"][None]})
    assert torch.equal(seen[:, 3:], example["label"][None])
    for wrong in (
        {"train": mix, "eval": mix, "shown": [{"role": "label", "channels": 3}]},
        {"train": mix, "eval": only, "shown": shown},
        {"train": mix, "eval": parts[1]["source"], "shown": shown},
    ):
        with pytest.raises(
            SpecError, match=r"give the label 2 channels, and eval the labels .* \(order: \[rain, dark\]"
        ):
            Paired(**wrong)
    assert Paired(train=mix, eval=parts[1]["source"]).eval_records()  # who is not shown the label needs none


def test_one_model_is_trained_on_a_mix_and_told_the_label(parts, tmp_path):
    mix = {"name": "mix", "parts": parts}
    spec = {
        "task": {"name": "paired", "train": mix, "eval": mix, "shown": [{"role": "label", "channels": 2}]},
        "schedule": {"name": "power", "T": 20},
        "sampler": {"name": "sm-res", "steps": 2},
        "backbone": {"name": "nafnet", "width": 4, "enc_blocks": [1], "middle_blocks": 1, "dec_blocks": [1]},
        "training": {"steps": 2, "batch_size": 2, "crop": 8},
    }
    trainer = rddm.build(spec)
    trainer.fit(tmp_path / "run")
    scores = trainer.evaluate()
    assert set(scores["per_image"]) == set(Mix(parts=parts).open().names)
    label = torch.zeros(2, 9, 10)
    label[1] = 1
    image = images.to_tensor(noise(3))
    assert not torch.equal(
        trainer.restore(image, extras={"label": label}), trainer.restore(image, extras={"label": 1 - label})
    )


def test_translation_draws_inputs_by_their_shares(parts):
    clean = [part | {"source": part["source"] + "/target"} for part in parts]
    domains = {"source": {"name": "mix", "parts": clean}, "target": clean[0]["source"]}
    records = Translation(train=domains, eval=domains).train_records()
    assert records.weights == pytest.approx([2 / 3] * 3 + [1 / 5] * 5)


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=5))
def test_labels_stand_in_the_order_of_the_parts_each_once(found):
    mix = Mix(parts=[{"source": "x", "label": label} for label in found])
    assert mix.labels == tuple(sorted(set(found), key=found.index))
    assert resolve(Source, mix.model_dump(mode="json")) == mix
    assert hash(resolve(Source, mix.model_dump(mode="json"))) == hash(mix)


def test_a_mix_keeps_the_contract_of_a_source(parts):
    check(Mix(parts=parts, order=["dark", "rain"]))
