"""The U-Net of Hugging Face's diffusers."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import Field, field_validator
from torch import Tensor, nn

from rddm.core.errors import SpecError
from rddm.core.kinds import Backbone

LIGHT = {  # 6.5 M parameters; diffusers' own defaults have 274 M
    "block_out_channels": [64, 128, 128],
    "down_block_types": ["DownBlock2D", "DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D", "UpBlock2D"],
}


class Diffusers(Backbone):
    """`UNet2DModel` of diffusers, which must be installed, made from its config.

    The model is told t - 1, which is how diffusers counts. With two times, (abar T, bbar T), it is told the first as
    its timestep and the second as its class, by `class_embed_type: timestep`. Channels follow from the task.

    Raises:
        SpecError: diffusers is not installed; the config does not fit UNet2DModel; it has other channels than the
            task asks for, classes, or a time that is no index (fourier).
    """

    name: Literal["diffusers"] = "diffusers"
    ndim: Literal[2] = Field(default=2, description="images only")
    model: Literal["UNet2DModel"] = Field(
        default="UNet2DModel", description="the class; those that see text or classes cannot be used"
    )
    config: dict[str, Any] = Field(
        default_factory=lambda: dict(LIGHT), description="arguments of the class, as in the config.json it saves"
    )

    @field_validator("config")
    @classmethod
    def _alone(cls, config: dict[str, Any]) -> dict[str, Any]:
        try:
            config = json.loads(json.dumps(config))  # tuples become lists, as in a spec that is read back
        except TypeError as cause:
            raise ValueError(f"must be what JSON can hold: {cause}") from cause
        if config.get("class_embed_type") is not None or config.get("num_class_embeds") is not None:
            raise ValueError("must have no classes (class_embed_type, num_class_embeds): the network sees images only")
        if config.get("time_embedding_type") == "fourier":
            raise ValueError("must have time_embedding_type 'positional' or 'learned': 'fourier' is for noise levels")
        return config

    def __hash__(self) -> int:
        return hash((self.name, self.model, json.dumps(self.config, sort_keys=True)))

    @property
    def multiple(self) -> int:
        levels = len(self.config.get("block_out_channels", range(4)))  # four are diffusers' default
        return 1 << (levels - 1)

    def build(self, in_chans: int, out_chans: int, times: int) -> DiffusersModule:
        try:
            from diffusers import UNet2DModel
        except ImportError as cause:
            problem = "'diffusers' needs that package: pip install 'residual-diffusion[diffusers]'"
            raise SpecError("backbone", [((), problem)]) from cause
        wanted = {"in_channels": in_chans, "out_channels": out_chans}
        problems: list[tuple[tuple[str, ...], str]] = [
            (("config", key), f"must be {value}, which task and sampler ask for; given {self.config[key]}")
            for key, value in wanted.items()
            if self.config.get(key, value) != value
        ]
        learned = self.config.get("time_embedding_type") == "learned"
        if times > (1 if learned else 2):
            problems.append(((), f"takes one time, or two if they are not learned; the sampler tells {times}"))
        if problems:
            raise SpecError("backbone", problems)
        second = {"class_embed_type": "timestep"} if times == 2 else {}
        try:
            unet = UNet2DModel(**{**self.config, **wanted, **second})
        except (TypeError, ValueError) as cause:
            raise SpecError("backbone", [(("config",), f"does not fit UNet2DModel: {cause}")]) from cause
        return DiffusersModule(unet, learned)


class DiffusersModule(nn.Module):
    """x (B, in_chans, H, W) and time (B, 1 or 2) -> (B, out_chans, H, W)."""

    def __init__(self, unet: nn.Module, learned: bool) -> None:
        super().__init__()
        self.unet, self.learned = unet, learned

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        if time.shape[1] == 2:
            told, second = time.unbind(dim=1)
        else:
            told, second = time[:, 0] - 1, None
        y: Tensor = self.unet(x, told.round().long() if self.learned else told, second, return_dict=False)[0]
        return y
