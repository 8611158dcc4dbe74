"""What a backbone promises."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rddm.core.kinds import Backbone
from rddm.testing._property import holds, near, own_randomness, require

CHANNELS = ((6, 3, 1), (1, 1, 1), (7, 6, 2))  # in, out, times
PASSES = 20  # over which gradients add up, before a parameter that none has reached is called dead


def awake(net: nn.Module, scale: float = 0.1) -> nn.Module:
    """The network with its parameters moved, so that none which starts at zero hides another."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn(parameter.shape), alpha=scale)
    return net


def given(recipe: Backbone, in_chans: int = 6, times: int = 1, batch: int = 2) -> tuple[Tensor, Tensor]:
    """An input of the least size that is not square, (B, in_chans, *S), and times (B, times)."""
    size = recipe.multiple * -(-8 // recipe.multiple)
    sides = [size] * (recipe.ndim - 1) + [2 * size]
    return torch.randn(batch, in_chans, *sides), 1000 * torch.rand(batch, times)


def _built(recipe: Backbone, times: int = 1, out_chans: int = 3) -> tuple[nn.Module, Tensor, Tensor]:
    net = awake(recipe.build(6, out_chans, times)).eval()
    return net, *given(recipe, times=times)


@holds(
    "backbone",
    "build must return an nn.Module, and multiple an int: the product of all strides, 1 where there is none.",
)
def build_gives_a_module(backbone: Backbone) -> None:
    """build(in_chans, out_chans, times) gives an nn.Module, and `multiple` is an integer of at least 1."""
    with own_randomness():
        net = backbone.build(6, 3, 1)
    require(isinstance(net, nn.Module), f"build gives {type(net).__name__}")
    require(type(backbone.multiple) is int and backbone.multiple >= 1, f"multiple is {backbone.multiple!r}")
    require(any(p.requires_grad for p in net.parameters()), "the network has no parameters to train")


@holds(
    "backbone",
    "Make the last layer out_chans wide and the first in_chans, and undo every stride; `multiple` says what divides S.",
)
def the_output_has_the_channels_asked_for_and_the_size_of_the_input(
    backbone: Backbone, *, channels: Sequence[tuple[int, int, int]] = CHANNELS
) -> None:
    """For x (B, in_chans, *S), S multiples of `multiple`, the output is (B, out_chans, *S), finite, of x's dtype."""
    with own_randomness(), torch.no_grad():
        for in_chans, out_chans, times in channels:
            net = backbone.build(in_chans, out_chans, times)
            x, time = given(backbone, in_chans, times)
            turned = x.transpose(2, -1)
            for image in (x, turned, x[:1]):
                y = net(image, time[: len(image)])
                want = (len(image), out_chans, *image.shape[2:])
                require(y.shape == want, f"for x {tuple(image.shape)} it is {tuple(y.shape)}, not {want}")
                require(y.isfinite().all(), f"for x {tuple(image.shape)} it is not finite")
                require(y.dtype == x.dtype, f"for x of {x.dtype} it is of {y.dtype}")


@holds("backbone", "Scale the initial weights of the last layer down, or set them to zero.")
def a_fresh_network_is_bounded(backbone: Backbone) -> None:
    """With the weights that training starts from, outputs for standard normal inputs are below 100."""
    with own_randomness(), torch.no_grad():
        x, time = given(backbone)
        net = backbone.build(6, 3, 1)
        backbone.initialise(net)
        largest = net(x, time).abs().amax().item()
    require(largest < 100, f"the largest is {largest:.4g}")


@holds(
    "backbone",
    "Feed the embedding of `time` into the blocks; with times = 2, of both columns. Times are in about [0, 1000].",
)
def every_time_matters(backbone: Backbone) -> None:
    """The output depends on each of the `times` values."""
    with own_randomness(), torch.no_grad():
        for times in (1, 2):
            net, x, time = _built(backbone, times)
            for k in range(times):
                other = time.clone()
                other[:, k] = 1000 - other[:, k]
                moved = (net(x, other) - net(x, time)).abs().amax().item()
                require(moved > 1e-3, f"with times = {times}, another time {k} moves the output by {moved:.2g}")


@holds("backbone", "Normalise over channels or pixels (GroupNorm, LayerNorm), not over the batch (BatchNorm).")
def items_of_a_batch_do_not_influence_each_other(backbone: Backbone) -> None:
    """In evaluation, each item's output is what it is alone."""
    with own_randomness(), torch.no_grad():
        net = awake(backbone.build(6, 3, 1)).eval()
        x, time = given(backbone, batch=3)
        together = net(x, time)
        atol = 1e-5 * max(1.0, together.abs().amax().item())
        for i in range(3):
            alone = net(x[i : i + 1], time[i : i + 1])
            near(alone, together[i : i + 1], f"item {i} alone", atol=atol, rtol=1e-4)


@holds("backbone", "Remove parameters that no output depends on, and detach() or no_grad() on the way to the others.")
def finite_gradients_reach_every_parameter(backbone: Backbone) -> None:
    """Once weights are off their initial values, the loss has a finite gradient, not zero, for every parameter.

    In training, where a block may be left out at random: it is enough that one of many passes has it.
    """
    with own_randomness(), torch.enable_grad():
        net = awake(backbone.build(6, 3, 2))
        x, time = given(backbone, times=2)
        for _ in range(PASSES):
            net(x, time).square().mean().backward()
            used = [(key, p.grad) for key, p in net.named_parameters() if p.requires_grad]
            dead = [key for key, gradient in used if gradient is None or not gradient.any()]
            if not dead:
                break
    require(not dead, f"no gradient reaches {', '.join(dead[:5])}" + (f" and {len(dead) - 5} more" * (len(dead) > 5)))
    wild = [key for key, gradient in used if gradient is not None and not gradient.isfinite().all()]
    require(not wild, f"gradients of {', '.join(wild[:5])} are not finite")


@holds("backbone", "Draw initial weights by torch alone (nn.init), and nothing else at random in evaluation.")
def equal_seeds_give_equal_weights_and_outputs(backbone: Backbone) -> None:
    """Weights follow from torch's seed, differ from seed to seed, and in evaluation equal inputs give equal outputs."""
    built = []
    for seed in (1, 1, 2):
        with own_randomness(seed):
            built.append(list(backbone.build(6, 3, 1).state_dict().values()))
    same, other = (all(torch.equal(a, b) for a, b in zip(built[0], one, strict=True)) for one in built[1:])
    require(same, "two networks of one seed have different weights")
    require(not other, "networks of different seeds have equal weights")
    with own_randomness(), torch.no_grad():
        net, x, time = _built(backbone)
        require(torch.equal(net(x, time), net(x, time)), "in evaluation, two calls give different outputs")


@holds(
    "backbone", "Register what the output depends on as parameters or buffers (register_buffer), not as plain tensors."
)
def a_state_dict_carries_the_whole_network(backbone: Backbone) -> None:
    """A network with another's state_dict gives the other's outputs."""
    with own_randomness(), torch.no_grad():
        net, x, time = _built(backbone)
        other = awake(backbone.build(6, 3, 1)).eval()
        other.load_state_dict(net.state_dict())
        require(torch.equal(other(x, time), net(x, time)), "outputs differ")


@holds("backbone", "Cast the embedding of the time, not the time itself: bfloat16 cannot tell 900 from 901.")
def another_dtype_keeps_the_time(backbone: Backbone) -> None:
    """A network cast to float64 or bfloat16 takes float32 times, gives its own type, and tells near times apart."""
    with own_randomness(), torch.no_grad():
        for dtype in (torch.float64, torch.bfloat16):
            net, x, _ = _built(backbone)
            net = net.to(dtype)
            a, b = (net(x.to(dtype), torch.full((2, 1), t)) for t in (900.0, 901.0))
            require(a.dtype == dtype, f"a network of {dtype} gives {a.dtype}")
            require(not torch.equal(a, b), f"a network of {dtype} gives the same at t = 900 and t = 901")


@holds("backbone", "Leave out Python branches on values, .item(), and lists that grow; see torch._dynamo.explain.")
def torch_compile_takes_it_whole(backbone: Backbone, *, compile: bool | str = "eager") -> None:
    """torch.compile captures the network as one graph, and it computes the same.

    `compile` is a backend: "eager" needs no compiler; True is "inductor", which needs one, and some minutes; False
    leaves this out.
    """
    if compile is False:
        return
    with own_randomness(), torch.no_grad():
        net, x, time = _built(backbone)
        want = net(x, time)
        torch.compiler.reset()
        try:
            compiled = torch.compile(net, fullgraph=True, backend="inductor" if compile is True else compile)
            near(compiled(x, time), want, "the compiled network's output", atol=1e-3, rtol=1e-3)
        finally:
            torch.compiler.reset()


@holds(
    "backbone", "Look at the learning path: a skip from input to output, activations that do not die, no saturation."
)
def one_pair_is_learnt_by_heart(backbone: Backbone, *, lr: float = 1e-2, steps: int = 150) -> None:
    """150 steps of Adam on one random pair bring the error, in evaluation, down to a tenth."""
    with own_randomness(), torch.enable_grad():
        net = backbone.build(6, 3, 1)
        x, time = given(backbone, batch=1)
        y = torch.randn(1, 3, *x.shape[2:])
        optimizer = torch.optim.Adam(net.parameters(), lr=lr)
        first = (net.eval()(x, time) - y).square().mean().item()
        net.train()
        for _ in range(steps):
            optimizer.zero_grad()
            (net(x, time) - y).square().mean().backward()
            optimizer.step()
        last = (net.eval()(x, time) - y).square().mean().item()
    require(last < first / 10, f"after {steps} steps, the error went from {first:.3g} to {last:.3g}")
