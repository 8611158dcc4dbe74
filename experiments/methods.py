"""Sampling methods, networks and what they predict: SM-Res, SM-N, SM-Res-N by one network and by two, on both problems."""

from common import digit_scores, table, trained

METHODS = {
    "SM-Res": "{name: sm-res}",
    "SM-N": "{name: sm-n}",
    "SM-Res-N, 1-Net": "{name: sm-res-n, nets: 1}",
    "SM-Res-N, 2-Net": "{name: sm-res-n, nets: 2}",
}


def named(title: str) -> str:
    return title.lower().replace(" ", "-").replace(",", "")


if __name__ == "__main__":
    rows = []
    for title, sampler in METHODS.items():
        model = trained(f"restoration-{named(title)}", "restoration", f"sampler={sampler}")
        scores = [model.evaluate(steps=steps) for steps in (2, 5)]
        rows.append([title, *(score[key] for score in scores for key in ("psnr", "ssim"))])
    for name in ("sm-res", "sm-n"):  # the 2-Net model, sampled by one of its networks alone
        scores = [model.evaluate(steps=steps, sampler=name) for steps in (2, 5)]
        rows.append([f"2-Net sampled by {name}", *(score[key] for score in scores for key in ("psnr", "ssim"))])
    rows.append(["the rainy input", *(scores[0][f"input_{key}"] for _ in range(2) for key in ("psnr", "ssim"))])
    table(["restoration", "PSNR, 2 steps", "SSIM, 2 steps", "PSNR, 5 steps", "SSIM, 5 steps"], rows)
    rows = []
    for title, sampler in METHODS.items():
        model = trained(f"generation-{named(title)}", "generation", "schedule=power", f"sampler={sampler}")
        scores = [digit_scores(model.sample(1797, steps=steps)) for steps in (10, 100)]
        rows.append([title, *(score[key] for score in scores for key in ("fd", "is"))])
    print()
    table(["generation", "FD, 10 steps", "IS, 10 steps", "FD, 100 steps", "IS, 100 steps"], rows)
