"""Examples that tables name: lists of files in CSV, and tables of the package datasets."""

from __future__ import annotations

import csv
import pickle
import socket

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rddm.core import images
from rddm.core.errors import DataError, SpecError
from rddm.core.kinds import Source
from rddm.core.named import resolve
from rddm.sources.list import FileList
from rddm.tasks.paired import Paired
from rddm.testing import check


def noise(seed=0, height=4, width=6, channels=3, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (height, width, channels), dtype)


def table(file, *rows, encoding="utf-8"):
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding=encoding) as opened:
        csv.writer(opened).writerows(rows)
    return file


# ------------------------------------------------------------------------------------------------- list
def pairs(folder):
    for seed, name in enumerate(["noisy/a.png", "clean/one.png", "noisy/b.tif", "clean/two.png"]):
        images.write(folder / name, noise(seed))
    return table(
        folder / "pairs.csv",
        ["target", "input", "split"],
        ["clean/one.png", "noisy/a.png", "train"],
        ["clean/two.png", "noisy/b.tif", "test"],
    )


def test_each_row_is_an_example_named_by_its_target(tmp_path):
    records = FileList(path=pairs(tmp_path)).open()
    assert list(records.names) == ["clean/one", "clean/two"]
    assert records.roles == {"target", "input"}
    assert records.sizes() == [(4, 6), (4, 6)]
    np.testing.assert_array_equal(records[1]["input"], noise(2))
    np.testing.assert_array_equal(records[-1]["target"], noise(3))
    with pytest.raises(IndexError):
        records[2]


def test_columns_have_any_names_and_further_roles_and_others_are_passed_over(tmp_path):
    images.write(tmp_path / "m.png", noise(9, channels=1))
    images.write(tmp_path / "c.png", noise(8))
    file = table(tmp_path / "a.csv", ["id", "clean", "bad", "m", "iso"], ["night 1", "c.png", "c.png", "m.png", "100"])
    source = FileList(path=file, columns={"target": "clean", "input": "bad", "mask": "m", "name": "id"})
    records = source.open()
    assert (list(records.names), records.roles) == (["night 1"], {"target", "input", "mask"})
    np.testing.assert_array_equal(records[0]["mask"], noise(9, channels=1))
    task = Paired(train=source, eval=source, shown=[{"role": "mask"}])
    assert task.train_records().roles == records.roles


def test_clean_images_alone_need_no_input_and_a_column_name_names_them(tmp_path):
    images.write(tmp_path / "c.png", noise(8))
    records = FileList(path=table(tmp_path / "a.csv", ["name", "target"], ["x", "c.png"], ["y", "c.png"])).open()
    assert (list(records.names), records.roles) == (["x", "y"], {"target"})


def test_where_keeps_the_rows_of_a_split(tmp_path):
    file = pairs(tmp_path)
    assert list(FileList(path=file, where={"split": "test"}).open().names) == ["clean/two"]
    with pytest.raises(DataError, match=r"has 2 rows below its header, and none where \{'split': 'val'\}"):
        FileList(path=file, where={"split": "val"}).open()


def test_paths_start_at_the_csv_file_at_root_or_where_they_say(tmp_path, monkeypatch):
    pairs(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    assert len(FileList(path="data/pairs.csv").open()[0]["input"]) == 4
    table(tmp_path / "lists" / "a.csv", ["target"], ["clean/one.png"])
    records = FileList(path="lists/a.csv", root="data").open()
    assert list(records.names) == ["clean/one"]
    absolute = table(tmp_path / "lists" / "b.csv", ["target"], [str(tmp_path / "data" / "clean" / "two.png")])
    np.testing.assert_array_equal(FileList(path=absolute).open()[0]["target"], noise(3))


words = st.text(st.sampled_from("ab é'\",;#%\n "), min_size=1, max_size=8).filter(lambda text: text.strip(". "))


@given(st.sets(words, min_size=1, max_size=4), st.sampled_from(["utf-8", "utf-8-sig"]))
def test_paths_with_spaces_quotes_commas_and_accents_work(tmp_path_factory, names, encoding):
    folder = tmp_path_factory.mktemp("list")
    for name in names:
        images.write(folder / f"{name}.png", noise(len(name)))
    records = FileList(
        path=table(folder / "my list.csv", ["target"], *([f"{name}.png"] for name in sorted(names)), encoding=encoding)
    ).open()
    assert list(records.names) == sorted(names)
    for name, record in zip(records.names, records):
        np.testing.assert_array_equal(record["target"], noise(len(name)))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], r"has the columns \(none\), and not target"),
        ([["clean", "noisy"], ["a.png", "b.png"]], r"columns clean, noisy, and not target; .*columns=\{target: clean"),
        ([["target", "target"], ["a.png", "a.png"]], "names a column twice: target, target"),
        ([["target"]], "has 0 rows below its header"),
        (
            [["target", "input"], ["a.png", "a.png"], ["a.png"], ["a.png"] * 3],
            r"2 columns, .* 2 lines \(line 3, line 4\)",
        ),
        ([["target"], ["a.png"], ["a.png"]], "lines 2 and 3 have one name, 'a'; remove one, or add a column `name`"),
        (
            [["target", "input"], ["a.png", "b.png"], ["c.png", ""], ["d.png", "e.png"]],
            r"5 image files .*\(line 2: b.png, line 3: c.png, line 3: an empty input, ...\)",
        ),
    ],
)
def test_a_list_that_does_not_fit_is_refused_with_the_line(tmp_path, rows, message):
    images.write(tmp_path / "a.png", noise())
    with pytest.raises(DataError, match=message):
        FileList(path=table(tmp_path / "list.csv", *rows)).open()


def test_a_file_that_is_no_csv_is_a_data_error(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"target\n\xff\xfe\0")
    (tmp_path / "b.csv").write_text('target\n"a.png')
    (tmp_path / "c.csv").symlink_to(tmp_path / "c.csv")
    for name, problem in (("a", "utf-8"), ("b", "end of data"), ("c", "symbolic links"), ("none", "No such file")):
        with pytest.raises(DataError, match=rf"{name}\.csv cannot be read as CSV \(looked for /.*{problem}"):
            FileList(path=tmp_path / f"{name}.csv").open()


def test_columns_that_where_or_columns_name_must_be_there(tmp_path):
    file = pairs(tmp_path)
    for options in ({"where": {"part": "x"}}, {"columns": {"mask": "part"}}, {"columns": {"name": "part"}}):
        with pytest.raises(DataError, match="has the columns target, input, split, and not part"):
            FileList(path=file, **options).open()


def test_pairs_of_different_sizes_and_masks_of_another_size_are_named(tmp_path):
    file = pairs(tmp_path)
    images.write(tmp_path / "noisy" / "a.png", noise(height=5))
    with pytest.raises(DataError, match=r"1 pairs differ in size \(clean/one \[\(4, 6\), \(5, 6\)\]\)"):
        FileList(path=file).open().sizes()


def test_an_empty_image_file_spoils_its_own_row_only(tmp_path):
    file = pairs(tmp_path)
    (tmp_path / "noisy" / "a.png").write_bytes(b"")
    records = FileList(path=file).open()
    assert records.sizes() == [None, (4, 6)]
    assert records[1]["input"].shape == (4, 6, 3)
    with pytest.raises(DataError, match=r"noisy/a\.png as an image"):
        records[0]


def test_a_list_of_files_goes_to_workers_and_comes_back_from_a_spec(tmp_path):
    source = FileList(path=pairs(tmp_path), columns={"target": "target"}, where={"split": "train"})
    assert resolve(Source, source.model_dump(mode="json")) == source
    assert hash(resolve(Source, source.model_dump(mode="json"))) == hash(source)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source.open()))[0]["target"], noise(1))
    with pytest.raises(SpecError, match="colums: unknown key; did you mean 'columns'"):
        FileList(path="a.csv", colums={})


# --------------------------------------------------------------------------------------------- datasets
@pytest.fixture(scope="module")
def hf(tmp_path_factory):
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    before = datasets.config.HF_DATASETS_CACHE
    datasets.config.HF_DATASETS_CACHE = tmp_path_factory.mktemp("cache")
    yield datasets
    datasets.config.HF_DATASETS_CACHE = before


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a network connection was tried"))


def encoded(tmp_path, array, suffix=".png"):
    images.write(tmp_path / f"x{suffix}", array)
    return (tmp_path / f"x{suffix}").read_bytes()


def columns(hf, tmp_path):
    """Two rows in every kind of column, as (feature, cells, arrays)."""
    rgb, deep = [noise(n) for n in (0, 1)], [noise(n, dtype=np.uint16) for n in (2, 3)]
    many, grey = [noise(n, channels=7) for n in (4, 5)], [noise(n, channels=1)[..., 0] for n in (6, 7)]
    images.write(tmp_path / "outside.png", rgb[1])
    files = [{"bytes": encoded(tmp_path, rgb[0]), "path": None}, {"bytes": None, "path": str(tmp_path / "outside.png")}]
    nested = hf.List(hf.List(hf.Value("uint16")))
    return {
        "image": (hf.Image(), files, rgb),
        "deep": (hf.Image(), [{"bytes": encoded(tmp_path, array), "path": "x.png"} for array in deep], deep),
        "bytes": (hf.Value("binary"), [encoded(tmp_path, array, ".tif") for array in many], many),
        "array3": (hf.Array3D((4, 6, 7), "uint8"), many, many),
        "float": (
            hf.Array2D((4, 6), "float32"),
            [a / 255 for a in grey],
            [np.float32(a / 255)[..., None] for a in grey],
        ),
        "lists": (nested, [a.tolist() for a in grey], [a.astype(np.uint16)[..., None] for a in grey]),
        "fixed": (
            hf.List(hf.List(hf.Value("uint8"), length=6), length=4),
            [a.tolist() for a in grey],
            [a[..., None] for a in grey],
        ),
    }


def made(hf, tmp_path, **extra):
    found = columns(hf, tmp_path)
    features = hf.Features({name: feature for name, (feature, *_) in found.items()} | {"id": hf.Value("string")})
    cells = {name: cells for name, (_, cells, _) in found.items()} | {"id": ["x", "y"]}
    return hf.Dataset.from_dict(cells, features=features), {name: arrays for name, (*_, arrays) in found.items()}


def raw(data, file):
    """An arrow file without what paths lead to, which `save_to_disk` puts in."""
    pa = pytest.importorskip("pyarrow")
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, data.data.table.schema) as stream:
        stream.write_table(data.data.table)
    return str(file)


def written(data, folder):
    data.save_to_disk(folder / "disk")
    data.to_parquet(folder / "0.parquet")
    return {
        "disk": str(folder / "disk"),
        "parquet": str(folder / "0.parquet"),
        "arrow": raw(data, folder / "0.arrow"),
    }


@pytest.mark.parametrize("form", ["disk", "parquet", "arrow"])
def test_every_kind_of_column_is_read_with_all_its_bits_and_channels(hf, tmp_path, form):
    data, arrays = made(hf, tmp_path)
    path = written(data, tmp_path)[form]
    for name, expected in arrays.items():
        records = resolve(Source, {"name": "datasets", "path": path, "columns": {"target": name}}).open()
        assert list(records.names) == ["000000", "000001"]
        assert records.sizes() == [(4, 6), (4, 6)]
        for index in (0, 1, -1):
            np.testing.assert_array_equal(records[index]["target"], expected[index])
            assert records[index]["target"].dtype == expected[index].dtype
        with pytest.raises(IndexError):
            records[2]
        copy = pickle.loads(pickle.dumps(records))
        np.testing.assert_array_equal(copy[1]["target"], expected[1])
    assert len(pickle.dumps(records)) < 10_000  # the file's name goes to workers, not what is in it


def test_pairs_masks_and_names_are_columns_by_role(hf, tmp_path):
    data, arrays = made(hf, tmp_path)
    data = data.rename_columns({"image": "target", "deep": "input"})
    path = written(data, tmp_path)["disk"]
    records = resolve(Source, {"name": "datasets", "path": path}).open()
    assert records.roles == {"target", "input"}
    options = {"columns": {"mask": "lists", "name": "id"}}
    records = resolve(Source, {"name": "datasets", "path": path, **options}).open()
    assert (list(records.names), records.roles) == (["x", "y"], {"target", "input", "mask"})
    np.testing.assert_array_equal(records[1]["mask"], arrays["lists"][1])


def test_several_files_are_one_table_and_splits_are_named(hf, tmp_path):
    data, arrays = made(hf, tmp_path)
    for number in range(2):
        data.select([number]).to_parquet(tmp_path / f"train-{number:02}.parquet")
    for pattern in ("train-*.parquet", "train-{00..01}.parquet"):
        source = {"name": "datasets", "path": str(tmp_path / pattern), "columns": {"target": "array3"}}
        records = resolve(Source, source).open()
        np.testing.assert_array_equal(records[1]["target"], arrays["array3"][1])
    hf.DatasetDict({"train": data, "test": data.select([1])}).save_to_disk(tmp_path / "both")
    source = {"name": "datasets", "path": str(tmp_path / "both"), "columns": {"target": "array3"}}
    assert len(resolve(Source, source | {"split": "test"}).open()) == 1
    for split in (None, "val"):
        with pytest.raises(DataError, match=f"has the splits test, train; given split={split}"):
            resolve(Source, source | {"split": split}).open()
    with pytest.raises(DataError, match=r"has the splits \(none\); given split=train"):
        resolve(Source, source | {"path": str(tmp_path / "train-00.parquet"), "split": "train"}).open()


def test_a_row_that_is_no_image_spoils_itself_only_and_is_named(hf, tmp_path):
    cells = {
        "image": [{"bytes": b"", "path": None}, None, {"bytes": None, "path": "/gone.png"}],
        "float": [np.full((4, 6), value).tolist() for value in (np.nan, 0.5, 2.0)],
        "ragged": [[[1, 2], [3]], [[1], [2]], [[]]],
        "gap": [[[1, 2], [3, None]], [[1], [2]], None],
    }
    data = hf.Dataset.from_dict(
        cells,
        features=hf.Features(
            {
                "image": hf.Image(),
                "float": hf.List(hf.List(hf.Value("float32"))),
                "ragged": hf.List(hf.List(hf.Value("uint8"))),
                "gap": hf.List(hf.List(hf.Value("uint8"))),
            }
        ),
    )
    path = raw(data, tmp_path / "raw.arrow")

    def opened(column):
        return resolve(Source, {"name": "datasets", "path": path, "columns": {"target": column}}).open()

    for column, index, message in (
        ("image", 0, "image of row 0 as an image: not an image"),
        ("image", 1, "image of row 1 is empty"),
        ("image", 2, r"image of row 2 names the file /gone\.png, which cannot be read: No such file"),
        ("float", 0, "float of row 0: NaN, and values from nan to nan, allowed are 0 to 1"),
        ("float", 2, "float of row 2: values from 2 to 2, allowed are 0 to 1"),
        ("ragged", 0, r"ragged of row 0 holds lists of the lengths \[1, 2\]; rows must have one length"),
        ("gap", 0, "gap of row 0 has gaps: 1 numbers are missing"),
        ("gap", 2, "gap of row 2 is empty"),
    ):
        with pytest.raises(DataError, match=message):
            opened(column)[index]
    assert opened("image").sizes() == [None, None, None]
    assert opened("ragged").sizes() == [None, (2, 1), None]
    assert opened("float")[1]["target"].shape == (4, 6, 1)


def test_a_dataset_that_does_not_fit_is_refused(hf, tmp_path):
    data, _ = made(hf, tmp_path)
    path = written(data, tmp_path)["parquet"]
    (tmp_path / "empty.parquet").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.zip").write_bytes(b"")
    for options, message in (
        (
            {"path": str(tmp_path / "none.parquet")},
            r"no file is called \(.*none\.parquet\) \(1 such; working directory: /",
        ),
        ({"path": "imagenet-1k"}, r"no file is called \(imagenet-1k\)"),
        ({"path": str(tmp_path / "empty.parquet")}, "empty.parquet cannot be read by datasets"),
        ({"path": str(tmp_path / "folder")}, "folder cannot be read by datasets"),
        (
            {"path": str(tmp_path / "a.zip")},
            r"a\.zip is neither a folder that save_to_disk wrote, nor .parquet, nor .arrow",
        ),
        ({"path": path}, r"has the columns image, deep, .*, id, and not target; name those"),
        ({"path": path, "columns": {"target": "id"}}, r"neither encoded images nor lists of numbers \(id: string\)"),
    ):
        with pytest.raises(DataError, match=message):
            resolve(Source, {"name": "datasets", **options}).open()
    data.select([0, 0]).to_parquet(tmp_path / "twice.parquet")
    options = {"path": str(tmp_path / "twice.parquet"), "columns": {"target": "image", "name": "id"}}
    with pytest.raises(DataError, match=r"gives 1 names more than once \(x\); rename or remove some"):
        resolve(Source, {"name": "datasets", **options}).open()


def test_without_the_package_it_is_named_with_the_command(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    (tmp_path / "a.parquet").write_bytes(b"")
    with pytest.raises(DataError, match=r"needs the package datasets: pip install 'residual-diffusion\[datasets\]'"):
        resolve(Source, {"name": "datasets", "path": str(tmp_path / "a.parquet")}).open()


def test_lists_and_tables_keep_the_contract_of_a_source(hf, tmp_path):
    check(FileList(path=pairs(tmp_path), where={"split": "train"}))
    data, _ = made(hf, tmp_path)
    columns = {"target": "array3", "mask": "image"}
    check(resolve(Source, {"name": "datasets", "path": written(data, tmp_path)["disk"], "columns": columns}))
