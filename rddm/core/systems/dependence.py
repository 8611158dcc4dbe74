"""How far a trained model's predictions depend on the path that led to a state."""

from __future__ import annotations

import torch
from torch import Tensor

from rddm.core.data import evaluation_crops
from rddm.core.draws import seeded
from rddm.core.entity import Entity
from rddm.core.errors import DataError, SpecError
from rddm.core.extras import stacked
from rddm.core.heads import decode
from rddm.core.kinds import Sampler, Task
from rddm.core.network import Network
from rddm.core.process import Node, Path, Prediction, forward
from rddm.core.spec import Training

STEP = 0.01  # of the central differences, as a share of the largest abar and bbar


def path_dependence(entity: Entity, *, limit: int = 64, times: int = 9, seed: int = 0) -> dict[str, float]:
    """Root mean squares, over pixels, states and evaluation images, of

        dres_dbbar = d res^ / d bbar,   deps_dabar = d eps^ / d abar,   curl = d res^ / d bbar - d eps^ / d abar

    at the states `I_0 + abar I_res + bbar eps` of the path; all 0 for predictions that are the same along all paths.
    By Green's theorem sampling ends at one image whatever way it takes through the (abar, bbar) plane if curl is 0.
    Estimated by central differences at `times` times inside the path, on training-sized crops of up to `limit` images.

    Raises:
        SpecError: the path is not of residual form (A + B = 1), holds no noise, or has coefficients by frequency; what
            the heads predict is defined on the path alone; or they do not determine the image somewhere.
        DataError: no evaluation image can be read, or they have no targets.

    Source: arXiv 2308.13712, partially path-independent generation.
    """
    path, sampler, task, network = entity[Path], entity[Sampler], entity[Task], entity[Network]
    abar, bbar = path.plane()
    if path.spectrum is not None or not bbar.any():
        problem = "has no plane of residual and noise: it holds no noise, or each frequency has a path of its own"
        raise SpecError("Spec", [(("schedule",), problem)])
    if sampler.bound:
        problem = f"{sampler.name} predicts what only the path of training defines, and nothing beside it"
        raise SpecError("Spec", [(("sampler",), problem)])
    device = next(network.parameters()).device
    examples = evaluation_crops(task, entity[Training].crop_size(task.ndim), limit)
    if not all("target" in example for example in examples):
        raise DataError("the way is made from the clean image, and the evaluation images have no targets; give pairs")
    extras = stacked(task, examples)
    truths = [torch.stack([one[role] for one in examples]) * 2 - 1 for role in ("target", "input")]
    truths.append(torch.stack([torch.randn(x.shape, generator=seeded(seed, 4, n)) for n, x in enumerate(truths[0])]))

    def predict(part: slice, t: int, a: Tensor, b: Tensor) -> Prediction:
        x0, x_in, eps = (truth[part].to(device) for truth in truths)
        condition = task.condition(x_in, {role: extra[part].to(device) for role, extra in extras.items()})
        node = Node(torch.tensor(t, dtype=torch.float64), 1 - a, a, b, torch.ones_like(a))
        x = forward(x0, x_in, eps, node)
        seen = x if condition is None else torch.cat([x, condition], dim=1)
        found = network(seen, network.times(path.T, node), sampler.heads)
        return decode(x, node, [(target, found[name]) for name, target in sampler.targets(path, node).items()], x_in)

    size = entity[Training].batch_size
    across, along = STEP * bbar.max(), STEP * abar.max()
    totals = torch.zeros(3, dtype=torch.float64)
    with torch.inference_mode():
        for t in (path.T * k // (times + 1) for k in range(1, times + 1)):
            a, b = abar[t], bbar[t]
            b_low, b_high = (b - across).clamp(min=0), (b + across).clamp(max=bbar.max())
            a_low, a_high = (a - along).clamp(min=0), (a + along).clamp(max=abar.max())
            for first in range(0, len(examples), size):
                part = slice(first, first + size)
                res = (predict(part, t, a, b_high).res - predict(part, t, a, b_low).res) / float(b_high - b_low)
                eps = (predict(part, t, a_high, b).eps - predict(part, t, a_low, b).eps) / float(a_high - a_low)
                totals += torch.tensor([one.square().sum().item() for one in (res, eps, res - eps)])
    means = (totals / (times * truths[0].numel())).sqrt().tolist()
    return dict(zip(("dres_dbbar", "deps_dabar", "curl"), means, strict=True))
