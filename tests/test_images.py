"""Image files, arrays and tensors."""

import contextlib
import io
import os
import struct
import zlib
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from PIL.PngImagePlugin import putchunk

from rddm.core import images
from rddm.core.errors import DataError, OutputError, ShapeError

DTYPES = (np.uint8, np.uint16)
quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def shapes(channels):
    return st.tuples(st.integers(1, 9), st.integers(1, 9), channels)


def arrays(dtypes=DTYPES, channels=(1, 2, 3, 4)):
    kinds = st.tuples(st.sampled_from(dtypes), shapes(st.sampled_from(channels)))
    return kinds.flatmap(lambda kind: hnp.arrays(*kind))


def noise(height, width, channels, dtype=np.uint8, seed=0):
    top = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, top, (height, width, channels), dtype, endpoint=True)


def gradient(height, width, channels):
    ramp = np.add.outer(np.arange(height) * 2, np.arange(width))
    return np.stack([ramp + 20 * c for c in range(channels)], axis=2).astype(np.uint8)


# Tensors


@quick
@given(arrays())
def test_an_array_comes_back_from_its_tensor_exactly(array):
    tensor = images.to_tensor(array)
    assert tensor.dtype == torch.float32
    assert tensor.is_contiguous()
    assert tensor.shape == (array.shape[2], *array.shape[:2])
    assert tensor.min() >= 0
    assert tensor.max() <= 1
    np.testing.assert_array_equal(images.to_array(tensor, array.dtype.type), array)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_value_survives_the_round_trip(dtype):
    array = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(1, -1, 1)
    np.testing.assert_array_equal(images.to_array(images.to_tensor(array), dtype), array)


def test_values_are_rounded_to_the_nearest_and_clipped():
    tensor = torch.tensor([-1.0, 0.49 / 255, 0.51 / 255, 254.4 / 255, 254.6 / 255, 2.0, torch.inf]).view(1, 1, -1)
    assert images.to_array(tensor).ravel().tolist() == [0, 0, 1, 254, 255, 255, 255]


def test_half_precision_and_gradients_do_not_disturb_to_array():
    tensor = torch.ones(3, 2, 2, dtype=torch.bfloat16, requires_grad=True)
    assert (images.to_array(tensor, np.uint16) == 65535).all()


def test_nan_is_refused_not_painted():
    with pytest.raises(ShapeError, match="NaN"):
        images.to_array(torch.full((1, 2, 2), torch.nan))


def test_a_tensor_does_not_share_memory_with_its_array():
    array = np.zeros((2, 2, 1), np.float32)
    images.to_tensor(array).fill_(1)
    assert not array.any()


# Channels


@quick
@given(arrays(channels=(3,), dtypes=(np.uint8,)))
def test_luma_is_that_of_pillow(array):
    np.testing.assert_array_equal(images.as_channels(array, 1)[..., 0], np.asarray(Image.fromarray(array).convert("L")))


@pytest.mark.parametrize("dtype", [*DTYPES, np.float32])
def test_white_stays_white_and_black_black_in_grey(dtype):
    top = 1 if dtype == np.float32 else np.iinfo(dtype).max
    for value in (0, top):
        grey = images.as_channels(np.full((1, 2, 3), value, dtype), 1)
        assert grey.dtype == dtype
        assert (grey == value).all()


def test_luma_of_16_bits_is_a_weighted_mean():
    array = noise(9, 9, 3, np.uint16)
    exact = array @ np.array([0.299, 0.587, 0.114])
    assert np.abs(images.as_channels(array, 1)[..., 0] - exact).max() < 0.51 + 65535 / 2**16


@quick
@given(arrays())
def test_alpha_is_dropped_and_grey_repeated(array):
    rgb = images.as_channels(array, 3)
    assert rgb.shape == (*array.shape[:2], 3)
    if array.shape[2] < 3:
        assert (rgb == array[..., :1]).all()
    else:
        np.testing.assert_array_equal(rgb, array[..., :3])


def test_channels_that_already_fit_are_left_alone():
    array = noise(2, 2, 5)
    assert images.as_channels(array, 5) is array


@pytest.mark.parametrize(("have", "need"), [(5, 3), (5, 1), (3, 4), (1, 2), (4, 6)])
def test_any_other_change_of_channels_is_an_error_that_names_both(have, need):
    with pytest.raises(DataError, match=f"has {have} channels where {need} are needed"):
        images.as_channels(noise(2, 2, have), need)


@quick
@given(arrays(), st.sampled_from([1, 3]))
def test_a_model_that_changes_nothing_gives_the_file_back(array, channels):
    tensor, rest = images.for_model(array, channels)
    assert tensor.shape == (channels, *array.shape[:2])
    back = images.from_model(tensor, rest)
    assert back.dtype == array.dtype
    if channels == 3 or array.shape[2] < 3:
        np.testing.assert_array_equal(back, array)


def test_grey_comes_back_as_the_mean_of_the_restored_channels():
    _, rest = images.for_model(noise(2, 2, 1), 3)
    restored = torch.tensor([0.0, 30.0, 60.0]).view(3, 1, 1).expand(3, 2, 2) / 255
    np.testing.assert_array_equal(images.from_model(restored, rest), np.full((2, 2, 1), 30))


@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_passes_through_untouched_whatever_the_model_does(channels):
    array = noise(3, 4, channels, np.uint16)
    tensor, rest = images.for_model(array, 3)
    np.testing.assert_array_equal(images.from_model(1 - tensor, rest)[..., -1], array[..., -1])


def test_a_model_of_four_channels_sees_alpha_itself():
    array = noise(3, 4, 4)
    tensor, rest = images.for_model(array, 4)
    assert tensor.shape[0] == 4
    assert rest.alpha is None
    np.testing.assert_array_equal(images.from_model(tensor, rest), array)


def test_colour_through_a_grey_model_comes_back_grey():
    assert images.from_model(*images.for_model(noise(3, 4, 4), 1)).shape == (3, 4, 2)


def test_floating_point_comes_back_with_16_bits():
    array = np.full((2, 2, 1), 0.5, np.float32)
    assert images.from_model(*images.for_model(array, 3)).dtype == np.uint16


# Files: what is written is read back


@quick
@example(noise(1, 1, 1))
@example(noise(1, 1, 4, np.uint16))
@given(arrays())
@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF"])
def test_png_and_tiff_keep_every_channel_and_bit(tmp_path, suffix, array):
    path = tmp_path / f"image{suffix}"
    images.write(path, array)
    if suffix != ".png" and array.dtype == np.uint16 and array.shape[2] == 2:
        array = array[..., [0, 0, 0, 1]]
    assert images.size(path) == array.shape[:2]
    back = images.read(path)
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("suffix", [".bmp", ".jp2", ".ppm", ".qoi", ".tga"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_lossless_formats_of_8_bits_keep_the_colours(tmp_path, suffix, channels):
    if suffix == ".qoi" and "QOI" not in Image.SAVE:
        pytest.skip("this Pillow does not write it")
    array = noise(7, 5, channels)
    images.write(path := tmp_path / f"a{suffix}", array)
    back = images.read(path)
    np.testing.assert_array_equal(images.as_channels(back, 3), images.as_channels(array, 3))
    assert (back.shape[2] in (2, 4)) == (channels in (2, 4) and suffix not in (".bmp", ".ppm"))
    if back.shape[2] in (2, 4):
        np.testing.assert_array_equal(back[..., -1], array[..., -1])


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".webp", ".avif"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_lossy_formats_are_near(tmp_path, suffix, channels):
    if suffix not in images.suffixes() and suffix.islower():
        pytest.skip("this Pillow was built without it")
    array = gradient(32, 48, channels)
    images.write(path := tmp_path / f"a{suffix}", array)
    back = images.read(path)
    difference = images.as_channels(back, 3).astype(int) - images.as_channels(array, 3)
    assert np.abs(difference).mean() < 3
    assert back.shape[:2] == array.shape[:2]


def test_jpeg_is_written_at_quality_95(tmp_path):
    images.write(tmp_path / "a.jpg", gradient(8, 8, 3))
    Image.fromarray(gradient(8, 8, 3)).save(tmp_path / "b.jpg", quality=95)
    assert (tmp_path / "a.jpg").read_bytes() == (tmp_path / "b.jpg").read_bytes()


def test_16_bits_become_8_by_rounding_where_the_format_has_no_more(tmp_path):
    array = np.array([0, 128, 129, 385, 386, 65535], np.uint16).reshape(1, 6, 1)
    images.write(tmp_path / "a.bmp", array)
    assert images.read(tmp_path / "a.bmp").ravel().tolist() == [0, 0, 1, 1, 2, 255]


def test_a_16_bit_colour_file_is_what_others_read(tmp_path):
    array = noise(6, 7, 3, np.uint16)
    images.write(tmp_path / "a.tif", array)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), array)
    images.write(tmp_path / "a.png", array)
    with Image.open(tmp_path / "a.png") as image:
        image.verify()


def test_parents_are_made_and_an_older_file_replaced(tmp_path):
    path = tmp_path / "new" / "folder" / "a.png"
    for seed in (0, 1):
        images.write(path, noise(3, 3, 3, seed=seed))
    np.testing.assert_array_equal(images.read(path), noise(3, 3, 3, seed=1))
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", ["a", "a.gif", "a.pdf", "a.mp4", ".png"])
def test_a_suffix_that_cannot_be_written_is_an_error_that_lists_those_that_can(tmp_path, name):
    with pytest.raises(OutputError, match=r"\.png"):
        images.write(tmp_path / name, noise(2, 2, 3))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "array",
    [np.zeros((2, 2), np.uint8), np.zeros((2, 2, 5), np.uint8), np.zeros((2, 2, 3), np.float32)],
    ids=["two dimensions", "five channels", "float"],
)
def test_an_array_that_is_no_image_is_refused(tmp_path, array):
    with pytest.raises(ShapeError, match="uint8 or uint16; given"):
        images.write(tmp_path / "a.png", array)


def test_a_folder_that_cannot_be_written_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path / "file" / "a.png", tmp_path / "file" / "deep" / "a.png"):
        with pytest.raises(OutputError, match="file"):
            images.write(path, noise(2, 2, 3))
    (tmp_path / "a.png").mkdir()
    with pytest.raises(OutputError, match=r"a\.png"):
        images.write(tmp_path / "a.png", noise(2, 2, 3))
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("name", ["a.pfm", "a.pbm"])
def test_what_pillow_would_write_as_another_format_becomes_png(tmp_path, name):
    assert images.result_name(Path(name)) == Path(f"{name}.png")
    with pytest.raises(OutputError, match="cannot write"):
        images.write(tmp_path / name, noise(3, 3, 3))


@pytest.mark.parametrize("dtype", [np.float16, ">f4", ">u2", np.float64, "<u2"])
def test_arrays_of_any_precision_and_byte_order_become_tensors(dtype):
    array = np.array([[[0], [1]]]).astype(dtype)
    top = 1 if array.dtype.kind == "f" else 65535
    assert images.to_tensor(array * array.dtype.type(top)).tolist() == [[[0.0, 1.0]]]


def test_what_is_out_of_range_by_rounding_is_clipped_and_by_more_refused():
    assert images.to_tensor(np.array([[[1 + 1e-7], [-1e-7]]])).tolist() == [[[1.0, 0.0]]]
    with pytest.raises(DataError, match=r"values span -0.001 .. 0.5"):
        images.to_tensor(np.array([[[0.5], [-0.001]]]))


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("cannot"), KeyboardInterrupt()])
@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, name, error):
    images.write(path := tmp_path / name, noise(3, 3, 3))
    before = path.read_bytes()

    def save(self, target, *_, **__):
        Path(target).write_bytes(b"half")
        raise error

    monkeypatch.setattr(Image.Image, "save", save)
    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else OutputError):
        images.write(path, noise(3, 3, 3, seed=1))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OutputError, match="No space left on device"):
        images.write(tmp_path / "a.png", noise(3, 3, 3))
    assert not list(tmp_path.iterdir())


# Files of others


def png(path, chunks):
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, data in chunks:
            putchunk(file, name, data)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png_is_read_exactly_under_every_filter(tmp_path, channels):
    array = noise(11, 6, channels, np.uint16)
    bpp, before, rows = 2 * channels, bytes(12 * channels), b""
    for number, row in enumerate(array.astype(">u2")):
        line, kind = row.tobytes(), number % 5
        out = bytearray([kind])
        for i, value in enumerate(line):
            a, b, c = (line[i - bpp], before[i], before[i - bpp]) if i >= bpp else (0, before[i], 0)
            paeth = min((a, b, c), key=lambda near, at=a + b - c: abs(at - near))
            out.append((value - (0, a, b, (a + b) // 2, paeth)[kind]) % 256)
        before, rows = line, rows + out
    header = struct.pack(">2I5B", 6, 11, 16, (0, 4, 2, 6)[channels - 1], 0, 0, 0)
    png(tmp_path / "a.png", [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")])
    np.testing.assert_array_equal(images.read(tmp_path / "a.png"), array)


TIFF = {
    "little endian": {},
    "big endian": {"byteorder": ">"},
    "deflate": {"compression": "zlib"},
    "deflate, big endian": {"compression": "zlib", "byteorder": ">"},
    "deflate, predictor": {"compression": "zlib", "predictor": True},
    "strips": {"rowsperstrip": 5},
    "tiles": {"tile": (16, 16)},
    "big": {"bigtiff": True},
}


@pytest.mark.parametrize("options", TIFF.values(), ids=TIFF)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bit_tiff_is_read_exactly_in_every_layout(tmp_path, channels, options):
    array = noise(37, 45, channels, np.uint16)
    colours = {"photometric": "minisblack" if channels == 1 else "rgb", "planarconfig": "contig"}
    extra = ["unassalpha"] if channels == 4 else None
    data = array[..., 0] if channels == 1 else array
    colours = {} if channels == 1 else colours
    tifffile.imwrite(tmp_path / "a.tif", data, extrasamples=extra, **colours, **options)
    assert images.size(tmp_path / "a.tif") == (37, 45)
    np.testing.assert_array_equal(images.read(tmp_path / "a.tif"), array)


@pytest.mark.parametrize("dtype", [*DTYPES, np.float32])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_tiff_whose_zero_is_white_is_turned_over(tmp_path, compression, dtype):
    top = 1 if dtype == np.float32 else np.iinfo(dtype).max
    array = np.array([[0, 1, top]], dtype)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="miniswhite", compression=compression)
    np.testing.assert_array_equal(images.read(tmp_path / "a.tif")[..., 0], top - array)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_16_bit_tiff_in_planes_is_read_exactly(tmp_path, compression):
    array = noise(9, 8, 3, np.uint16)
    planes = np.moveaxis(array, 2, 0)
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="rgb", planarconfig="separate", compression=compression)
    np.testing.assert_array_equal(images.read(tmp_path / "a.tif"), array)


@pytest.mark.parametrize("name", ["a.tif", "a.pfm"])
def test_floating_point_grey_in_the_unit_interval_is_kept(tmp_path, name):
    array = np.random.default_rng(0).random((4, 5), np.float32)
    Image.fromarray(array).save(tmp_path / name)
    back = images.read(tmp_path / name)
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back[..., 0], array)


@pytest.mark.parametrize("value", [-0.5, 1.5, 255.0, np.nan])
def test_floating_point_outside_the_unit_interval_is_refused(tmp_path, value):
    Image.fromarray(np.full((2, 2), value, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match="allowed are 0 to 1"):
        images.read(tmp_path / "a.tif")


def test_32_bit_integers_are_read_where_16_bits_would_do(tmp_path):
    for top, fits in ((65535, True), (65536, False)):
        Image.fromarray(np.array([[0, top]], np.int32)).save(tmp_path / "a.tif")
        if fits:
            assert images.read(tmp_path / "a.tif").ravel().tolist() == [0, top]
        else:
            with pytest.raises(DataError, match="allowed are 0 to 65535"):
                images.read(tmp_path / "a.tif")


def test_16_bit_pgm_is_kept(tmp_path):
    (tmp_path / "a.pgm").write_bytes(b"P5 2 1 65535\n" + struct.pack(">2H", 258, 65535))
    array = images.read(tmp_path / "a.pgm")
    assert (array.dtype, array.ravel().tolist()) == (np.uint16, [258, 65535])


@pytest.mark.parametrize(
    ("mode", "suffix", "channels"),
    [
        *[("1", ".png", 1), ("L", ".png", 1), ("LA", ".png", 2), ("RGB", ".png", 3), ("RGBA", ".png", 4)],
        *[("P", ".png", 3), ("P", ".gif", 3), ("P", ".bmp", 3), ("PA", ".tif", 4), ("RGBX", ".tif", 4)],
        *[("CMYK", ".jpg", 3), ("CMYK", ".tif", 3), ("YCbCr", ".jpg", 3), ("YCbCr", ".tif", 3), ("LAB", ".tif", 3)],
        *[("L", ".jpg", 1), ("L", ".gif", 3), ("RGB", ".pcx", 3), ("RGBA", ".sgi", 4), ("RGBA", ".dds", 4)],
    ],
)
def test_every_mode_becomes_grey_or_rgb_with_or_without_alpha(tmp_path, mode, suffix, channels):
    wide = gradient(24, 36, 3)
    wide = np.repeat(wide[..., :1], 3, axis=2) if mode in ("1", "L", "LA") else wide
    image = Image.fromarray(wide[..., 0] if mode in ("1", "L", "LA") else wide)
    if mode == "LAB":
        image = ImageCms.profileToProfile(
            image, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
        )
    elif mode in ("P", "PA"):
        image = image.quantize()
    image = image.convert(mode) if image.mode != mode else image
    options = {"compression": "jpeg", "quality": 95} if (mode, suffix) == ("YCbCr", ".tif") else {}
    image.save(path := tmp_path / f"a{suffix}", **options)
    array = images.read(path)
    assert array.shape == (24, 36, channels)
    assert array.dtype == np.uint8
    assert images.size(path) == (24, 36)
    if mode != "1":
        assert np.abs(images.as_channels(array, 3).astype(int) - wide).mean() < 4


@pytest.mark.parametrize("suffix", [".png", ".gif"])
def test_a_palette_with_transparency_becomes_rgba(tmp_path, suffix):
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putdata([0, 1])
    image.save(path := tmp_path / f"a{suffix}", transparency=1)
    assert images.read(path).tolist() == [[[255, 0, 0, 255], [0, 0, 255, 0]]]


def test_a_palette_with_many_alphas_becomes_rgba(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putdata([0, 1])
    image.save(tmp_path / "a.png", transparency=bytes([7, 200]))
    assert images.read(tmp_path / "a.png").tolist() == [[[255, 0, 0, 7], [0, 0, 255, 200]]]


@pytest.mark.parametrize(("mode", "key", "channels"), [("L", 9, 2), ("RGB", (9, 9, 9), 4)])
def test_a_transparent_key_colour_becomes_alpha(tmp_path, mode, key, channels):
    image = Image.new(mode, (2, 1), key)
    image.putpixel((1, 0), 8 if mode == "L" else (8, 8, 8))
    image.save(tmp_path / "a.png", transparency=key)
    array = images.read(tmp_path / "a.png")
    assert array.shape[2] == channels
    assert array[..., -1].tolist() == [[0, 255]]


def test_black_and_white_becomes_0_and_255(tmp_path):
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "a.png")
    assert images.read(tmp_path / "a.png").ravel().tolist() == [255, 0]


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".tif"])
def test_of_an_animation_the_first_frame_is_read(tmp_path, suffix):
    frames = [Image.new("RGB", (16, 8), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(path := tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:])
    array = images.read(path)
    assert array.shape[:2] == images.size(path) == (8, 16)
    assert np.abs(array[..., :3].astype(int) - [255, 0, 0]).max() < 4


UPRIGHT = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: np.rot90,
    9: lambda a: a,
}


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_is_applied_and_the_size_is_after_it(tmp_path, suffix, orientation):
    if (suffix, orientation) == (".tif", 9):
        pytest.skip("not a TIFF orientation")
    array = np.zeros((16, 32, 3), np.uint8)
    array[:8, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(array).save(path := tmp_path / f"a{suffix}", exif=exif)
    expected = UPRIGHT[orientation](array)
    assert images.size(path) == expected.shape[:2]
    assert np.abs(images.read(path).astype(int) - expected).mean() < 4


@pytest.mark.parametrize("orientation", [3, 6, 7])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_16_bit_tiff_is_turned_upright(tmp_path, orientation, channels):
    array = noise(4, 6, channels, np.uint16)
    data = array[..., 0] if channels == 1 else array
    tifffile.imwrite(tmp_path / "a.tif", data, extratags=[(274, "H", 1, orientation, True)])
    assert images.size(tmp_path / "a.tif") == UPRIGHT[orientation](array).shape[:2]
    np.testing.assert_array_equal(images.read(tmp_path / "a.tif"), UPRIGHT[orientation](array))


def test_damaged_exif_does_not_spoil_a_sound_image(tmp_path):
    Image.fromarray(gradient(8, 9, 3)).save(tmp_path / "a.jpg", exif=b"Exif\0\0garbage")
    assert images.read(tmp_path / "a.jpg").shape == (8, 9, 3)


def test_the_content_decides_not_the_suffix(tmp_path):
    images.write(tmp_path / "a.png", gradient(8, 9, 3))
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert images.read(tmp_path / "a.jpg").shape == (8, 9, 3)


def test_the_size_is_read_without_the_pixels(tmp_path, monkeypatch):
    for suffix in (".png", ".jpg", ".tif", ".webp"):
        images.write(path := tmp_path / f"a{suffix}", gradient(8, 9, 3))
        monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("decoded"))
        assert images.size(path) == (8, 9)
        monkeypatch.undo()


# Damage


BAD = {
    "nothing": b"",
    "text": b"This is no image.\n",
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD)
@pytest.mark.parametrize("function", [images.read, images.size])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_what_is_not_an_image_is_a_data_error_that_names_it(tmp_path, function, content, suffix):
    (path := tmp_path / f"bad{suffix}").write_bytes(content)
    with pytest.raises(DataError, match=r"cannot read .*bad\.\w+ as an image: not an image"):
        function(path)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp", ".bmp", ".gif", ".tga", ".jp2", ".avif", ".ppm"])
def test_a_truncated_file_is_a_data_error(tmp_path, suffix, dtype):
    if suffix not in images.suffixes():
        pytest.skip("this Pillow was built without it")
    array = noise(40, 50, 3, dtype)
    path = tmp_path / f"a{suffix}"
    if suffix == ".gif":
        Image.fromarray(noise(40, 50, 3)).save(path)
    else:
        images.write(path, array)
    whole = path.read_bytes()
    for share in (0.05, 0.3, 0.6):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(DataError, match=path.name):
            images.read(path)


@quick
@given(st.data())
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp", ".bmp"])
def test_whatever_bytes_are_damaged_it_reads_or_is_a_data_error(tmp_path, suffix, data):
    images.write(path := tmp_path / f"a{suffix}", gradient(9, 7, 3))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    for function in (images.size, images.read):
        with contextlib.suppress(DataError):
            function(path)


@pytest.mark.parametrize("limit", [500, 100])  # Pillow warns above the limit, and raises above twice of it
@pytest.mark.parametrize("function", [images.read, images.size])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_an_image_above_the_limit_of_pillow_is_refused(tmp_path, monkeypatch, function, limit, suffix):
    images.write(path := tmp_path / f"big{suffix}", gradient(30, 30, 3))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(DataError, match=rf"big.* {limit} pixels; if it is sound, set .* RDDM_MAX_PIXELS"):
        function(path)


def test_a_missing_or_forbidden_file_says_so(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"gone\.png as an image: No such file"):
        images.read(tmp_path / "gone.png")
    with pytest.raises(DataError, match="Is a directory"):
        images.read(tmp_path)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(DataError, match="Permission denied"):
        images.size(tmp_path / "a.png")


# Finding


def test_the_suffixes_are_raster_formats():
    assert {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".ppm", ".pgm"} <= images.suffixes()
    assert not {".pdf", ".ps", ".eps", ".mpg", ".h5", ".fits", ".wmf"} & images.suffixes()
    assert all(suffix == suffix.lower() for suffix in images.suffixes())


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def found(folder):
    return [path.relative_to(folder).as_posix() for path in images.find(folder)]


def test_images_are_found_at_every_depth_in_a_stable_order(tmp_path):
    touch(tmp_path, "b.PNG", "a/z.jpg", "a/b/c.tif", "a.png", "c/d.webp", "notes.txt", "film.mpg", "png")
    assert found(tmp_path) == ["a/b/c.tif", "a/z.jpg", "a.png", "b.PNG", "c/d.webp"]


def test_hidden_files_and_folders_are_passed_over(tmp_path):
    touch(tmp_path, ".hidden.png", "._a.png", ".cache/a.png", "a.png")
    assert found(tmp_path) == ["a.png"]


def test_links_are_followed_without_end_or_repetition(tmp_path):
    touch(tmp_path, "elsewhere/x.png", "data/a/y.png")
    (tmp_path / "data" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "a" / "up").symlink_to(tmp_path / "data")
    (tmp_path / "elsewhere" / "self").symlink_to(tmp_path / "elsewhere")
    assert found(tmp_path / "data") == ["a/y.png", "link/x.png"]


def test_a_folder_without_images_is_an_error_that_says_what_counts(tmp_path):
    touch(tmp_path, "readme.txt")
    with pytest.raises(DataError, match=r"no images in .* \.png"):
        images.find(tmp_path)


def test_a_missing_folder_and_a_file_are_errors_that_name_them(tmp_path):
    with pytest.raises(DataError, match="gone: No such file or directory; give the path of a folder"):
        images.find(tmp_path / "gone")
    touch(tmp_path, "a.png")
    with pytest.raises(DataError, match=r"a\.png: Not a directory"):
        images.find(tmp_path / "a.png")


# Arrays: .npy, many channels, floating point


@quick
@given(arrays(channels=(1, 2, 3, 4, 5, 8)))
@pytest.mark.parametrize("suffix", [".npy", ".tif"])
def test_npy_and_tiff_keep_any_number_of_channels_and_every_bit(tmp_path, suffix, array):
    images.write(path := tmp_path / f"a{suffix}", array)
    back = images.read(path)
    if suffix == ".tif" and array.dtype == np.uint16 and array.shape[2] == 2:
        array = array[..., [0, 0, 0, 1]]  # as documented
    np.testing.assert_array_equal(back, array)
    assert (back.dtype, images.size(path)) == (array.dtype, array.shape[:2])


LAYOUTS = {
    "pixels": {"photometric": "minisblack", "planarconfig": "contig"},
    "planes": {"photometric": "minisblack", "planarconfig": "separate"},
    "colour": {"photometric": "rgb", "planarconfig": "contig", "extrasamples": ["unspecified"]},
    "deflate": {"photometric": "minisblack", "planarconfig": "contig", "compression": "zlib"},
    "tiles": {"photometric": "minisblack", "planarconfig": "contig", "tile": (16, 16)},
    "big-endian": {"photometric": "minisblack", "planarconfig": "contig", "byteorder": ">"},
    "bigtiff": {"photometric": "minisblack", "planarconfig": "contig", "bigtiff": True},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 8, 13])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
def test_tiff_of_other_programs_is_read_with_all_its_channels(tmp_path, layout, channels, dtype):
    options = LAYOUTS[layout]
    if channels == 1:
        options = {key: value for key, value in options.items() if key not in ("planarconfig", "extrasamples")}
    if layout == "colour" and channels != 4:
        options = options | {"photometric": "minisblack"}
        options.pop("extrasamples", None)
    array = noise(19, 23, channels).astype(dtype)
    array = array / np.array(255, dtype) if dtype().dtype.kind == "f" else array
    data = array[..., 0] if channels == 1 else array
    data = np.moveaxis(data, 2, 0) if layout == "planes" and channels > 1 else data
    tifffile.imwrite(tmp_path / "a.tif", data, **options)
    back = images.read(tmp_path / "a.tif")
    assert images.size(tmp_path / "a.tif") == (19, 23)
    np.testing.assert_array_equal(back, array.astype(np.float32) if dtype().dtype.kind == "f" else array)
    assert back.dtype == (np.float32 if dtype().dtype.kind == "f" else dtype)


@pytest.mark.parametrize("orientation", [1, 3, 6, 7])
def test_a_tiff_of_many_channels_is_turned_upright(tmp_path, orientation):
    array, tag = noise(4, 6, 7), [(274, "H", 1, orientation, True)]
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", planarconfig="contig", extratags=tag)
    assert images.size(tmp_path / "a.tif") == UPRIGHT.get(orientation, lambda a: a)(array).shape[:2]
    np.testing.assert_array_equal(images.read(tmp_path / "a.tif"), UPRIGHT.get(orientation, lambda a: a)(array))


def test_an_array_that_tifffile_spread_over_pages_is_refused_with_how_to_save_it(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", noise(6, 7, 5))
    for function in (images.read, images.size):
        with pytest.raises(DataError, match=r"a\.tif .*\(6, 7, 5\) over several pages; .*planarconfig='contig'"):
            function(tmp_path / "a.tif")


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "?", "<f2", "f4", ">f4", "f8"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 1), (3, 5, 6), (1, 1), (1, 1, 4)])
def test_npy_is_read_in_any_order_of_bytes_and_axes(tmp_path, dtype, order, shape):
    array = np.asarray(np.random.default_rng(0).random(shape) * (1 if "f" in dtype or dtype == "?" else 255))
    array = np.asarray((array > 0.5) if dtype == "?" else array.astype(dtype), order=order)
    np.save(tmp_path / "a.npy", array)
    back, (height, width) = images.read(tmp_path / "a.npy"), images.size(tmp_path / "a.npy")
    kind = {"u": np.uint16 if "2" in dtype else np.uint8, "f": np.float32, "b": np.uint8}[array.dtype.kind]
    assert (back.dtype, back.shape) == (kind, (*shape, 1)[:3])
    assert (height, width) == shape[:2]
    np.testing.assert_array_equal(back.reshape(shape), array.astype(kind) * (255 if dtype == "?" else 1))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([[0.5, np.nan]]), r"NaN, and values from 0.5 to 0.5, allowed are 0 to 1"),
        (np.array([[0.5, np.inf]]), r"values from 0.5 to inf"),
        (np.array([[-0.25, 2]]), r"values from -0.25 to 2, allowed are 0 to 1"),
        (np.array([[1, 2]]), r"int64, allowed are uint8, uint16, bool, and floating point in \[0, 1\]"),
        (np.zeros(3), r"shape \(3,\), where an image is \(H, W\) or \(H, W, C\)"),
        (np.zeros((2, 3, 4, 5)), r"shape \(2, 3, 4, 5\)"),
        (np.zeros((0, 3, 4)), r"shape \(0, 3, 4\)"),
        (np.array([["a"]]), "<U1"),
        (np.array([[{}]], object), "allow_pickle"),
    ],
)
def test_an_array_that_is_no_image_in_the_unit_interval_is_a_data_error_with_name_and_range(tmp_path, array, message):
    np.save(tmp_path / "bad.npy", array)
    with pytest.raises(DataError, match=rf"bad\.npy.*{message}"):
        images.read(tmp_path / "bad.npy")


@pytest.mark.parametrize("bad", [np.nan, -0.5, 1.5])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_a_float_tiff_outside_the_unit_interval_is_refused_with_name_and_range(tmp_path, bad, channels):
    array = np.full((3, 4, channels), 0.5, np.float32)
    array[1, 2, -1] = bad
    data, options = (array[..., 0], {}) if channels == 1 else (array, {"planarconfig": "contig"})
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="minisblack", **options)
    with pytest.raises(DataError, match=r"a\.tif .*values from .*, allowed are 0 to 1"):
        images.read(tmp_path / "a.tif")


def test_a_truncated_npy_is_a_data_error(tmp_path):
    images.write(path := tmp_path / "a.npy", noise(40, 50, 5))
    whole = path.read_bytes()
    for share in (0, 0.01, 0.6):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(DataError, match=r"a\.npy"):
            images.read(path)


def big_png(height, width):
    """A PNG without pixels."""
    out = io.BytesIO()
    out.write(b"\x89PNG\r\n\x1a\n")
    putchunk(out, b"IHDR", struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0))
    putchunk(out, b"IDAT", zlib.compress(b"\0"))
    putchunk(out, b"IEND", b"")
    return out.getvalue()


def big_files(folder):
    (folder / "a.png").write_bytes(big_png(30_000, 30_000))
    with (folder / "b.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (30_000, 30_000)})
    images.write(folder / "c.tif", noise(2, 2, 5))
    with tifffile.TiffFile(folder / "c.tif", mode="r+") as file:
        for side in ("ImageWidth", "ImageLength"):
            file.pages[0].tags[side].overwrite(30_000)
    return sorted(folder.iterdir())


def test_30_000_pixels_a_side_are_refused_by_the_header_with_the_setting_that_allows_them(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)  # which the variable changes
    files = big_files(tmp_path)
    for file in files:
        for function in (images.read, images.size):
            with pytest.raises(DataError, match=rf"{file.name} .*more than 89478485 pixels; .*RDDM_MAX_PIXELS"):
                function(file)
    monkeypatch.setenv("RDDM_MAX_PIXELS", "900000000")
    assert {images.size(file) for file in files} == {(30_000, 30_000)}
    monkeypatch.setenv("RDDM_MAX_PIXELS", "899999999")
    for file in files:
        with pytest.raises(DataError, match="more than 899999999 pixels"):
            images.size(file)
    for wrong in ("many", "-1", "0", "1e9"):
        monkeypatch.setenv("RDDM_MAX_PIXELS", wrong)
        with pytest.raises(DataError, match=f"RDDM_MAX_PIXELS must be a number of pixels; given '{wrong}'"):
            images.size(files[0])


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy", ".jpg", ".bmp"])
def test_one_pixel_is_an_image(tmp_path, suffix):
    images.write(path := tmp_path / f"a{suffix}", np.full((1, 1, 3), 128, np.uint8))
    assert images.size(path) == (1, 1)
    assert images.read(path).shape == (1, 1, 3)


def test_an_image_can_be_a_part_of_another_file(tmp_path):
    for name, array in (("a.png", noise(5, 6, 3, np.uint16)), ("a.npy", noise(5, 6, 7)), ("a.tif", noise(5, 6, 7))):
        images.write(tmp_path / name, array)
        content = io.BytesIO((tmp_path / name).read_bytes())
        np.testing.assert_array_equal(images.read(Path("elsewhere"), content), array)
        content.seek(0)
        assert images.size(Path("elsewhere"), content) == (5, 6)
    with pytest.raises(DataError, match="cannot read shard: 7 as an image"):
        images.read(Path("shard: 7"), io.BytesIO(b""))


def test_a_link_to_itself_is_a_data_error(tmp_path):
    (tmp_path / "a.png").symlink_to(tmp_path / "a.png")
    assert found(tmp_path) == ["a.png"]
    with pytest.raises(DataError, match=r"a\.png as an image: Too many levels of symbolic links"):
        images.read(tmp_path / "a.png")
