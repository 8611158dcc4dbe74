"""The processes of rddm as a scheduler of diffusers."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Generator, Tensor

from rddm.core.entity import Entity
from rddm.core.errors import SpecError
from rddm.core.heads import clipped, decode
from rddm.core.kinds import Sampler, Schedule, Solver
from rddm.core.named import resolve
from rddm.core.process import Node, Prediction, forward
from rddm.core.systems.trajectory import itinerary

try:
    from diffusers import ConfigMixin, SchedulerMixin
    from diffusers.configuration_utils import register_to_config
    from diffusers.schedulers.scheduling_ddim import DDIMSchedulerOutput
    from diffusers.utils.torch_utils import randn_tensor
except ImportError as cause:
    raise ImportError("RDDMScheduler needs diffusers: pip install 'residual-diffusion[diffusers]'") from cause


class RDDMScheduler(SchedulerMixin, ConfigMixin):
    """Any schedule and sampling method of rddm, for the pipelines of diffusers; I_in is 0 unless `set_input` says it.

    Timesteps count as in diffusers, t - 1 for the t of rddm. What the model must predict is what the sampler's heads
    are (epsilon: sm-n, v_prediction: v, sample: sm-x0), side by side in its output channels where there are two.

    Pipelines that start from noise of variance 1, whatever `init_noise_sigma` says, need a path that ends there.

    Args:
        schedule, sampler: a name, or a table with a name and parameters, as in a spec.

    Raises:
        SpecError: they are not valid; the schedule acts on frequencies; the route has other times than the schedule; as
            `itinerary` for `set_timesteps`; a step from a time that is not visited, with eta outside [0, 1], or by a
            solver that evaluates the network more than once a step.
    """

    order = 1

    @register_to_config
    def __init__(self, schedule: str | dict[str, Any] = "ddim", sampler: str | dict[str, Any] = "sm-n") -> None:
        parts = resolve(Schedule, schedule), resolve(Sampler, sampler)
        self.register_to_config(schedule=parts[0].model_dump(mode="json"), sampler=parts[1].model_dump(mode="json"))
        self._sampler, self._own = parts[1], parts[0].path()
        self._path = self._own if parts[1].route is None else parts[1].route.path(self._own)
        if self._path.spectrum is not None:
            problem = f"{parts[0].name!r} acts on frequencies, where no pipeline keeps its state"
            raise SpecError("scheduler", [(("schedule",), problem)])
        if parts[1].route is not None and not (parts[1].route.timed and self._path.T == self._own.T):
            problem = "leaves the states that a model told the index t knows; take a schedule of as many steps"
            raise SpecError("scheduler", [(("sampler", "route"), problem)])
        end, prior = self._path[self._path.T], self._path.prior
        self.init_noise_sigma = float(end.C.max() if prior is None else prior[1])
        self.num_inference_steps: int | None = None
        self._input: Tensor | None = None
        self._memory: Any = None
        self._times = list(range(len(self), -1, -1))
        self.timesteps = torch.tensor(self._times[:-1]) - 1

    def __len__(self) -> int:
        return self._path.T

    def set_input(self, x_in: Tensor | None) -> Self:
        """Take I_in, (B, C, *S) in [-1, 1], from now on; None is 0. Returns self."""
        self._input = x_in
        return self

    def set_timesteps(self, num_inference_steps: int, device: str | torch.device | None = None) -> None:
        """Take so many steps, along the sampler's grid, and begin anew."""
        _, self._times = itinerary(Entity((self._own, self._sampler)), num_inference_steps)
        self.num_inference_steps, self._memory = num_inference_steps, None
        self.timesteps = torch.tensor(self._times[:-1], device=device) - 1

    def start(self, noise: Tensor) -> Tensor:
        """The state (B, C, *S) that sampling starts from: noise of variance 1, scaled, and I_in."""
        return self._path.start(self._x_in(noise), noise)

    def scale_model_input(self, sample: Tensor, timestep: int | Tensor | None = None) -> Tensor:
        """The sample as it is."""
        return sample

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """The state I_t at timesteps (B,), of which 0 is t = 1."""
        return forward(original_samples, self._x_in(original_samples), noise, self._path[timesteps.cpu() + 1])

    def step(
        self,
        model_output: Tensor,
        timestep: int | Tensor,
        sample: Tensor,
        eta: float | None = None,
        use_clipped_model_output: bool | None = None,
        generator: Generator | list[Generator] | None = None,
        variance_noise: Tensor | None = None,
        return_dict: bool = True,
    ) -> DDIMSchedulerOutput | tuple[Tensor, Tensor]:
        """The sample at the next timestep, and the predicted clean image.

        Args:
            eta: DDIM's, whose square is the share of the variance here; the sampler's if not given.
            use_clipped_model_output: let the noise follow from the clipped image: the solver `posterior`.
            variance_noise: what is drawn otherwise, from `generator`.
        """
        sampler, x_in, t = self._sampler, self._x_in(sample), int(timestep) + 1
        if t not in self._times[:-1]:
            problem = f"visits {[time - 1 for time in self._times[:-1]]}; given {t - 1}"
            raise SpecError("scheduler", [(("timestep",), problem)])
        now, to = self._path[t], self._path[self._times[self._times.index(t) + 1]]
        targets = sampler.targets(self._own, self._own[t])  # what the model, told t, was taught there
        outputs = model_output.to(sample.dtype).chunk(len(sampler.heads), dim=1)

        def predict(x: Tensor, node: Node) -> Prediction:
            if x is not sample:
                problem = f"{sampler.solver.name!r} needs the network again within a step, which no pipeline gives"
                raise SpecError("Spec", [(("sampler", "solver"), problem)])
            heads = [(targets[head], output) for head, output in zip(sampler.heads, outputs, strict=True)]
            prediction = decode(x, node, heads, x_in)
            return clipped(sampler.clip, prediction, x, node, x_in, list(targets.values()))

        def draw() -> Tensor:
            if variance_noise is not None:
                return variance_noise
            noise: Tensor = randn_tensor(sample.shape, generator, sample.device, sample.dtype)
            return noise

        solver = resolve(Solver, "posterior") if use_clipped_model_output else sampler.solver
        if eta is not None and not 0 <= eta <= 1:
            raise SpecError("scheduler", [(("eta",), f"must be in [0, 1]; given {eta}")])
        share = sampler.eta if eta is None else eta**2
        x, found, self._memory = solver.step(sample, now, to, predict, draw, share, self._memory)
        return DDIMSchedulerOutput(prev_sample=x, pred_original_sample=found.x0) if return_dict else (x, found.x0)

    def _x_in(self, like: Tensor) -> Tensor:
        return torch.zeros_like(like) if self._input is None else self._input.to(like)
