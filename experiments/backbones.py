"""Backbones: parameters, multiply-accumulates, speed, and quality after one and the same short training.

On the quickstart's data. Keys may be changed, as in `python experiments/backbones.py training.steps=20`.
"""

import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter

import torch
from common import table, trained
from torch.utils.flop_counter import FlopCounterMode

import rddm
from rddm.core.kinds import Backbone
from rddm.core.network import Network

SMALL = (
    "{block_out_channels: [32, 64, 64, 64], down_block_types: [DownBlock2D, DownBlock2D, DownBlock2D, AttnDownBlock2D],"
    " up_block_types: [AttnUpBlock2D, UpBlock2D, UpBlock2D, UpBlock2D]}"
)
BACKBONES = {
    "nafnet": "nafnet",
    "restormer": "restormer",
    "timm-unet, convnext_atto": "timm-unet",
    "timm-unet, mobilenetv3_large_100": "{name: timm-unet, encoder: mobilenetv3_large_100}",
    "timm-unet, resnet34": "{name: timm-unet, encoder: resnet34}",
    "unet, width 16": "{name: unet, width: 16}",
    "diffusers, small": f"{{name: diffusers, config: {SMALL}}}",
}
TRAINING = ["training.steps=300", "training.save_every=300", "training.lr=1e-3", "training.warmup=30"]


def learn(model: rddm.Trainer) -> None:
    """Forward and backward on a batch of the training's size."""
    network = model[Network].train()
    times = {key: torch.full((8, len(clock)), 500.0) for key, clock in network.clocks.items()}
    sum(y.square().mean() for y in network(torch.randn(8, 6, 64, 64), times).values()).backward()
    network.eval().zero_grad()


def restore(model: rddm.Trainer) -> None:
    """One step on one image."""
    model.restore(torch.zeros(3, 256, 256), steps=1)


def costs(model: rddm.Trainer) -> list[str]:
    """Parameters, and multiply-accumulates of convolutions, linear layers and attention for one step."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        network = model[Backbone].build(6, 3, 1)
        network(torch.empty(1, 6, 256, 256), torch.empty(1, 1))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return [f"{parameters / 1e6:.2f} M", f"{counter.get_total_flops() / 2e9:.2f} G"]


def timed(work: Callable[[rddm.Trainer], None], models: list[rddm.Trainer]) -> list[str]:
    """Median seconds for each model, and in those of the first; in turns, so that all meet the same machine."""
    rounds: list[list[float]] = []
    for _ in range(8):
        rounds.append([])
        for model in models:
            start = perf_counter()
            work(model)
            rounds[-1].append(perf_counter() - start)
    columns = list(zip(*rounds[1:], strict=True))  # the first warms up
    ratios = [median(a / b for a, b in zip(column, columns[0], strict=True)) for column in columns]
    return [f"{median(column):.3f} s (x {ratio:.1f})" for column, ratio in zip(columns, ratios, strict=True)]


if __name__ == "__main__":
    models = []
    for title, backbone in BACKBONES.items():
        run = f"backbone-{title.replace(',', '').replace(' ', '-')}"
        models.append(trained(run, "../recipes/quickstart", f"backbone={backbone}", *TRAINING, *sys.argv[1:]))
    rows = []
    for title, model, *seconds in zip(BACKBONES, models, timed(learn, models), timed(restore, models), strict=True):
        scores = model.evaluate()
        rows.append([title, *costs(model), *seconds, scores["psnr"], scores["ssim"]])
    rows.append(["the rainy input", *["-"] * 4, scores["input_psnr"], scores["input_ssim"]])
    header = ["backbone", "parameters", "MACs, 256x256", "training step", "restoring step, 256x256", "PSNR", "SSIM"]
    table(header, rows)
