"""The paper's seven schedules on generation: DDIM's three, converted, and four pairs of power laws; SM-N, 10 steps."""

from common import digit_scores, table, trained

SCHEDULES = {
    "linear DDIM": "ddim",
    "scaled linear DDIM": "{name: ddim, betas: scaled-linear, beta_start: 0.00085, beta_end: 0.012}",
    "squared cosine DDIM": "{name: ddim, betas: squared-cosine}",
    "alpha mean, beta^2 mean": "{name: power, alpha: mean, beta2: mean}",
    "alpha increasing, beta^2 increasing": "{name: power, alpha: increasing, beta2: increasing}",
    "alpha decreasing, beta^2 decreasing": "{name: power, alpha: decreasing, beta2: decreasing}",
    "alpha decreasing, beta^2 increasing": "{name: power, alpha: decreasing, beta2: increasing}",
}

if __name__ == "__main__":
    rows = []
    for title, schedule in SCHEDULES.items():
        model = trained(
            "schedule-" + title.replace(" ", "-").replace(",", "").replace("^", ""),
            "generation",
            f"schedule={schedule}",
            "sampler=sm-n",
        )
        scores = [digit_scores(model.sample(1797, steps=steps)) for steps in (10, 100)]
        rows.append([title, *(score[key] for score in scores for key in ("fd", "is"))])
    table(["schedule", "FD, 10 steps", "IS, 10 steps", "FD, 100 steps", "IS, 100 steps"], rows)
