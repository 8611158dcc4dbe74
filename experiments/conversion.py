"""DDIM and converted RDDM agree image by image: digits by diffusers and by rddm, from the same noise."""

import torch
from common import digit_scores, table, trained
from diffusers import DDIMScheduler

from rddm.core.network import Network

if __name__ == "__main__":
    model = trained("schedule-linear-DDIM", "generation", "schedule=ddim", "sampler=sm-n")
    network = model[Network]
    noise = torch.randn(1797, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    rows = []
    for steps in (5, 10, 20, 50, 100):  # divisors of T, for which diffusers' "trailing" times are the paper's
        scheduler = DDIMScheduler(clip_sample=True, timestep_spacing="trailing")
        scheduler.set_timesteps(steps)
        x = noise
        with torch.inference_mode():
            for t in scheduler.timesteps:
                time = {"noise": torch.full((len(x), 1), float(t) + 1)}
                x = scheduler.step(network(x, time)["noise"], t, x).prev_sample
        theirs = ((x + 1) / 2).clamp(0, 1)
        ours = model.sample(noise=noise, steps=steps)
        rows.append([steps, digit_scores(theirs)["fd"], digit_scores(ours)["fd"], f"{(ours - theirs).abs().max():.1e}"])
    table(["steps", "FD, DDIM (diffusers)", "FD, converted RDDM", "largest difference of a pixel in [0, 1]"], rows)
