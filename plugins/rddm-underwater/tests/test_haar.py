import numpy as np
import pywt
import torch
from rddm_underwater.haar import haar, unhaar


def test_bands_are_those_of_pywavelets() -> None:
    x = torch.randn(2, 3, 8, 6, dtype=torch.float64)
    bands = haar(x).unflatten(1, (3, 4))
    mean, details = pywt.dwt2(x.numpy(), "haar")
    for k, want in enumerate((mean, *details)):
        np.testing.assert_allclose(bands[:, :, k].numpy(), want, atol=1e-12)


def test_the_inverse_brings_the_image_back_and_lengths_are_kept() -> None:
    x = torch.randn(2, 3, 8, 6, dtype=torch.float64)
    torch.testing.assert_close(unhaar(haar(x)), x)
    torch.testing.assert_close(haar(x).norm(), x.norm())
