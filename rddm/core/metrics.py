"""Image quality as the literature counts it: PSNR and SSIM on RGB and on luma.

Images are rounded to 8 bits first, as they are when results are saved and compared. SSIM is Wang et al. 2004: an
11x11 Gaussian window of sigma 1.5, over the pixels where the window fits, averaged over channels. "_y" is the luma
of ITU-R BT.601 in 16..235, the convention of deraining and low-light papers. By scikit-image.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Generator, Tensor

from rddm.core.errors import ShapeError
from rddm.core.images import to_array

#: The figure that tells the best model: of outputs with targets of their own, and of sets; and whether more is better.
HEADLINES = {True: ("psnr", 1), False: ("swd", -1)}
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


def distance(images: Tensor, targets: Tensor, directions: int = 512) -> dict[str, float]:
    """How far two sets of images (N, C, H, W) are apart: `{"swd": ...}`, 0 for equal sets, in units of pixel values.

    The sliced Wasserstein distance in pixel space: both sets are projected on fixed random directions of length 1,
    and on each the sorted values compared. Sensible for small images, where pixels mean something; needs no weights.
    Source: Rabin et al. 2011, "Wasserstein barycenter and its application to texture mixing".

    Raises:
        ShapeError: the sets differ in shape.
    """
    if images.shape != targets.shape or images.ndim != 4:
        given = f"{tuple(images.shape)}, {tuple(targets.shape)}"
        raise ShapeError(f"images and targets must both be (N, C, H, W); given {given}")
    sets = [x.flatten(1).double().cpu() for x in (images, targets)]
    axes = torch.randn(sets[0].shape[1], directions, generator=Generator().manual_seed(0), dtype=torch.float64)
    axes /= torch.linalg.vector_norm(axes, dim=0)
    one, other = ((x @ axes).sort(dim=0).values for x in sets)
    return {"swd": (one - other).abs().mean().item()}


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
