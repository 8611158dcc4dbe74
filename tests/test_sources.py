"""Where examples come from: folders of files, and the photographs of scikit-image."""

import pickle
import re
import socket
from typing import Any, Literal

import numpy as np
import pytest
import skimage.data

from rddm.core import images
from rddm.core.data import Examples
from rddm.core.errors import DataError, SpecError
from rddm.core.kinds import Records, Source
from rddm.core.named import resolve
from rddm.core.spec import Training
from rddm.sources._files import ImageFiles
from rddm.sources.folder import Folder
from rddm.sources.photos import Photos
from rddm.tasks.paired import Paired


def noise(seed=0, height=4, width=6, channels=3, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (height, width, channels), dtype)


def fill(folder, *names, **options):
    for seed, name in enumerate(names):
        images.write(folder / name, noise(seed, **options))


# Pairs


def test_pairs_are_matched_by_path_without_suffix(tmp_path):
    fill(tmp_path, "input/b.png", "input/deep/er/a.bmp", "target/deep/er/a.png", "target/b.tif")
    records = Folder(path=tmp_path).open()
    assert list(records.names) == ["b", "deep/er/a"]
    assert records.roles == {"input", "target"}
    assert records.sizes() == [(4, 6), (4, 6)]
    np.testing.assert_array_equal(records[0]["input"], noise(0))
    np.testing.assert_array_equal(records[0]["target"], noise(3))
    np.testing.assert_array_equal(records[1]["input"], noise(1))
    np.testing.assert_array_equal(records[-1]["target"], noise(2))


def test_a_dot_within_a_name_is_part_of_it(tmp_path):
    fill(tmp_path, "input/a.1.png", "input/a.2.png", "target/a.1.png", "target/a.2.png")
    assert list(Folder(path=tmp_path).open().names) == ["a.1", "a.2"]


def test_the_sub_folders_can_have_other_names(tmp_path):
    fill(tmp_path, "rainy/a.png", "clean/a.png")
    records = Folder(path=tmp_path, input="rainy", target="clean").open()
    assert set(records[0]) == records.roles == {"input", "target"}


def test_images_without_partner_are_counted_and_named_on_both_sides(tmp_path):
    inputs = [f"input/{n}.png" for n in "abcdef"]
    fill(tmp_path, *inputs, "target/a.png", "target/z.png")
    with pytest.raises(DataError, match=r"5 of 6 in .*input \(b, c, d, \.\.\.\), 1 of 2 in .*target \(z\)"):
        Folder(path=tmp_path).open()


def test_a_lone_side_is_named_even_where_the_other_fits(tmp_path):
    fill(tmp_path, "input/a.png", "target/a.png", "target/b.png")
    with pytest.raises(DataError, match=r"0 of 1 in .*input, 1 of 2 in .*target \(b\)"):
        Folder(path=tmp_path).open()


@pytest.mark.parametrize("side", ["input", "target"])
def test_one_sub_folder_without_the_other_is_an_error_that_names_the_missing_one(tmp_path, side):
    fill(tmp_path, f"{side}/a.png")
    missing = {"input": "target", "target": "input"}[side]
    with pytest.raises(DataError, match=f"{missing} is missing"):
        Folder(path=tmp_path).open()


def test_an_empty_sub_folder_is_an_error(tmp_path):
    fill(tmp_path, "input/a.png")
    (tmp_path / "target").mkdir()
    with pytest.raises(DataError, match=r"no images in .*target"):
        Folder(path=tmp_path).open()


def test_pairs_of_different_size_are_named(tmp_path):
    fill(tmp_path, "input/a.png", "input/b.png", "target/b.png")
    fill(tmp_path, "target/a.png", height=5)
    records = Folder(path=tmp_path).open()
    with pytest.raises(DataError, match=r"1 pairs differ in size \(a \[\(4, 6\), \(5, 6\)\]\)"):
        records.sizes()


# Clean photographs


def test_without_sub_folders_every_image_below_is_a_target(tmp_path):
    fill(tmp_path, "b.png", "a/c.tif", "a/d.jpg")
    records = Folder(path=tmp_path).open()
    assert list(records.names) == ["a/c", "a/d", "b"]
    assert records.roles == {"target"}
    assert set(records[2]) == {"target"}
    np.testing.assert_array_equal(records[2]["target"], noise(0))


@pytest.mark.parametrize("folder", ["", "input/", "target/"])
def test_two_images_of_one_name_are_an_error_that_names_both(tmp_path, folder):
    fill(tmp_path, f"{folder}a.png", f"{folder}a.jpg")
    if folder:
        fill(tmp_path, {"input/": "target/a.png", "target/": "input/a.png"}[folder])
    with pytest.raises(DataError, match=r"a\.jpg and .*a\.png have the same name 'a'"):
        Folder(path=tmp_path).open()


@pytest.mark.parametrize("path", ["nowhere", "~nobody-of-that-name/photos", "file.png"])
def test_a_path_that_is_no_folder_is_an_error(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    fill(tmp_path, "file.png")
    with pytest.raises(DataError, match="is no folder"):
        Folder(path=path).open()


def test_paths_start_at_the_working_directory_or_at_home(tmp_path, monkeypatch):
    fill(tmp_path, "photos/a.png")
    monkeypatch.chdir(tmp_path)
    assert list(Folder(path="photos").open().names) == ["a"]
    monkeypatch.chdir("/")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert list(Folder(path="~/photos").open().names) == ["a"]


def test_a_plain_path_in_a_spec_is_a_folder(tmp_path):
    fill(tmp_path, "a.png")
    assert resolve(Source, str(tmp_path)) == resolve(Source, tmp_path) == Folder(path=tmp_path)


# Records


def test_names_are_the_same_at_every_opening(tmp_path):
    fill(tmp_path, *(f"{n}/{m}.png" for n in "cab" for m in (10, 9, 1)))
    assert list(Folder(path=tmp_path).open().names) == list(Folder(path=tmp_path).open().names)


def test_a_corrupt_file_spoils_its_own_record_only(tmp_path):
    fill(tmp_path, "input/a.png", "input/b.png", "target/a.png", "target/b.png", "input/c.png", "target/c.png")
    (tmp_path / "input" / "b.png").write_bytes(b"")
    (tmp_path / "target" / "c.png").write_bytes((tmp_path / "target" / "c.png").read_bytes()[:60])
    records = Folder(path=tmp_path).open()
    assert records.sizes() == [(4, 6), None, (4, 6)]
    assert len(records) == 3
    assert records[0]["input"].shape == (4, 6, 3)
    for index, name in ((1, "input/b.png"), (2, "target/c.png")):
        with pytest.raises(DataError, match=name):
            records[index]


def test_a_slice_is_a_list_of_records_and_the_end_is_an_index_error(tmp_path):
    fill(tmp_path, "a.png", "b.png", "c.png")
    records = Folder(path=tmp_path).open()
    assert len(records[1:]) == 2
    np.testing.assert_array_equal(records[1:][1]["target"], noise(2))
    assert len(list(records)) == 3
    with pytest.raises(IndexError):
        records[3]


def test_every_kind_of_image_keeps_its_channels_and_bits(tmp_path):
    fill(tmp_path, "a.png", channels=1, dtype=np.uint16)
    fill(tmp_path, "b.png", channels=4)
    first, second = (record["target"] for record in Folder(path=tmp_path).open())
    assert (first.shape, first.dtype) == ((4, 6, 1), np.uint16)
    assert (second.shape, second.dtype) == ((4, 6, 4), np.uint8)


def test_an_image_is_decoded_once(tmp_path, monkeypatch):
    fill(tmp_path, "a.png")
    records = Folder(path=tmp_path).open()
    first = records[0]["target"]
    monkeypatch.setattr(images, "read", lambda path: pytest.fail("decoded again"))
    assert records[0]["target"] is first


def test_what_is_cached_cannot_be_written_to(tmp_path):
    fill(tmp_path, "a.png")
    with pytest.raises(ValueError, match="read-only"):
        Folder(path=tmp_path).open()[0]["target"][:] = 0


def test_the_cache_stays_within_its_budget(tmp_path):
    fill(tmp_path, *(f"{n}.png" for n in range(4)), height=512, width=256)  # 384 KiB each
    for cache_mb, kept in ((0, 0), (1, 2), (2, 4)):
        records = Folder(path=tmp_path, cache_mb=cache_mb).open()
        for _ in range(2):
            for number in range(4):
                np.testing.assert_array_equal(records[number]["target"], noise(number, height=512, width=256))
        again = [records[number]["target"] is records[number]["target"] for number in range(4)]
        assert again == [True] * kept + [False] * (4 - kept)


def test_records_travel_to_workers_without_their_cache(tmp_path):
    fill(tmp_path, "a.png", height=100, width=100)
    records = Folder(path=tmp_path).open()
    fresh = len(pickle.dumps(records))
    image = records[0]["target"]
    records.sizes()
    assert len(pickle.dumps(records)) < fresh + 100
    copy = pickle.loads(pickle.dumps(records))
    assert isinstance(copy, ImageFiles)
    assert (copy.names, copy.roles, copy.sizes()) == (records.names, records.roles, records.sizes())
    np.testing.assert_array_equal(copy[0]["target"], image)
    assert copy[0]["target"] is copy[0]["target"]


# Photographs


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setattr(socket, "socket", lambda *_, **__: pytest.fail("a network connection was tried"))


def test_the_splits_are_disjoint_and_fixed(offline):
    train, test = (Photos(images=split).open() for split in ("train", "test"))
    assert not set(train.names) & set(test.names)
    assert list(test.names) == ["astronaut", "chelsea"]
    assert len(train) == 11
    assert train.roles == test.roles == {"target"}
    assert Photos() == Photos(images="train")


EVERY = (
    *("astronaut", "brick", "camera", "cell", "chelsea", "clock", "coffee", "coins", "colorwheel", "grass", "gravel"),
    *("hubble_deep_field", "immunohistochemistry", "moon", "page", "retina", "rocket", "text", "motorcycle"),
)


@pytest.mark.parametrize("name", EVERY)
def test_a_photograph_is_that_of_scikit_image(offline, name):
    records = Photos(images=(name,)).open()
    image = records[0]["target"]
    expected = skimage.data.stereo_motorcycle()[0] if name == "motorcycle" else getattr(skimage.data, name)()
    np.testing.assert_array_equal(image, expected if expected.ndim == 3 else expected[..., None])
    assert image.dtype == np.uint8
    assert records.sizes() == [image.shape[:2]]
    assert list(records.names) == [name]


def test_photographs_come_in_the_order_given(offline):
    records = Photos(images=["rocket", "camera"]).open()
    assert [record["target"].shape[2] for record in records] == [3, 1]
    assert Photos(images="rocket") == Photos(images=("rocket",))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("astronot",), "unknown photograph 'astronot'; did you mean 'astronaut'"),
        ("trian", "did you mean 'train'"),
        (("coffee", "train"), "unknown photograph 'train'"),
        ((), "at least one"),
        (("moon", "moon"), "none twice"),
        (3, "given 3"),
    ],
)
def test_unknown_photographs_are_a_spec_error_with_a_suggestion(given, message):
    with pytest.raises(SpecError, match=message):
        Photos(images=given)


def test_photographs_travel_to_workers():
    records = pickle.loads(pickle.dumps(Photos(images="test").open()))
    assert records[1]["target"].shape == (300, 451, 3)


def test_the_sources_are_found_by_name(tmp_path):
    assert resolve(Source, {"name": "photos", "images": ["coffee"]}) == Photos(images=("coffee",))
    assert resolve(Source, {"name": "folder", "path": str(tmp_path)}) == Folder(path=tmp_path)


# Further roles, and tiles


def test_extras_of_a_folder_are_further_sub_folders_of_the_same_names(tmp_path):
    fill(tmp_path, "input/a.png", "target/a.png", "mask/a.bmp", "depth/a.png")
    assert Folder(path=tmp_path).open().roles == {"input", "target"}
    records = Folder(path=tmp_path, extras=["mask", "depth"]).open()
    assert records.roles == {"input", "target", "mask", "depth"}
    assert set(records[0]) == records.roles
    with pytest.raises(DataError, match="normal is missing; pairs need it"):
        Folder(path=tmp_path, extras=["normal"]).open()
    fill(tmp_path, "mask/b.png")
    with pytest.raises(DataError, match=r"no partner of the same name.*1 of 2 in .*mask \(b\)"):
        Folder(path=tmp_path, extras=["mask"]).open()


def test_a_folder_without_targets_gives_inputs_alone(tmp_path):
    fill(tmp_path, "raw/a.png", "raw/deep/b.png", "reference/a.png")
    records = Folder(path=tmp_path, input="raw", target=None).open()
    assert (records.names, records.roles) == (["a", "deep/b"], {"input"})
    assert Folder(path=tmp_path / "raw", input=".", target=None).open().names == records.names
    with pytest.raises(DataError, match="input is missing"):
        Folder(path=tmp_path, target=None).open()


def test_extras_of_arrays_are_further_arrays_of_the_file(tmp_path):
    mask = np.eye(6, dtype=np.uint8)[None].repeat(2, 0)
    np.savez(tmp_path / "a.npz", target=np.zeros((2, 6, 6, 3), np.uint8), mask=mask)
    source = {"name": "arrays", "path": tmp_path / "a.npz"}
    assert resolve(Source, source).open().roles == {"target"}
    np.testing.assert_array_equal(resolve(Source, source | {"extras": ["mask"]}).open()[1]["mask"], mask[1][..., None])
    with pytest.raises(DataError, match=r"holds \['mask', 'target'\]; `extras` names \['depth'\], too"):
        resolve(Source, source | {"extras": ["depth"]}).open()


def test_tiles_are_squares_row_by_row_and_image_after_image(tmp_path):
    for seed, size in enumerate([(5, 7), (4, 2)]):
        images.write(tmp_path / f"{seed}.png", noise(seed, *size))
    source = {"name": "tiles", "source": str(tmp_path), "size": 2}
    records = resolve(Source, source).open()
    assert list(records.names) == [*(f"0 {r},{c}" for r in (0, 1) for c in (0, 1, 2)), "1 0,0", "1 1,0"]
    assert records.sizes() == [(2, 2)] * 8
    np.testing.assert_array_equal(records[5]["target"], noise(0, 5, 7)[2:4, 4:6])
    np.testing.assert_array_equal(records[-1]["target"], noise(1, 4, 2)[2:4])
    part = resolve(Source, source | {"start": 5, "stop": 7}).open()
    assert list(part.names) == ["0 1,2", "1 0,0"]
    for keys in ({"start": 8}, {"size": 9}):
        with pytest.raises(DataError, match="leave none of . tiles of .x. pixels"):
            resolve(Source, source | keys).open()


# ------------------------------------------------------------------------------------- sources of others


class Odd(Source):
    """Whatever a test gives."""

    name: Literal["odd"] = "odd"
    given: Any = None

    def open(self):
        return self.given


class Rows(list):
    """A list with names, roles and sizes."""

    names, roles = ["a", "b"], frozenset({"target"})


def made(rows):
    class Mine(Rows, Records):
        def sizes(self):
            return [None] * len(self)

        def __getitem__(self, index):
            return list.__getitem__(self, index)

    return Mine(rows)


def test_what_a_source_opens_must_be_records():
    task = Paired(train=Odd(given=[{"target": 1}]), eval=Odd(), degradation="rain")
    with pytest.raises(
        DataError, match=r"source 'odd' must open to Records with names and roles; gave \[\{'target': 1\}\]"
    ):
        task.train_records()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (np.full((16, 16, 3), 1.5, np.float32), r"values span 1.5 .. 1.5; those of an image must be in \[0, 1\]"),
        (np.full((16, 16, 3), np.nan), r"values span nan .. nan"),
        (
            np.full((16, 16), 0.5, np.float32),
            r"an array \(16, 16\) where at least 8 x 8 and the channels, last, are needed",
        ),
        (np.full((3, 16, 16), 0.5, np.float32), r"an array \(3, 16, 16\) where at least 8 x 8"),
    ],
)
def test_examples_out_of_range_or_shape_are_left_out_and_told(row, message):
    good = np.full((16, 16, 3), 0.5, np.float32)
    task = Paired(train=Odd(given=made([{"target": row}, {"target": good}])), eval=Odd(), degradation="noise")
    examples = Examples(task, Training(crop=8))
    found = [examples[n] for n in range(2)]
    assert any(re.search(message, problem) for example in found for problem in example["problems"])
    with pytest.raises(DataError, match=message):
        Examples(
            Paired(train=Odd(given=made([{"target": row}] * 2)), eval=Odd(), degradation="noise"), Training(crop=8)
        )[0]
