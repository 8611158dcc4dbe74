"""Sampling methods and networks: SM-Res, SM-N, SM-Res-N by one network and by two, on both problems."""

from common import digit_scores, table, trained

import rddm

METHODS = {
    "SM-Res": "{name: sm-res}",
    "SM-Res-N, 1-Net": "{name: sm-res-n, nets: 1}",
    "SM-Res-N, 2-Net": "{name: sm-res-n, nets: 2}",
    "SM-N": "sm-n",
}


def named(title: str) -> str:
    return title.lower().replace(" ", "-").replace(",", "")


def generator(title: str, sampler: str) -> rddm.Trainer:
    """The model of a method on generation; SM-N's is one of `schedules.py`, too."""
    run = "schedule-alpha-decreasing-beta2-increasing" if title == "SM-N" else f"generation-{named(title)}"
    return trained(run, "generation", "schedule=power", f"sampler={sampler}")


if __name__ == "__main__":
    rows = []
    for title, sampler in METHODS.items():
        model = trained(f"restoration-{named(title)}", "restoration", f"sampler={sampler}")
        scores = [model.evaluate(steps=steps) for steps in (2, 5)]
        rows.append([title, *(score[key] for score in scores for key in ("psnr", "ssim"))])
    model = trained("restoration-sm-res-n-2-net", "restoration", f"sampler={METHODS['SM-Res-N, 2-Net']}")
    for name in ("sm-res", "sm-n"):  # sampled by one of its networks alone
        scores = [model.evaluate(steps=steps, sampler=name) for steps in (2, 5)]
        rows.append([f"2-Net sampled by {name}", *(score[key] for score in scores for key in ("psnr", "ssim"))])
    rows.append(["the rainy input", *(scores[0][f"input_{key}"] for _ in range(2) for key in ("psnr", "ssim"))])
    table(["restoration", "PSNR, 2 steps", "SSIM, 2 steps", "PSNR, 5 steps", "SSIM, 5 steps"], rows)
    rows = []
    for title, sampler in METHODS.items():
        model = generator(title, sampler)
        scores = [digit_scores(model.sample(1797, steps=steps)) for steps in (10, 100)]
        rows.append([title, *(score[key] for score in scores for key in ("fd", "is"))])
    print()
    table(["generation", "FD, 10 steps", "IS, 10 steps", "FD, 100 steps", "IS, 100 steps"], rows)
