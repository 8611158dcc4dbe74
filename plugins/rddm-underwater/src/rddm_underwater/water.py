"""Images as taken under water: the light of a depth, attenuated, blurred and veiled on its way to the camera."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from scipy.ndimage import gaussian_filter
from torch import Generator, Tensor

from rddm.plugin import Degradation, Range, draw, smooth_field, to_linear, to_srgb, within

WaterType = Literal["I", "IA", "IB", "II", "III", "1", "3", "5", "7", "9"]

#: Attenuation in 1/m at 600, 525 and 475 nm, about the middle of a camera's red, green and blue: downward irradiance in
#: Jerlov's oceanic (Roman) and coastal waters. Source: Jerlov, "Marine Optics", 2nd edition, 1976, table XXVII.
ATTENUATION: dict[WaterType, tuple[float, float, float]] = {
    "I": (0.235, 0.043, 0.018),
    "IA": (0.240, 0.048, 0.025),
    "IB": (0.245, 0.054, 0.033),
    "II": (0.260, 0.076, 0.062),
    "III": (0.295, 0.116, 0.116),
    "1": (0.30, 0.13, 0.17),
    "3": (0.33, 0.20, 0.29),
    "5": (0.40, 0.31, 0.43),
    "7": (0.48, 0.49, 0.71),
    "9": (0.60, 0.78, 1.23),
}


class Water(Degradation):
    """An underwater photograph of a scene, after Jaffe and McGlamery: direct light, forward scatter and backscatter.

        I = E J e^(-K z) + g * [E J (e^(-(1 - f) K z) - e^(-K z))] + v E (min K / K) (1 - e^(-K z))
        E = e^(-K D) / max e^(-K D)

    in linear light and for each colour: the scene J, the attenuation K of a Jerlov water type, the light E left at
    the depth D, for which the camera is exposed, and the distance z in metres, a random landscape that rises from
    `near` at the bottom to `far` at the top of the picture. Of the attenuation, the share f is scattered forward, and
    arrives blurred by the Gaussian g of `spread` pixels; with f = 0 nothing is. The veil of an infinite path is v in
    the colour for which water is clearest, and less where it attenuates more: all wavelengths are scattered alike.
    The picture and its copy are (C, H, W) in [0, 1], the sRGB values of J and I; channels of any other image than
    RGB are taken to be green.

    K is that of daylight from above, also along z, where a beam's is larger: z counts attenuation, not quite metres.

    Raises:
        SpecError: a range is not low <= high within its bounds, or a water type is unknown.

    Sources: Jaffe, "Computer modeling and the design of optimal underwater imaging systems", IEEE J. Oceanic
    Engineering 1990; McGlamery, "A computer model for underwater camera systems", SPIE 1980.
    """

    name: Literal["underwater"] = "underwater"
    types: tuple[WaterType, ...] = Field(
        default=("I", "IA", "IB", "II", "III", "1", "3", "5"),
        min_length=1,
        description="Jerlov water types drawn from",
    )
    depth: Annotated[Range, within(0, 100)] = Field(default=(1, 10), description="metres below the surface, D")
    near: Annotated[Range, within(0, 100)] = Field(default=(0.5, 2), description="metres to the bottom of the picture")
    far: Annotated[Range, within(0, 100)] = Field(default=(2, 10), description="metres to its top, not below near")
    veil: Annotated[Range, within(0, 1)] = Field(default=(0.1, 0.5), description="backscatter of an infinite path, v")
    forward: Annotated[Range, within(0, 1)] = Field(default=(0, 0.3), description="forward share of the light lost, f")
    spread: Annotated[Range, within(0, 100)] = Field(default=(1, 3), description="its blur in pixels, g")

    def __call__(self, clean: Tensor, generator: Generator) -> Tensor:
        kind = self.types[int(torch.randint(len(self.types), (), generator=generator))]
        bounds = (self.depth, self.near, self.far, self.veil, self.forward, self.spread)
        depth, near, far, veil, forward, spread = (draw(each, generator) for each in bounds)
        K = torch.tensor(ATTENUATION[kind])[:, None, None]  # (3, 1, 1)
        K = K if len(clean) == 3 else K[1:2].expand(len(clean), 1, 1)
        E = torch.exp(-(K - K.min()) * depth)
        z = self._distance(clean.shape[-2], clean.shape[-1], near, max(near, far), generator)
        J, t = E * to_linear(clean), torch.exp(-K * z)
        scattered = J * (torch.exp(-(1 - forward) * K * z) - t)
        blurred = torch.from_numpy(gaussian_filter(scattered.numpy(), (0, spread, spread), mode="nearest"))
        return to_srgb(J * t + blurred + veil * E * K.min() / K * (1 - t))

    @staticmethod
    def _distance(height: int, width: int, near: float, far: float, generator: Generator) -> Tensor:
        away = torch.linspace(1, 0, height)[:, None] + smooth_field(height, width, 2, generator) / 5
        return near + (far - near) * away.clamp(0, 1)
