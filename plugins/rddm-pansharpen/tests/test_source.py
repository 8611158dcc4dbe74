"""Scenes as examples, by Wald's protocol."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rddm_pansharpen.rasters import SAMPLE, read
from rddm_pansharpen.sources.pansharpen import Pansharpen
from rddm_pansharpen.wald import degraded, upsampled

from rddm import SpecError
from rddm.plugin import DataError
from rddm.testing import check

Make = Callable[..., Path]
Counts = Callable[..., np.ndarray]


@pytest.mark.parametrize("resolution", ["reduced", "full"])
@pytest.mark.parametrize("bands", [4, 8])
def test_it_keeps_the_contract_of_sources(scene: Make, resolution: str, bands: int) -> None:
    check(Pansharpen(path=scene(bands), tile=16, resolution=resolution))


def test_the_sample_keeps_the_contract_of_sources() -> None:
    check(Pansharpen(path=SAMPLE, pan=(1, 1, 1, 1), peak=5000, tile=100))


def test_at_reduced_resolution_the_target_is_ms_and_both_others_are_degraded(counts: Counts, scene: Make) -> None:
    records = Pansharpen(path=scene()).open()
    assert records.roles == {"target", "input", "pan"}
    record, ms, pan = records[0], counts(1, 48, 40, 4) / 2047, counts(2, 192, 160, 1) / 2047
    assert len(records) == 1
    assert np.allclose(record["target"], ms, atol=1e-6)
    assert np.allclose(record["pan"], degraded(pan, 4, 0.15), atol=1e-6)
    assert np.allclose(record["input"], np.clip(upsampled(degraded(ms, 4, 0.3), 4), 0, 1), atol=1e-6)


def test_at_full_resolution_there_is_no_target_and_nothing_is_degraded(counts: Counts, scene: Make) -> None:
    records = Pansharpen(path=scene(), resolution="full").open()
    assert records.roles == {"input", "pan"}
    record = records[0]
    assert np.allclose(record["pan"], counts(2, 192, 160, 1) / 2047, atol=1e-6)
    up = upsampled(counts(1, 48, 40, 4) / 2047, 4)
    assert np.allclose(record["input"], np.clip(up, 0, 1), atol=1e-6)


@pytest.mark.parametrize("resolution", ["reduced", "full"])
def test_tiles_lie_side_by_side_and_are_parts_of_the_whole(scene: Make, resolution: str) -> None:
    folder = scene()
    whole = Pansharpen(path=folder, resolution=resolution).open()[0]
    side = 16 if resolution == "reduced" else 64
    tiles = Pansharpen(path=folder, resolution=resolution, tile=side).open()
    assert len(tiles) == 3 * 2
    for name, tile in zip(tiles.names, tiles, strict=True):
        y, x = (int(part) for part in name.split("-")[-2:])
        for role in tiles.roles:
            assert np.allclose(tile[role], whole[role][y : y + side, x : x + side], atol=1e-5), role


def test_areas_that_do_not_overlap_share_no_pixel(write: Make, counts: Counts, scene: Make) -> None:
    folder = scene()
    before = Pansharpen(path=folder, area=(0, 0.5)).open()[0]
    changed = counts(1, 48, 40, 4)
    changed[24:] = 0
    write("ms/a.tif", changed, 8.0)
    after = Pansharpen(path=folder, area=(0, 0.5)).open()[0]
    assert all(np.array_equal(before[role], after[role]) for role in before)
    names = [Pansharpen(path=folder, area=area, tile=8).open().names for area in ((0, 0.5), (0.5, 1))]
    assert not set(names[0]) & set(names[1])
    assert len(names[0]) == len(names[1]) == 15


def test_bands_are_chosen_and_a_simulated_pan_is_their_weighted_mean() -> None:
    record = Pansharpen(path=SAMPLE, bands=(3, 2, 1, 4), pan=(3, 2, 1, 0), peak=5000).open()[0]
    stored = read(SAMPLE, (3, 2, 1, 4), slice(0, 300), slice(0, 300), 0.0) / 5000
    assert np.allclose(record["target"], stored, atol=1e-6)
    assert np.allclose(record["pan"][..., 0], (3 * stored[..., 0] + 2 * stored[..., 1] + stored[..., 2]) / 6, atol=1e-6)


def test_the_sample_is_blue_green_red_and_near_infrared() -> None:
    means = read(SAMPLE, None, slice(0, 300), slice(0, 300), 0.0).mean(axis=(0, 1))
    assert means == pytest.approx([496.145133, 711.303844, 849.725722, 2269.969344])  # as spyndex 0.12 ships it


def test_tiles_without_data_are_left_out_and_spoil_no_neighbours(write: Make, counts: Counts, scene: Make) -> None:
    folder, ms = scene(), counts(1, 48, 40, 4).astype(np.int16)
    ms[:3, :3] = -32768
    write("ms/a.tif", ms, 8.0, nodata=-32768)
    tiles = Pansharpen(path=folder, tile=8).open()
    assert len(tiles) == 29
    assert "a-00000-00000" not in tiles.names
    assert all(np.isfinite(tile["input"]).all() for tile in tiles)


@pytest.mark.parametrize(("resolution", "tile", "left"), [("reduced", 8, 15), ("full", 32, 15)])
def test_tiles_whose_pan_has_no_data_are_left_out(
    resolution: str, tile: int, left: int, write: Make, counts: Counts, scene: Make
) -> None:
    folder, pan = scene(), counts(2, 192, 160, 1)
    pan[:96] = 0
    write("pan/a.tif", pan, 2.0, nodata=0)
    tiles = Pansharpen(path=folder, tile=tile, resolution=resolution).open()
    assert len(tiles) == left
    assert min(tiles.names) == f"a-{tile * 3:05d}-00000"


@pytest.mark.parametrize("gains", [(0.3, 0.3, 0.3), (0.3,) * 5])
def test_there_are_as_many_gains_as_bands(gains: tuple[float, ...], scene: Make) -> None:
    with pytest.raises(DataError, match="one for each of 4 bands"):
        Pansharpen(path=scene(), mtf=gains).open()


def test_zero_and_peak_are_the_ends_of_the_range(counts: Counts, scene: Make) -> None:
    record = Pansharpen(path=scene(), zero=-2047, peak=4 * 2047).open()[0]
    assert np.allclose(record["target"], (counts(1, 48, 40, 4) / 2047 + 1) / 5, atol=1e-6)
    with pytest.raises(DataError, match=r"zero=0 .. peak=1000 are 0 .. 1; set zero and peak"):
        Pansharpen(path=scene(), peak=1000).open()[0]


def test_records_are_cached_but_not_sent_to_worker_processes(scene: Make) -> None:
    records = Pansharpen(path=scene()).open()
    assert records[0] is records[0]
    assert len(pickle.dumps(records)) < 10_000


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tile": 10}, "multiple of ratio=4"),
        ({"area": (0.5, 0.5)}, "rising pair"),
        ({"peak": 0}, "above zero=0"),
        ({"bands": (1, 2), "mtf": (0.3, 0.3, 0.3)}, "one for each of the 2 bands"),
        ({"mtf": 1.0}, "less than 1"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Pansharpen(path=SAMPLE, **given)


def test_files_that_do_not_fit_are_refused_in_words(write: Make, counts: Counts, scene: Make, tmp_path: Path) -> None:
    folder = scene()
    with pytest.raises(DataError, match="for ratio=2 it must be 96x80"):
        Pansharpen(path=folder, ratio=2).open()
    with pytest.raises(DataError, match=r"has 4 bands; asked for \[5\]"):
        Pansharpen(path=folder, bands=(5,)).open()[0]
    with pytest.raises(DataError, match="needs pan"):
        Pansharpen(path=SAMPLE).open()
    with pytest.raises(DataError, match="must be 4 weights"):
        Pansharpen(path=SAMPLE, pan=(1, 1, 1)).open()
    with pytest.raises(DataError, match="set resolution to reduced"):
        Pansharpen(path=SAMPLE, pan=(1, 1, 1, 1), resolution="full").open()
    with pytest.raises(DataError, match="must be a folder with ms/ and pan/"):
        Pansharpen(path=tmp_path / "nowhere").open()
    with pytest.raises(DataError, match="gives no tile of 64 pixels"):
        Pansharpen(path=folder, tile=64).open()
    write("ms/b.tif", counts(1, 48, 40, 4), 8.0)
    with pytest.raises(DataError, match="b are not in both"):
        Pansharpen(path=folder).open()
    write("pan/b.tif", counts(2, 192, 160, 1), 2.0, east=500_100)
    with pytest.raises(DataError, match="bring both to the same bounds"):
        Pansharpen(path=folder).open()
    write("pan/b.tif", counts(2, 192, 160, 1), 2.0, east=500_001)  # half a pixel, as Landsat's
    with pytest.raises(DataError, match="bring both to the same bounds"):
        Pansharpen(path=folder).open()
    write("pan/b.tif", counts(2, 192, 160, 1), 2.0, crs="EPSG:32632")
    with pytest.raises(DataError, match=r"is in EPSG:32632, and .* in EPSG:32631"):
        Pansharpen(path=folder).open()
    (folder / "ms" / "b.tif").write_text("no raster")
    with pytest.raises(DataError, match=r"cannot read .* as a raster"):
        Pansharpen(path=folder).open()
