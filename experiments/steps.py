"""Restoration by SM-Res-N with two networks at two noise levels, in 1, 2, 5, 10 and 100 steps."""

from common import table, trained

STEPS = (1, 2, 5, 10, 100)

if __name__ == "__main__":
    rows = []
    for level, run in ((0.01, "restoration-little-noise"), (1.0, "restoration-sm-res-n-2-net")):
        model = trained(
            run,
            "restoration",
            "sampler={name: sm-res-n, nets: 2}",
            f"schedule={{name: power, beta_T2: {level}}}" if level != 1 else "schedule=power",
        )
        scores = [model.evaluate(steps=steps) for steps in STEPS]
        rows += [[f"beta_T^2 = {level:g}", key, *(score[key.lower()] for score in scores)] for key in ("PSNR", "SSIM")]
    table(["noise level", "", *(f"{steps} step{'s' * (steps > 1)}" for steps in STEPS)], rows)
