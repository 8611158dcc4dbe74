"""Selection of the objective: which of two methods of one head a network is to be trained by."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from rddm.core.data import Batch, batches
from rddm.core.draws import seeded
from rddm.core.entity import Entity
from rddm.core.errors import SpecError
from rddm.core.heads import ROUNDING, decode, encode
from rddm.core.kinds import Backbone, Choice, Sampler, Task
from rddm.core.log import Log
from rddm.core.network import initialised
from rddm.core.process import Path as Process
from rddm.core.process import Prediction
from rddm.core.spec import Training
from rddm.core.systems import launch
from rddm.core.systems.train import Look, Run, look


def rehearse(entity: Entity) -> Run:
    """A run for `select`, with a network of its own that is fresh from the seed; the entity keeps the one it has.

    Raises:
        SpecError: no time of the path lets either method's target follow from the other's.
    """
    _telling(entity[Process])
    training = entity[Training]
    network = initialised(entity[Backbone], entity[Sampler], entity[Task], training.seed)
    return Run.start(entity.replace(network, training.model_copy(update={"ema": None})))


def select(run: Run, choice: Choice, log: Log | None, progress: bool) -> Sampler:
    """The sampler with its choice made, the same in every process; every step is logged.

    Raises:
        TrainingError: loss or gradient is not finite.
        KeyboardInterrupt: after Ctrl-C or SIGTERM; nothing is decided then.
    """
    bar = tqdm(
        total=choice.max_steps,
        desc="select",
        unit="step",
        disable=not (progress and log),
        mininterval=0.5 if sys.stderr.isatty() else 10,
        dynamic_ncols=True,
    )
    trace = []
    with bar, launch.stop_signals() as stopping:
        for scores in selection(run, choice):
            trace.append(scores)
            bar.set_postfix({"lambda": f"{scores['lambda']:.4f}"}, refresh=False)
            bar.update()
            if log:
                log.write(run.step, scores)
            if launch.agree(run.accelerator, bool(stopping)):
                where = f"stopped at step {run.step} of the selection, which has decided nothing"
                raise KeyboardInterrupt(f"{where}; fit the same spec again, and it starts anew")
    return _verdict(choice, trace)


def selection(run: Run, choice: Choice) -> Iterator[dict[str, float]]:
    """Train for both methods at once, one optimizer step at a time; yields lambda and the step's scores.

    Ends where lambda, which starts at 1/2 and stays in [0, 1], is delta away from 1/2 after `min_steps` steps, and
    after `max_steps`. Lambda has an Adam of its own. Its gradient is averaged over the processes, so that all decide
    alike, and clipped together with the network's, so that no single time's large errors decide. Network and lambda
    have constant rates. Source: arXiv 2308.13712, Algorithm 5-1.
    """
    training, place, k = run.entity[Training], run.accelerator, run.entity[Training].accumulate
    weight = nn.Parameter(torch.tensor(0.5, device=place.device))
    optimizer = torch.optim.Adam([weight], lr=choice.lr)
    limit = math.inf if training.clip_grad is None else training.clip_grad
    times = _telling(run.entity[Process])
    loader = iter(batches(run.examples, 0, choice.max_steps * k, place.process_index, run.world))
    away = 0.0
    while run.step < choice.max_steps and (run.step < choice.min_steps or away < choice.delta):
        found = [_pass(run, choice, weight, times, next(loader), run.step * k + i) for i in range(k)]
        weight.grad = place.reduce(weight.grad, reduction="mean")
        scores = launch.average(place, {name: sum(one[name].item() for one in found) / k for name in found[0]})
        scores["grad_norm"] = float(place.clip_grad_norm_([*run.wrapped.parameters(), weight], limit))
        run.check(scores)
        for one in (*run.optimizers, optimizer):
            one.step()
            one.zero_grad()
        weight.data.clamp_(0, 1)  # beyond, a loss would be maximised
        run.step += 1
        now = float(weight.detach())
        away = abs(now - 0.5)
        yield {"lambda": now, **scores}


def objective(choice: Choice, weight: Tensor, seen: Look) -> dict[str, Tensor]:
    """What is minimised, `loss`, and of each method's head its loss and the mean size of its target.

        P = lambda P_1(o) + (1 - lambda) P_2(o),    P_i: all that follows from o, the state and I_in, were o target i
        loss = lambda |target_1 - target_1 of P| + (1 - lambda) |target_2 - target_2 of P|

    Absolute whatever the loss of the training, as published: one target follows from the other with a factor C / A or
    its inverse, and squared errors would leave the decision to the few times at either end where that is huge.
    """
    [output] = seen.found.values()
    x_in = seen.truth.x0 + seen.truth.res
    targets = [next(iter(method.targets(seen.path, seen.node).items())) for method in choice.methods]
    one, two = (decode(seen.x_t, seen.node, [(target, output)], x_in) for _, target in targets)
    mixed = Prediction(*(weight * getattr(one, k) + (1 - weight) * getattr(two, k) for k in ("x0", "res", "eps")))
    scores = {"loss": torch.zeros((), device=weight.device)}
    for (head, target), share in zip(targets, (weight, 1 - weight), strict=True):
        wanted = seen.back(encode(target, seen.truth))
        scores[f"loss_{head}"] = F.l1_loss(seen.back(encode(target, mixed)), wanted)
        scores[f"size_{head}"] = wanted.abs().mean()
        scores["loss"] = scores["loss"] + share * scores[f"loss_{head}"]
    return scores


def _pass(run: Run, choice: Choice, weight: Tensor, times: Tensor, batch: Batch, number: int) -> dict[str, Tensor]:
    seed, place = run.entity[Training].seed, run.accelerator
    run.report(batch["problems"])
    generator = seeded(seed, 4, number, place.process_index, device=place.device)
    with place.accumulate(run.wrapped):
        seen = look(run.entity, run.wrapped, batch, generator, place.device, times)
        scores = objective(choice, weight, seen)
        place.backward(scores["loss"])
    return {name: value.detach() for name, value in scores.items()}


def _telling(path: Process) -> Tensor:
    # The times whose state holds both image and noise. At others one target says nothing of the other, and what
    # stands in for it (as abar = 1 lets I_in stand for the image) is no prediction to learn from.
    both = (path.A.abs() > ROUNDING) & (path.C > 0)
    times = both.reshape(len(both), -1).all(dim=1).nonzero()[:, 0]
    if not len(times):
        problem = "needs times that hold both image and noise to select by, and the schedule has none; name a method"
        raise SpecError("Spec", [(("sampler",), problem)])
    return times


def _verdict(choice: Choice, trace: Sequence[Mapping[str, float]]) -> Sampler:
    step, weight = len(trace), trace[-1]["lambda"]
    number = 0 if weight >= 0.5 else 1
    sizes = ", ".join(
        f"|{key.removeprefix('size_')}| {fmean(one[key] for one in trace):.3g}" for key in trace[0] if "size_" in key
    )
    how = "away from" if abs(weight - 0.5) >= choice.delta else "still within delta of"
    reason = f"lambda {weight:.4f} is {how} 0.5 at step {step} (delta {choice.delta:g}, mean {sizes})"
    return choice.decide(number, step, weight, reason)
