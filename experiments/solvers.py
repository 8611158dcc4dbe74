"""Second-order solvers against first order at equal network evaluations, on both problems."""

import torch
from common import digit_scores, table, trained
from methods import METHODS, generator

CLOSE = 256  # images that are compared with those of 1000 first-order steps
EVALUATIONS = (6, 10, 20, 40)
SOLVERS = {  # unclipped: what is clipped at each step does not converge, and over 1000 steps it runs away
    "first-order": {"solver": "first-order", "clip": "none"},
    "multistep": {"solver": "multistep", "clip": "none"},
    "multistep, arc length": {"solver": "multistep", "grid": "arc-length", "clip": "none"},
    "heun": {"solver": "heun", "clip": "none"},
}


def steps(solver: str, evaluations: int) -> int:
    return evaluations // 2 if solver == "heun" else evaluations  # heun: 2 a step; its last step takes 1


if __name__ == "__main__":
    noise = torch.randn(1797, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    models = {
        "SM-N, ddim": trained("schedule-linear-DDIM", "generation", "schedule=ddim", "sampler=sm-n"),
        "SM-Res-N, 2-Net, power": generator("SM-Res-N, 2-Net", METHODS["SM-Res-N, 2-Net"]),
    }
    for title, model in models.items():
        exact = model.sample(noise=noise[:CLOSE], steps=1000, sampler={"clip": "none"})
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
    model = trained("restoration-sm-res-n-2-net", "restoration", f"sampler={METHODS['SM-Res-N, 2-Net']}")
    rows = [
        [solver, *(model.evaluate(steps=steps(solver, n), sampler=how)["psnr"] for n in EVALUATIONS[:3])]
        for solver, how in SOLVERS.items()
    ]
    table(["restoration, SM-Res-N, 2-Net", *(f"PSNR, {n}" for n in EVALUATIONS[:3])], rows)
