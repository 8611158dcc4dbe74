"""Image quality as the literature counts it: PSNR and SSIM on RGB and on luma.

Images are rounded to 8 bits first, as they are when results are saved and compared. SSIM is Wang et al. 2004: an
11x11 Gaussian window of sigma 1.5, over the pixels where the window fits, averaged over channels. "_y" is the luma
of ITU-R BT.601 in 16..235, the convention of deraining and low-light papers. By scikit-image.
"""

from __future__ import annotations

import math

import numpy as np
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from rddm.core.errors import ShapeError
from rddm.core.images import to_array

NAMES = ("psnr", "ssim", "psnr_y", "ssim_y")


def measure(image: Tensor, target: Tensor) -> dict[str, float]:
    """PSNR (dB, infinite for equal images) and SSIM of one image (C, H, W) in [0, 1] against its target.

    The luma figures are there for three channels. SSIM is NaN for images smaller than its window.

    Raises:
        ShapeError: the two differ in shape.
    """
    if image.shape != target.shape or image.ndim != 3:
        raise ShapeError(f"image and target must both be (C, H, W); given {tuple(image.shape)}, {tuple(target.shape)}")
    pair = [to_array(x.cpu()).astype(np.float64) for x in (image, target)]
    scores = dict(zip(NAMES[:2], _scores(*pair), strict=True))
    if len(image) == 3:
        luma = [rgb2ycbcr(x / 255)[..., :1] for x in pair]
        scores |= dict(zip(NAMES[2:], _scores(*luma), strict=True))
    return scores


def _scores(image: np.ndarray, target: np.ndarray) -> tuple[float, float]:
    psnr = math.inf if (image == target).all() else peak_signal_noise_ratio(target, image, data_range=255)
    if min(image.shape[:2]) < 11:
        return float(psnr), math.nan
    ssim = structural_similarity(
        target,
        image,
        data_range=255,
        channel_axis=-1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    return float(psnr), float(ssim)
