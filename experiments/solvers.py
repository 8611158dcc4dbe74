"""Second-order solvers against first order at equal network evaluations, on both problems."""

import torch
from common import digit_scores, table, trained
from methods import METHODS, generator

CLOSE = 256  # images that are compared with those of 1000 first-order steps
EVALUATIONS = (6, 10, 20, 40)
SOLVERS = {
    "first-order": {"solver": "first-order"},
    "multistep": {"solver": "multistep"},
    "multistep, arc length": {"solver": "multistep", "grid": "arc-length"},
    "heun": {"solver": "heun"},
}


def steps(solver: str, evaluations: int) -> int:
    return evaluations // 2 if solver == "heun" else evaluations  # heun: 2 a step; its last step takes 1


if __name__ == "__main__":
    noise = torch.randn(1797, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for title in ("SM-N", "SM-Res-N, 2-Net"):
        model = generator(title, METHODS[title])
        exact = model.sample(noise=noise[:CLOSE], steps=1000)
        rows = []
        for solver, how in SOLVERS.items():
            drawn = [model.sample(noise=noise, steps=steps(solver, n), sampler=how) for n in EVALUATIONS]
            rows.append(
                [
                    solver,
                    *((x[:CLOSE] - exact).square().mean().sqrt().item() for x in drawn),
                    *(digit_scores(x)["fd"] for x in drawn),
                ]
            )
        table([f"generation, {title}", *(f"RMS, {n}" for n in EVALUATIONS), *(f"FD, {n}" for n in EVALUATIONS)], rows)
        print()
    model = trained("restoration-sm-res-n-2-net", "restoration", "sampler={name: sm-res-n, nets: 2}", "schedule=power")
    rows = [
        [solver, *(model.evaluate(steps=steps(solver, n), sampler=how)["psnr"] for n in EVALUATIONS)]
        for solver, how in SOLVERS.items()
    ]
    table(["restoration, SM-Res-N, 2-Net", *(f"PSNR, {n}" for n in EVALUATIONS)], rows)
