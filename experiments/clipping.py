"""Clipped images and the noise beside them, over few and many steps: SM-N on DDIM's schedule."""

import torch
from common import digit_scores, table, trained

WAYS = {
    "first-order, clipped (default)": {"clip": "x0"},
    "first-order, unclipped": {"clip": "none"},
    "posterior, clipped": {"solver": "posterior"},
}

if __name__ == "__main__":
    model = trained("schedule-linear-DDIM", "generation", "schedule=ddim", "sampler=sm-n")
    noise = torch.randn(1797, 1, 8, 8, generator=torch.Generator().manual_seed(0))[:16]
    right = model.sample(noise=noise, steps=100, sampler={"clip": "none"})
    rows = []
    for way, how in WAYS.items():
        scores = [digit_scores(model.sample(1797, steps=steps, sampler=how))["fd"] for steps in (10, 100)]
        many = model.sample(noise=noise, steps=1000, sampler=how)
        rows.append([way, *scores, (many - right).square().mean().sqrt().item()])
    table(["solver", "FD, 10 steps", "FD, 100 steps", "RMS of 16 digits, 1000 steps to 100 unclipped"], rows)
