"""Faults put into a copy of the package one by one, to see that the tests notice: `python tests/mutations.py [NAME..]`.

Each is an exact replacement in one file, which must be found there once, and the narrow choice of tests that has to
fail. The same tests must pass on an unchanged copy first. Exits with 1 if a fault survives, or does not fit any more.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
AT_ONCE = 2


@dataclass(frozen=True)
class Fault:
    """A replacement in rddm/<file>, and tests/test_<tests>.py -k <select>, one of which must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: str
    select: str


PROCESS, HEADS, NETWORK, SAMPLE, TRAIN = (
    "core/process.py",
    "core/heads.py",
    "core/network.py",
    "core/systems/trajectory.py",
    "core/systems/train.py",
)
LAW = "few_steps and (power-sm-res or ddim-sm-n)"  # the exact distribution after six steps
ALL = "all_steps"  # that of a whole chain
SHOWN = "training_shows"

FAULTS = [
    # the process
    Fault(
        "reverse-residual-sign",
        PROCESS,
        "mean = combine((to.A + to.B, to.B, kept)",
        "mean = combine((to.A + to.B, -to.B, kept)",
        "oracle",
        LAW,
    ),
    Fault(
        "reverse-noise-sign",
        PROCESS,
        "mean = combine((to.A + to.B, to.B, kept)",
        "mean = combine((to.A + to.B, to.B, -kept)",
        "oracle",
        LAW,
    ),
    Fault(
        "reverse-drawn-variance-for-deviation",
        PROCESS,
        "return mean + scale(sigma, draw())",
        "return mean + scale(sigma**2, draw())",
        "oracle",
        LAW,
    ),
    Fault(
        "reverse-keeps-all-noise-beside-the-drawn",
        PROCESS,
        "kept = (to.C**2 - sigma**2).clamp(min=0).sqrt()",
        "kept = to.C",
        "oracle",
        LAW,
    ),
    Fault(
        "posterior-without-gauge",  # 31 % off DDPM's variance
        PROCESS,
        "ratio = to.C * now.F / torch.where(noisy, to.F * now.C, 1.0)",
        "ratio = to.C / torch.where(noisy, now.C, 1.0)",
        "schedules",
        "ddim_scheduler",
    ),
    Fault("eta-as-deviation", PROCESS, "eta * (1 - ratio**2)", "eta**2 * (1 - ratio**2)", "oracle", LAW),
    Fault(
        "pinned-bridge-draws-no-noise",
        PROCESS,
        "torch.where(noisy, eta * (1 - ratio**2), 1.0)",
        "torch.where(noisy, eta * (1 - ratio**2), 0.0)",
        "oracle",
        "few_steps and bbdm-sm-res",
    ),
    Fault(
        "forward-noise-variance-for-deviation",
        PROCESS,
        "return combine((node.A, node.B, node.C), (x0, x_in, eps))",
        "return combine((node.A, node.B, node.C**2), (x0, x_in, eps))",
        "process",
        "ancestral_posterior or mean_and_the_variance or oracle_predictions",
    ),
    Fault(
        "forward-swaps-image-and-input",
        PROCESS,
        "return combine((node.A, node.B, node.C), (x0, x_in, eps))",
        "return combine((node.B, node.A, node.C), (x0, x_in, eps))",
        "seen",
        SHOWN,
    ),
    Fault(
        "chain-gain-inverted",
        PROCESS,
        "gain = to.F / now.F",
        "gain = now.F / to.F",
        "process",
        "mean_and_the_variance or gauge_decides",
    ),
    Fault(
        "chain-adds-all-noise-at-each-step",
        PROCESS,
        "spread = (to.C**2 - (gain * now.C) ** 2).clamp(min=0).sqrt()",
        "spread = to.C",
        "process",
        "mean_and_the_variance",
    ),
    Fault(
        "start-without-noise",
        PROCESS,
        "return combine((end.A + end.B, end.C) if",
        "return combine((end.A + end.B, 0 * end.C) if",
        "oracle",
        LAW,
    ),
    Fault(
        "start-with-variance-for-deviation",
        PROCESS,
        "return combine((end.A + end.B, end.C) if",
        "return combine((end.A + end.B, end.C**2) if",
        "oracle",
        "few_steps and table-sm-res",
    ),
    Fault("prior-ignored", PROCESS, "if self.prior is None else self.prior", "if True else self.prior", "oracle", LAW),
    Fault(
        "spread-takes-the-next-row",
        PROCESS,
        "rows = torch.bucketize(wanted, (measure[1:] + measure[:-1]) / 2)",
        "rows = torch.bucketize(wanted, measure[:-1])",
        "grids",
        "quadratic or by_hand or nearest",
    ),
    # heads
    Fault("res-target-sign", HEADS, "RES: Target = (-1.0, 1.0, 0.0)", "RES: Target = (1.0, -1.0, 0.0)", "oracle", LAW),
    Fault(
        "decode-takes-the-state-for-the-input",
        HEADS,
        "equations.append((INPUT, x_in))",
        "equations.append((INPUT, x_t))",
        "oracle",
        LAW,
    ),
    Fault(
        "residual-clipped-with-the-image",
        HEADS,
        "return Prediction(x0, prediction.res + (prediction.x0 - x0), prediction.eps)",
        "return Prediction(x0, prediction.res.clamp(-1, 1), prediction.eps)",
        "process",
        "clipping or whole_range",
    ),
    Fault(
        "image-not-clipped",
        HEADS,
        "x0 = to(back(prediction.x0).clamp(-1, 1))",
        "x0 = to(back(prediction.x0))",
        "process",
        "clipping",
    ),
    Fault(
        "encode-gives-the-input-for-the-image",
        HEADS,
        "return combine((p, q, r), (truth.x0, truth.x0 + truth.res, truth.eps))",
        "return combine((p, q, r), (truth.x0, truth.x0 - truth.res, truth.eps))",
        "process",
        "encoded",
    ),
    # what the network is told and shown
    Fault("told-the-time-before", NETWORK, 'values = {"t": node.t}', 'values = {"t": node.t - 1}', "oracle", ALL),
    Fault(
        "clocks-swapped",
        NETWORK,
        '"abar": node.B / dual * T, "bbar": node.C / dual * T',
        '"abar": node.C / dual * T, "bbar": node.B / dual * T',
        "oracle",
        "path_clock",
    ),
    Fault(
        "clock-squared",
        NETWORK,
        '"bbar": node.C / dual * T',
        '"bbar": node.C**2 / dual * T',
        "oracle",
        "path_clock",
    ),
    Fault("heads-swapped", NETWORK, "found.update(zip(group,", "found.update(zip(group[::-1],", "oracle", "both_heads"),
    Fault(
        "condition-missing",
        SAMPLE,
        "torch.cat([image, condition], dim=1)",
        "torch.cat([image, 0 * condition], dim=1)",
        "oracle",
        LAW,
    ),
    Fault(
        "condition-is-the-state",
        SAMPLE,
        "torch.cat([image, condition], dim=1)",
        "torch.cat([image, image], dim=1)",
        "seen",
        "sampling_shows",
    ),
    Fault(
        "same-noise-at-every-step",
        SAMPLE,
        "one = torch.randn((1, *x_in.shape[1:]), generator=generators,",
        "one = torch.randn((1, *x_in.shape[1:]), generator=Generator().manual_seed(0),",
        "oracle",
        LAW,
    ),
    Fault(
        "corner-out-of-order",
        SAMPLE,
        "times = sorted([*times, corner], reverse=True)",
        "times.insert(1, corner)",
        "routes",
        "two_corners or visits_its_corner",
    ),
    Fault(
        "own-times-visit-the-corner",
        SAMPLE,
        "for corner in () if sampler.grid.exact else path.corners:",
        "for corner in path.corners:",
        "routes",
        "own_times",
    ),
    Fault(
        "any-route-for-a-network-told-the-index",
        SAMPLE,
        "timed = sampler.route is None or (sampler.route.timed and path.T == entity[Path].T)",
        "timed = True",
        "routes",
        "refuses_to_leave",
    ),
    Fault(
        "no-other-schedule-for-a-network-told-the-index",
        SAMPLE,
        "timed = sampler.route is None or (sampler.route.timed and path.T == entity[Path].T)",
        "timed = sampler.route is None",
        "routes",
        "another_schedule",
    ),
    Fault(
        "targets-of-the-path-alone-on-a-route",
        SAMPLE,
        "if sampler.route is not None and sampler.bound and not network.told_index:",
        "if False:",
        "routes",
        "only_training_s_path",
    ),
    Fault(
        "residual-clipped-as-coefficients",
        HEADS,
        "res, eps = to(back(res).clamp(-1, 1)), found.eps",
        "res, eps = res.clamp(-1, 1), found.eps",
        "spectrum",
        "residual_is_clipped_as_an_image",
    ),
    Fault(
        "drawn-image-depends-on-the-batch",
        "core/systems/sample.py",
        "seeded(seed, 3, start + number) for number in numbers",
        "seeded(seed, 3, start + number - first) for number in numbers",
        "generation",
        "whatever_count",
    ),
    # training
    Fault(
        "training-noise-shared",
        TRAIN,
        "torch.randn(x0.shape, generator=generator, device=device)",
        "torch.randn(x0[:1].shape, generator=generator, device=device).expand_as(x0)",
        "seen",
        "training_noise",
    ),
    Fault(
        "training-residual-sign",
        TRAIN,
        "encode(target, seen.truth)",
        "encode(target, Prediction(seen.truth.x0, -seen.truth.res, seen.truth.eps))",
        "oracle",
        "training_asks",
    ),
    Fault(
        "training-state-of-the-wrong-residual",
        TRAIN,
        "Prediction(to(x0), to(x_in - x0), ",
        "Prediction(to(x0), to(x0 - x_in), ",
        "seen",
        SHOWN,
    ),
    Fault("training-shows-the-target", TRAIN, "task.condition(x_in, ", "task.condition(x0, ", "seen", SHOWN),
    Fault("training-images-in-0-to-1", TRAIN, "non_blocking=True) * 2 - 1", "non_blocking=True)", "seen", SHOWN),
    Fault(
        "training-told-another-time",
        TRAIN,
        "entity[Network].times(path.T, node)",
        "entity[Network].times(path.T, path[node.t.long() - 1])",
        "seen",
        SHOWN,
    ),
    # schedules
    Fault(
        "ddim-without-gauge",
        "schedules/ddim.py",
        "gauge=ac.sqrt(), prior",
        "gauge=None, prior",
        "schedules",
        "ddim_scheduler",
    ),
    Fault(
        "betas-a-row-late",
        "schedules/_betas.py",
        "(1 - self._table()).cumprod(0)",
        "(1 - self._table().roll(1)).cumprod(0)",
        "schedules",
        "betas or ddim_scheduler",
    ),
    Fault(
        "power-noise-deviation-for-variance",
        "schedules/power.py",
        "(self.beta_T2 * self._sums(self.beta2, self.beta2_power)).sqrt()",
        "self.beta_T2 * self._sums(self.beta2, self.beta2_power)",
        "schedules",
        "by_hand or default",
    ),
    Fault(
        "power-a-row-late",
        "schedules/power.py",
        'first = 0 if self.grid == "linspace" else 1',
        'first = 1 if self.grid == "linspace" else 0',
        "schedules",
        "by_hand or default",
    ),
    Fault("vp-gauge", "schedules/vp.py", "F=ac.sqrt()", "F=torch.ones_like(ac)", "family", "published_posterior or vp"),
    Fault(
        "flow-shift-inverted",
        "schedules/flow.py",
        "s = x / (x + (1 - x) / self.shift)",
        "s = x / (x + (1 - x) * self.shift)",
        "family",
        "flow or row",
    ),
    # samplers
    Fault("v-sign", "samplers/v.py", "(-node.C, 0.0, node.A)", "(node.C, 0.0, node.A)", "oracle", "few_steps and -v"),
    Fault(
        "velocity-of-the-next-row",
        "samplers/velocity.py",
        "before = path[(node.t.long() - 1).clamp(min=0)]",
        "before = path[(node.t.long() - 2).clamp(min=0)]",
        "oracle",
        "few_steps and velocity",
    ),
    # solvers, grids, routes
    Fault(
        "multistep-ratio-inverted",
        "solvers/multistep.py",
        "step / torch.where(still, 1.0, last)",
        "last / torch.where(step == 0, 1.0, step)",
        "solvers",
        "multistep_by_hand or second_order_dpm",
    ),
    Fault(
        "multistep-goes-on-from-no-noise",
        "solvers/multistep.py",
        "torch.where(before.C > 0, weights[2], 0.0)",
        "weights[2]",
        "solvers",
        "order_of_the_solver and multistep-i2sb",
    ),
    Fault(
        "heun-without-average",
        "solvers/heun.py",
        "steps = ((to.A - now.A) / 2, (to.B - now.B) / 2, noise / 2)",
        "steps = (to.A - now.A, to.B - now.B, noise)",
        "solvers",
        "order_of_the_solver and heun-power",
    ),
    Fault(
        "heun-corrects-a-drawn-noise",
        "solvers/heun.py",
        "noise = torch.where((now.C > 0) & (to.C > 0), to.C - now.C, 0.0)",
        "noise = torch.where(to.C > 0, to.C - now.C, 0.0)",
        "solvers",
        "order_of_the_solver and heun-bbdm",
    ),
    Fault(
        "heun-averages-noise-with-none",
        "solvers/heun.py",
        "noise = torch.where((now.C > 0) & (to.C > 0), to.C - now.C, 0.0)",
        "noise = torch.where(now.C > 0, to.C - now.C, 0.0)",
        "routes",
        "across_a_corner",
    ),
    Fault(
        "kappa-keeps-noise-where-the-path-has-none",
        "solvers/kappa.py",
        "torch.where((now.C > 0) & (to.C == 0), 0.0, kappa)",
        "torch.where((now.C > 0) & (to.t == 0), 0.0, kappa)",
        "routes",
        "across_a_corner",
    ),
    Fault(
        "kappa-input-inverted",
        "solvers/kappa.py",
        "kappa = to.B / now.B",
        "kappa = now.B / to.B",
        "solvers",
        "kappa_input",
    ),
    Fault(
        "uniform-rounds-up",
        "grids/uniform.py",
        "path.T * k // steps",
        "-(-path.T * k // steps)",
        "grids",
        "uniform",
    ),
    Fault(
        "power-grid-exponent-inverted",
        "grids/power.py",
        "position ** (1 / self.exponent)",
        "position**self.exponent",
        "grids",
        "quadratic",
    ),
    Fault(
        "arc-length-without-root",
        "grids/arc_length.py",
        "torch.linalg.vector_norm(tables.diff(dim=0), dim=1)",
        "(tables.diff(dim=0) ** 2).sum(1)",
        "grids",
        "arc_length",
    ),
    Fault(
        "residual-first-takes-the-noise-first",
        "routes/residual_first.py",
        "torch.cat([torch.zeros_like(abar), abar[1:]]), torch.cat([bbar, still + bbar[-1]])",
        "torch.cat([abar, still + abar[-1]]), torch.cat([torch.zeros_like(bbar), bbar[1:]])",
        "routes",
        "residual_first or one_leg",
    ),
    Fault(
        "curve-ends-short",
        "routes/curve.py",
        "table[-1] = 1 ",
        "table[-1] = table[-1] ",
        "routes",
        "monotonely",
    ),
]


def copy_with(fault: Fault | None, folder: Path) -> None:
    """The package in `folder`, with the fault."""
    shutil.copytree(ROOT / "rddm", folder / "rddm", ignore=shutil.ignore_patterns("__pycache__"))
    if fault:
        file = folder / "rddm" / fault.file
        text = file.read_text(encoding="utf-8")
        if (count := text.count(fault.old)) != 1:
            raise LookupError(f"{fault.name}: {fault.old!r} is {count} times in {fault.file}")
        file.write_text(text.replace(fault.old, fault.new), encoding="utf-8")


def run(fault: Fault | None, tests: str, select: str) -> tuple[int, str]:
    """Exit status and output of the tests on a copy of the package, which is taken before the installed one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_with(fault, folder)
        options = ["-q", "-p", "no:cacheprovider", "-c", ROOT / "pyproject.toml", "--rootdir", ROOT, "--tb=line"]
        check = f"import rddm, sys; assert rddm.__file__.startswith({str(folder)!r}), rddm.__file__; import pytest"
        command = [sys.executable, "-c", f"{check}; sys.exit(pytest.main(sys.argv[1:]))", *options]
        stop = ["-x"] if fault else []
        done = subprocess.run(
            [*map(str, command), *stop, str(ROOT / "tests" / f"test_{tests}.py"), "-k", select],
            cwd=folder,
            env=os.environ
            | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "CI": "1", "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr


def try_out(fault: Fault) -> tuple[str, str]:
    """The fault's name, and the test that fails: "" if none does.

    Raises:
        LookupError: the text to be replaced is not there once.
        RuntimeError: the tests could not be run with it.
    """
    status, output = run(fault, fault.tests, fault.select)
    failed = re.findall(r"^FAILED \S*?(test_\w+\.py::[^\s\[]+(?:\[[^\n]*?\])?)(?: - |$)", output, re.MULTILINE)
    if status not in (0, 1) or (status == 1 and not failed):
        raise RuntimeError(f"{fault.name}: the tests ended with {status}\n{output[-2000:]}")
    return fault.name, failed[0] if failed else ""


def main(names: list[str]) -> int:
    """Try the named faults, or all; 0 if each is caught."""
    if unknown := set(names) - {fault.name for fault in FAULTS}:
        print(f"no such fault: {sorted(unknown)}; there are {[fault.name for fault in FAULTS]}")
        return 1
    chosen = [fault for fault in FAULTS if not names or fault.name in names]
    selects = defaultdict(set)
    for fault in chosen:
        selects[fault.tests].add(fault.select)
    begun, wrong = time.monotonic(), 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        wholes = [pool.submit(run, None, tests, " or ".join(f"({s})" for s in some)) for tests, some in selects.items()]
        for tests, whole in zip(selects, wholes):
            status, output = whole.result()
            if status != 0:
                print(f"tests/test_{tests}.py fails without any fault\n{output[-3000:]}")
                return 1
        for fault, trial in [(fault, pool.submit(try_out, fault)) for fault in chosen]:
            try:
                name, caught = trial.result()
            except (LookupError, RuntimeError) as error:
                name, caught = fault.name, ""
                print(error)
            wrong += not caught
            print(f"{name:42} {caught or 'SURVIVES'}", flush=True)
    print(f"{len(chosen) - wrong} of {len(chosen)} faults caught in {time.monotonic() - begun:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
