"""Images in tar files on several disks."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given
from hypothesis import strategies as st

from rddm.core import images
from rddm.core.data import Examples, batches
from rddm.core.errors import DataError
from rddm.core.kinds import Source
from rddm.core.named import resolve
from rddm.core.spec import Training
from rddm.sources.webdataset import WebDataset
from rddm.tasks.paired import Paired
from rddm.testing import check


def noise(seed=0, height=4, width=6, channels=3, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (height, width, channels), dtype)


def content(folder, name, array):
    images.write(file := folder / f"one.{name.rpartition('.')[2]}", array)
    data = file.read_bytes()
    file.unlink()
    return data


def shard(file, members, form=tarfile.PAX_FORMAT):
    """A tar file of members given as bytes, or as images that are written as the name says."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w", format=form) as tar:
        for name, data in members.items():
            data = data if isinstance(data, bytes) else content(file.parent, name, data)
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return file


def pairs(file, seeds, **options):
    members = {}
    for seed in seeds:
        members |= {
            f"{seed:04}.input.png": noise(seed, **options),
            f"{seed:04}.target.png": noise(100 + seed, **options),
        }
    return shard(file, members)


def test_samples_are_members_of_one_key_with_roles_before_the_suffix(tmp_path):
    file = shard(
        tmp_path / "a.tar",
        {
            "0001.input.png": noise(0, dtype=np.uint16),
            "0001.json": b"{}",
            "0001.target.npy": noise(1, channels=6),
            "0001.mask.png": noise(2, channels=1),
            "deep/er/0002.target.jpg": noise(3),
            "./0003.txt": b"none",
            "deep/er/0002.input.TIF": noise(4),
            "._0001.input.png": b"rubbish",
        },
    )
    records = WebDataset(shards=str(file)).open()
    assert list(records.names) == ["a.tar/0001", "a.tar/deep/er/0002"]
    assert records.roles == {"input", "target"}
    assert records.sizes() == [(4, 6), (4, 6)]
    np.testing.assert_array_equal(records[0]["input"], noise(0, dtype=np.uint16))
    np.testing.assert_array_equal(records[0]["target"], noise(1, channels=6))
    np.testing.assert_array_equal(records[-1]["input"], noise(4))
    with pytest.raises(IndexError):
        records[2]


def test_columns_name_fields_by_role_and_a_member_without_field_is_a_target(tmp_path):
    members = {"a.hazy.png": noise(0), "a.gt.png": noise(1), "a.m.png": noise(2)}
    file = str(shard(tmp_path / "a.tar", members))
    records = WebDataset(shards=file, columns={"target": "gt", "input": "hazy", "mask": "m"}).open()
    assert records.roles == {"target", "input", "mask"}
    np.testing.assert_array_equal(records[0]["mask"], noise(2))
    clean = WebDataset(
        shards=str(shard(tmp_path / "b.tar", {"x.jpg": noise(0), "x.cls": b"3", "y.png": noise(1)}))
    ).open()
    assert (list(clean.names), clean.roles) == (["b.tar/x", "b.tar/y"], {"target"})
    with pytest.raises(DataError, match=r"such as KEY.target.png; the fields there are gt, hazy, m: name one by"):
        WebDataset(shards=file).open()


def test_shards_lie_on_several_disks_and_are_named_by_stars_and_ranges(tmp_path, monkeypatch):
    for number in range(3):
        pairs(tmp_path / "disk1" / f"{number:03}.tar", [number])
    pairs(tmp_path / "disk2" / "data 000.tar", [7, 8])
    monkeypatch.setenv("HOME", str(tmp_path))
    patterns = ["~/disk1/{000..002}.tar", f"{tmp_path}/disk2/*.tar", f"{tmp_path}/disk1/002.tar"]
    records = WebDataset(shards=patterns).open()
    assert list(records.names) == [
        *("000.tar/0000", "001.tar/0001", "002.tar/0002", "data 000.tar/0007", "data 000.tar/0008"),
    ]
    np.testing.assert_array_equal(records[3]["target"], noise(107))
    with pytest.raises(DataError, match=r"no file is called \(.*/disk1/003.tar, .*/disk3/\*\.tar\) \(2 such; working"):
        WebDataset(shards=["~/disk1/{002..003}.tar", f"{tmp_path}/disk3/*.tar"]).open()
    with pytest.raises(DataError, match=r"no file is called \(.*9\.\.1"):
        WebDataset(shards=f"{tmp_path}/{{9..1}}.tar").open()


def test_shards_of_one_name_on_two_disks_are_told_apart_by_their_folders(tmp_path):
    files = [str(pairs(tmp_path / disk / "0.tar", [1])) for disk in ("one", "two")]
    assert list(WebDataset(shards=files).open().names) == ["one/0.tar/0001", "two/0.tar/0001"]


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_long_names_are_found_in_every_format_of_tar(tmp_path, form):
    name = "/".join(["folder of thirty characters...."] * (3 if form == tarfile.USTAR_FORMAT else 9)) + "/0.png"
    records = WebDataset(shards=str(shard(tmp_path / "a.tar", {name: noise(0)}, form))).open()
    assert list(records.names) == [f"a.tar/{name.removesuffix('.png')}"]
    np.testing.assert_array_equal(records[0]["target"], noise(0))


def test_sizes_come_from_the_head_of_a_member_or_from_the_whole_where_it_stands_at_the_end(tmp_path):
    late = tmp_path / "late.tif"
    tifffile.imwrite(late, noise(0, 200, 300, 3), compression="zlib")
    head = late.read_bytes()
    start = int.from_bytes(head[4:8], "little")  # the directory, moved to the end
    moved = head[:4] + len(head).to_bytes(4, "little") + head[8:] + head[start:]
    big = noise(1, 300, 400, 3)
    file = shard(tmp_path / "a.tar", {"a.tif": moved, "b.png": big, "c.npy": big, "d.png": b""})
    assert len(moved) > 2**16
    assert WebDataset(shards=str(file)).open().sizes() == [(200, 300), (300, 400), (300, 400), None]


def test_samples_that_lack_a_role_and_doubled_members_are_refused(tmp_path):
    file = shard(tmp_path / "a.tar", {"a.input.png": noise(0), "a.target.png": noise(1), "b.target.png": noise(2)})
    with pytest.raises(DataError, match=r"1 of 2 samples lack one of target, input \(a\.tar/b\); add or remove some"):
        WebDataset(shards=str(file)).open()
    file = shard(tmp_path / "b.tar", {"a.target.png": noise(0), "a.target.jpg": noise(0)})
    with pytest.raises(DataError, match=r"b\.tar holds target of 'a' twice"):
        WebDataset(shards=str(file)).open()


@given(st.data())
def test_a_shard_cut_short_anywhere_is_refused_and_named(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("cut")
    good, bad = pairs(folder / "good.tar", [0]), pairs(folder / "bad.tar", [1, 2])
    with tarfile.open(bad) as tar:
        last = tar.getmembers()[-1]
    end = last.offset_data + -(-last.size // 512) * 512
    whole = bad.read_bytes()
    bad.write_bytes(whole[: data.draw(st.integers(0, end + 511))])
    with pytest.raises(
        DataError, match=r"1 of 2 shards cannot be read as uncompressed tar files \(.*bad\.tar: .*take them"
    ):
        WebDataset(shards=[str(good), str(bad)]).open()
    bad.write_bytes(whole[: end + 512])
    assert len(WebDataset(shards=[str(good), str(bad)]).open()) == 3


def test_damage_between_members_compression_and_other_files_are_refused_and_all_counted(tmp_path):
    good = pairs(tmp_path / "good.tar", [0, 1, 2])
    with tarfile.open(good) as tar:
        place = tar.getmembers()[2].offset
    content = bytearray(good.read_bytes())
    content[place + 10 : place + 300] = b"x" * 290
    (tmp_path / "middle.tar").write_bytes(content)
    (tmp_path / "zip.tar").write_bytes(gzip.compress(good.read_bytes()))
    (tmp_path / "text.tar").write_text("no tar")
    (tmp_path / "loop.tar").symlink_to(tmp_path / "loop.tar")
    (tmp_path / "folder.tar").mkdir()
    with pytest.raises(DataError, match=r"4 of 5 shards cannot be read .*\(.*folder\.tar.*, .*middle\.tar: .*, ...\)"):
        WebDataset(shards=f"{tmp_path}/[!l]*.tar").open()
    with pytest.raises(DataError, match=r"loop\.tar: Too many levels of symbolic links"):
        WebDataset(shards=f"{tmp_path}/loop.tar").open()


def test_a_damaged_image_spoils_its_own_sample_only_and_is_named(tmp_path):
    file = shard(
        tmp_path / "a.tar", {"a.png": noise(0), "b.png": b"", "c.png": content(tmp_path, "c.png", noise(1))[:60]}
    )
    records = WebDataset(shards=str(file)).open()
    assert records.sizes() == [(4, 6), None, (4, 6)]
    for index, key in ((1, "b"), (2, "c")):
        with pytest.raises(DataError, match=rf"cannot read {file}: target of a\.tar/{key} as an image"):
            records[index]
    file.unlink()
    with pytest.raises(DataError, match=r"a\.tar cannot be read: No such file"):
        records[0]


def test_workers_get_places_and_no_open_files(tmp_path):
    source = WebDataset(shards=str(pairs(tmp_path / "a.tar", range(5))))
    assert resolve(Source, source.model_dump(mode="json")) == source
    records = source.open()
    fresh = len(pickle.dumps(records))
    expected = records[3]["target"]
    assert len(pickle.dumps(records)) == fresh
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(records))[3]["target"], expected)


def test_examples_from_shards_are_those_of_a_folder_and_the_same_by_number_from_any_start(tmp_path):
    shards = [str(pairs(tmp_path / f"{number}.tar", [number], height=9, width=11)) for number in range(4)]
    for number in range(4):
        images.write(tmp_path / "folder" / "input" / f"{number}.png", noise(number, 9, 11))
        images.write(tmp_path / "folder" / "target" / f"{number}.png", noise(100 + number, 9, 11))
    training = Training(crop=8, batch_size=3)
    own, other = (
        Examples(Paired(train=source, eval=source), training)
        for source in ({"name": "webdataset", "shards": shards}, str(tmp_path / "folder"))
    )
    for number in (0, 3, 4, 17, 5):
        assert all(torch.equal(own[number][role], other[number][role]) for role in ("target", "input"))
    whole = [batch["input"] for batch in batches(own, 0, 5, 0, 1)]
    late = [batch["input"] for batch in batches(own, 3, 5, 0, 1)]
    assert all(torch.equal(one, two) for one, two in zip(whole[3:], late))


def test_shards_keep_the_contract_of_a_source(tmp_path):
    check(WebDataset(shards=str(pairs(tmp_path / "a.tar", range(3)))))
