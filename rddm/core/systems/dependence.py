"""How far a trained model's predictions depend on the path that led to a state."""

from __future__ import annotations

from zlib import crc32

import torch
from torch import Tensor

from rddm.core.data import seeded
from rddm.core.entity import Entity
from rddm.core.errors import DataError
from rddm.core.heads import decode
from rddm.core.kinds import Sampler, Task
from rddm.core.network import Network
from rddm.core.process import Node, Path, Prediction, forward
from rddm.core.spec import Training

STEP = 0.01  # of the central differences, as a share of abar_T and bbar_T


def path_dependence(entity: Entity, *, limit: int = 64, times: int = 9, seed: int = 0) -> dict[str, float]:
    """Root mean squares, over pixels, states and evaluation images, of

        dres_dbbar = d res^ / d bbar,   deps_dabar = d eps^ / d abar,   curl = d res^ / d bbar - d eps^ / d abar

    at the states `I_0 + abar I_res + bbar eps` of the path; all 0 for predictions that are the same along all paths.
    By Green's theorem sampling ends at one image whatever way it takes through the (abar, bbar) plane if curl is 0.
    Estimated by central differences at `times` times inside the path, on training-sized crops of up to `limit` images.

    Raises:
        SpecError: the path is not of residual form (A + B = 1), or the heads do not determine the image somewhere.
        DataError: no evaluation image can be read.

    Source: arXiv 2308.13712, partially path-independent generation.
    """
    path, sampler, task, network = entity[Path], entity[Sampler], entity[Task], entity[Network]
    abar, bbar = path.plane()
    device = next(network.parameters()).device
    x0, x_in = (images.to(device) * 2 - 1 for images in _images(entity, limit))
    eps = torch.stack([torch.randn(x0.shape[1:], generator=seeded(seed, 4, n)) for n in range(len(x0))]).to(device)
    condition = task.condition(x_in)

    def predict(t: int, a: Tensor, b: Tensor) -> Prediction:
        node = Node(torch.tensor(t, dtype=torch.float64), 1 - a, a, b, torch.ones_like(a))
        x = forward(x0, x_in, eps, node)
        seen = x if condition is None else torch.cat([x, condition], dim=1)
        found = network(seen, network.times(path.T, node), sampler.heads)
        return decode(x, node, [(target, found[name]) for name, target in sampler.targets(path, node).items()], x_in)

    across, along = STEP * bbar[-1], STEP * abar[-1]
    rows = []
    with torch.inference_mode():
        for t in (path.T * k // (times + 1) for k in range(1, times + 1)):
            a, b = abar[t], bbar[t]
            low, high = (b - across).clamp(min=0), (b + across).clamp(max=bbar[-1])
            res = (predict(t, a, high).res - predict(t, a, low).res) / float(high - low)
            low, high = (a - along).clamp(min=0), (a + along).clamp(max=abar[-1])
            noise = (predict(t, high, b).eps - predict(t, low, b).eps) / float(high - low)
            rows.append([part.square().mean().item() for part in (res, noise, res - noise)])
    means = torch.tensor(rows, dtype=torch.float64).mean(0).sqrt().tolist()
    return dict(zip(("dres_dbbar", "deps_dabar", "curl"), means, strict=True))


def _images(entity: Entity, limit: int) -> tuple[Tensor, Tensor]:
    task, records = entity[Task], entity[Task].eval_records()
    found = []
    for index in range(min(limit, len(records))):
        generator = seeded(crc32(records.names[index].encode()))
        try:
            found.append(task.example(records[index], entity[Training].crop_size, generator))
        except DataError:
            continue
    if not found:
        raise DataError("no evaluation image could be read")
    return torch.stack([one["target"] for one in found]), torch.stack([one["input"] for one in found])
