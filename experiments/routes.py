"""Routes of generation by SM-Res-N with two networks, told t or (abar T, bbar T), under DDIM's schedule."""

import torch
from common import digit_scores, table, trained

ROUTES = {
    "the schedule of training": None,
    "residual first": "residual-first",
    "noise first": "noise-first",
    "straight line": {"name": "curve", "points": [[1, 1], [0, 0]]},
    **{
        f"P(1-x, {a}), P(x, 1)": {
            "name": "schedule",
            "schedule": {"name": "power", "alpha_power": a, "beta2_power": 1.0},
        }
        for a in (0.3, 0.5, 0.8, 1.0, 1.2, 1.5)
    },
}

if __name__ == "__main__":
    models = {
        clock: trained(
            f"routes-{clock}",
            "generation",
            f"sampler={{name: sm-res-n, nets: 2, clock: {clock}}}",
            "training.per_network=true",
        )
        for clock in ("index", "path")
    }
    noise = torch.randn(1797, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    rows = []
    for title, route in ROUTES.items():
        row: list[object] = [title]
        for clock, model in models.items():
            if clock == "index" and route is not None and not (isinstance(route, dict) and route["name"] == "schedule"):
                row += ["refused", "-", "-"]  # its network knows no state off its own path
                continue
            drawn = model.sample(noise=noise, steps=10, sampler={"route": route})
            usual = model.sample(noise=noise, steps=10)
            row += [*digit_scores(drawn).values(), (drawn - usual).abs().mean().item()]
        rows.append(row)
    columns = [f"{name}, {clock}" for clock in models for name in ("FD", "IS", "mean change")]
    table(["route, 10 steps", *columns], rows)
    print()
    table(
        ["told", "d res / d bbar", "d eps / d abar", "curl"],
        [[clock, *model.path_dependence().values()] for clock, model in models.items()],
    )
