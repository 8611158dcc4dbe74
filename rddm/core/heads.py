"""What a network's heads say of a state: linear targets, the equations that decode them, and clipping."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rddm.core.errors import SpecError
from rddm.core.process import Node, Prediction, combine, scale, unchanged

#: A linear target `p I_0 + q I_in + r eps` as (p, q, r): what a head of a network predicts.
Target = tuple[float | Tensor, float | Tensor, float | Tensor]

X0: Target = (1.0, 0.0, 0.0)
INPUT: Target = (0.0, 1.0, 0.0)
RES: Target = (-1.0, 1.0, 0.0)
NOISE: Target = (0.0, 0.0, 1.0)


def decode(x_t: Tensor, node: Node, heads: Sequence[tuple[Target, Tensor]], x_in: Tensor) -> Prediction:
    """Clean image, residual and noise from the state and a network's heads.

    One head is completed by the known I_in; two heads stand alone. Together with the path they are three linear
    equations for (I_0, I_in, eps), solved in float64. Where the path itself says nothing about an unknown, its
    equation is replaced by the best guess: without noise (C = 0) the noise is 0; where no trace of the clean
    image is left (A = 0) the residual is 0, that is I_in stands for it; where no equation mentions I_in (B = 0), or the
    state is noise alone (A = B = 0), it is the known one. Nothing is divided by a patched zero.

    Args:
        x_t: state (B, C, *S).  heads: one or two pairs of target and prediction (B, C, *S).
        x_in: the input image (B, C, *S).

    Raises:
        SpecError: the heads do not determine the clean image at this time.
    """
    equations = list(heads)
    if len(equations) == 1:
        equations.append((INPUT, x_in))
    rows = [_row(target, node) for target, _ in equations]
    system = torch.stack([_row((node.A, node.B, node.C), node), *rows], dim=-2)  # (..., 3 equations, 3 unknowns)
    state, singular = x_t, _singular(system)
    if singular.any():
        unmentioned, unseen = ((system[..., :, i] == 0).all(-1) for i in (2, 1))
        no_noise, known = (~_singular(torch.stack([_row(row, node), *rows], dim=-2)) for row in (NOISE, INPUT))
        noiseless = (node.C == 0) & (unmentioned | no_noise)  # the latter at a bridge's end
        unseen = unseen | ((node.A == 0) & (node.B == 0) & known)  # the state is noise alone
        mute = noiseless & (system[..., 1, :] == 0).all(-1)  # nor does the head say anything: the path alone decides
        rest = torch.where(unseen[..., None], _row(INPUT, node), _row(RES, node))
        silent = torch.where(noiseless[..., None], _row(NOISE, node), rest)
        replaced = torch.stack([silent, *rows], dim=-2)
        unheard = torch.stack([system[..., 0, :], _row(NOISE, node), *system[..., 2:, :].unbind(-2)], dim=-2)
        replaced = torch.where(mute[..., None, None], unheard, replaced)
        system = torch.where(singular[..., None, None], replaced, system)
        lost = singular & ~mute
        known_input = (lost & unseen & ~noiseless).to(torch.float64)
        state = scale((~lost).to(torch.float64), x_t) + scale(known_input, x_in)
        if (singular & ~(noiseless | unseen | (node.A.abs() <= ROUNDING))).any() or _singular(system).any():
            message = f"path and heads are dependent equations for (I_0, I_in, eps) at t = {node.t.tolist()}"
            hint = "so they do not determine the clean image; take another sampler or schedule"
            raise SpecError("sampler", [((), f"{message}, {hint}")])
    inverse = torch.linalg.inv(system)
    knowns = [state, *(value for _, value in equations)]
    x0, source, eps = (combine(inverse[..., i, :].unbind(-1), knowns) for i in range(3))
    return Prediction(x0, source - x0, eps)


#: What float64 rounding leaves of a coefficient, or of a determinant over its rows' lengths, that should be 0.
ROUNDING = 8 * torch.finfo(torch.float64).eps


def _singular(system: Tensor) -> Tensor:
    lengths = torch.linalg.vector_norm(system, dim=-1)
    rounded: Tensor = torch.linalg.det(system).abs() <= ROUNDING * lengths.prod(dim=-1)
    return rounded


def _row(target: Target, node: Node) -> Tensor:
    columns = [torch.as_tensor(part, dtype=torch.float64).expand(node.A.shape) for part in target]
    return torch.stack(columns, dim=-1)


def encode(target: Target, truth: Prediction) -> Tensor:
    """The value of a target `p I_0 + q I_in + r eps`, (B, C, *S)."""
    p, q, r = target
    return combine((p, q, r), (truth.x0, truth.x0 + truth.res, truth.eps))


def clip(
    prediction: Prediction, to: Callable[[Tensor], Tensor] = unchanged, back: Callable[[Tensor], Tensor] = unchanged
) -> Prediction:
    """The prediction with its clean image clipped to [-1, 1]; I_in and the noise stay as they are.

    The residual lives in [-2, 2] and is never clipped itself, so a pixel may change by the whole range. `to` and
    `back` lead from images to the coefficients that the prediction consists of, and back.
    """
    x0 = to(back(prediction.x0).clamp(-1, 1))
    return Prediction(x0, prediction.res + (prediction.x0 - x0), prediction.eps)


def _same(target: Target, other: Target) -> bool:
    return all(not isinstance(part, Tensor) and part == want for part, want in zip(target, other, strict=True))


def clip_residual(
    found: Prediction,
    x_t: Tensor,
    node: Node,
    x_in: Tensor,
    targets: Sequence[Target],
    to: Callable[[Tensor], Tensor] = unchanged,
    back: Callable[[Tensor], Tensor] = unchanged,
) -> Prediction:
    """The prediction as published checkpoints were sampled: residual clipped to [-1, 1], the clean image following.

        R = C(res),  or C(I_in - C(x0)) where the noise alone is predicted,  C(.) = clip to [-1, 1]
        x0 = (x_t - B R - C_t E) / (A + B)

    The noise E stays as predicted; where only the image or the residual is predicted, it follows from R and I_in. A
    pixel can then change by half the range only, so this is for those checkpoints. `to` and `back` as for `clip`.
    Source: measured on the published implementation of arXiv 2308.13712.

    Raises:
        SpecError: A + B is 0 there, so that no image follows from residual and noise.
    """
    if (node.A + node.B == 0).any():
        problem = f"'residual' needs A + B above 0, but the state holds no image at t = {node.t.tolist()}; take 'x0'"
        raise SpecError("Spec", [(("sampler", "clip"), problem)])
    alone = len(targets) == 1 and _same(targets[0], NOISE)
    imaged = any(_same(target, X0) for target in targets)
    res = x_in - to(back(found.x0).clamp(-1, 1)) if alone else x_in - found.x0 if imaged else found.res
    res, eps = to(back(res).clamp(-1, 1)), found.eps
    if len(targets) == 1 and not alone:
        noisy = node.C > 0
        left = combine((1.0, node.A, -(node.A + node.B)), (x_t, res, x_in))
        eps = scale(noisy / torch.where(noisy, node.C, 1.0), left)
    return Prediction(scale(1 / (node.A + node.B), combine((1.0, -node.B, -node.C), (x_t, res, eps))), res, eps)


def kept(
    found: Prediction,
    x_in: Tensor,
    known: Tensor | None,
    to: Callable[[Tensor], Tensor] = unchanged,
    back: Callable[[Tensor], Tensor] = unchanged,
) -> Prediction:
    """The prediction with what is known put in its place: x0 = I_in and res = 0 where `known` (B, 1, *S) is true.

    The noise stays as predicted. `to` and `back` are as for `clip`; `known` is of pixels, None where there is none.
    """
    if known is None:
        return found
    x0 = to(torch.where(known, back(x_in), back(found.x0)))
    return Prediction(x0, to(torch.where(known, 0.0, back(found.res))), found.eps)


def clipped(
    how: str,
    found: Prediction,
    x_t: Tensor,
    node: Node,
    x_in: Tensor,
    targets: Sequence[Target],
    to: Callable[[Tensor], Tensor] = unchanged,
    back: Callable[[Tensor], Tensor] = unchanged,
) -> Prediction:
    """The prediction clipped as `sampler.clip` says: by `clip`, by `clip_residual`, or, at "none", as it is."""
    if how == "residual":
        return clip_residual(found, x_t, node, x_in, targets, to, back)
    return clip(found, to, back) if how == "x0" else found
