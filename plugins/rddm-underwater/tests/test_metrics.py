import math

import numpy as np
import pytest
import torch
from rddm_underwater.uciqe import UCIQE
from rddm_underwater.uiqm import UIQM, log_uiconm, uicm, uiconm, uism
from skimage import data


def pictures() -> dict[str, np.ndarray]:
    astronaut = data.astronaut()[100:356, 100:356]
    return {
        "astronaut": astronaut,
        "coffee": data.coffee()[60:280, 90:345],
        "cast": np.round(astronaut * np.array([0.35, 1, 0.9])).astype(np.uint8),
    }


def tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1) / 255


def test_halves_of_red_and_green_have_the_colourfulness_of_the_formula() -> None:
    image = np.zeros((20, 20, 3))
    image[:10, :, 0] = image[10:, :, 1] = 255
    assert uicm(image) == pytest.approx(-0.0268 * 127.5 + 0.1586 * 255)  # R - G is +-255, (R + G) / 2 - B is 127.5


def test_colourfulness_forgets_the_outer_tenths_for_the_mean_alone() -> None:
    image = np.zeros((10, 10, 3))
    image[0, :, 0] = 100  # a tenth of R - G is 100, of (R + G) / 2 - B is 50: trimmed, both means are 0
    assert uicm(image) == pytest.approx(0.1586 * math.sqrt((100**2 + 50**2) / 10))


def test_a_ramp_has_the_sharpness_of_the_formula() -> None:
    image = np.broadcast_to(np.arange(10.0, 40)[None, :, None], (10, 30, 3))  # Sobel is 8, and 4 at both ends
    eme = 2 / 3 * (math.log(8 * 19 / (4 * 10)) + math.log(29 / 20) + math.log(8 * 38 / (4 * 39)))
    assert uism(image, 10, (0.5, 0.25, 0.25)) == pytest.approx(eme)


def test_blocks_of_one_and_three_have_the_contrast_of_the_formula() -> None:
    image = np.ones((20, 30, 3))
    image[::2] = 3
    assert uiconm(image, 10) == pytest.approx(0.5 * math.log(2))


def test_logarithmic_contrast_is_that_of_the_formula() -> None:
    image = np.full((8, 24), 100.0)
    image[::2] = 200
    m = (1026 * 100 / (1026 - 100)) / (300 - 100 * 200 / 1026)
    assert log_uiconm(image[:, :8], 8) == pytest.approx(-m * math.log(m))
    three = 1026 * (1 - 3 * m * math.log(m) / 1026) ** (1 / 3) - 1026
    assert log_uiconm(image, 8) == pytest.approx(three)


@pytest.mark.parametrize("convention", ["published", "definition"])
def test_plain_grey_and_black_score_nothing_in_uiqm(convention: str) -> None:
    for value in (0.0, 0.5):
        x = torch.full((3, 32, 32), value)
        assert list(UIQM(convention=convention).measure(x, x, {}).values()) == [pytest.approx(0, abs=1e-9)]


@pytest.mark.parametrize(("name", "uiqm"), [("astronaut", 2.6041056), ("coffee", 2.2056167), ("cast", 2.4893614)])
def test_uiqm_is_what_the_program_of_funie_gan_gives(name: str, uiqm: float) -> None:
    x = tensor(pictures()[name])
    assert UIQM().measure(x, x, {}) == {"uiqm": pytest.approx(uiqm, abs=1e-6)}


def test_logarithmic_contrast_is_what_another_program_gives() -> None:
    grey = pictures()["coffee"] @ np.array([0.299, 0.587, 0.114])
    assert log_uiconm(grey, 8) == pytest.approx(0.23549327945897858, rel=1e-9)


@pytest.mark.parametrize(("name", "uciqe"), [("astronaut", 0.67507), ("coffee", 0.66527)])
def test_uciqe_is_what_its_authors_program_gives_up_to_its_rounding_of_lab(name: str, uciqe: float) -> None:
    x = tensor(pictures()[name])
    assert UCIQE().measure(x, x, {}) == {"uciqe": pytest.approx(uciqe, abs=1.1e-3)}


def test_plain_grey_has_only_the_saturation_of_the_offset_in_uciqe() -> None:
    x = torch.full((3, 16, 16), 0.5)
    chroma, lightness = math.hypot(128, 128) / 255, 137 / 255  # L of 128 is 53.59
    assert UCIQE().measure(x, x, {})["uciqe"] == pytest.approx(0.2576 * chroma / math.hypot(chroma, lightness))
    assert UCIQE(convention="definition").measure(x, x, {})["uciqe_definition"] == pytest.approx(0, abs=1e-4)


def test_black_and_white_have_the_contrast_and_red_the_chroma_and_saturation_of_the_definition() -> None:
    x = torch.zeros(3, 16, 16)
    x[:, 8:] = 1
    metric = UCIQE(convention="definition")
    assert metric.measure(x, x, {})["uciqe_definition"] == pytest.approx(0.2745, abs=1e-4)
    x[1:, 8:] = 0  # half black, half red: L = 53.24, C = 104.55
    red = 0.4680 * 1.0455 / 2 + 0.2745 * 0.5324 + 0.2576 * 1.0455 / math.hypot(1.0455, 0.5324) / 2
    assert metric.measure(x, x, {})["uciqe_definition"] == pytest.approx(red, abs=1e-4)


@pytest.mark.parametrize("metric", [UIQM(), UCIQE()], ids=lambda metric: metric.name)
def test_other_images_than_rgb_have_no_figure(metric: UIQM | UCIQE) -> None:
    for shape in ((1, 16, 16), (3, 16), (3, 8, 8, 8)):
        assert metric.measure(torch.rand(shape), torch.rand(shape), {}) == {}


def test_images_smaller_than_a_block_have_no_value_of_uiqm() -> None:
    x = torch.rand(3, 9, 40)
    assert math.isnan(UIQM().measure(x, x, {})["uiqm"])
