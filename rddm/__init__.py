"""Residual Denoising Diffusion Models: image restoration and translation as one dual diffusion.

import rddm
trainer = rddm.build({"task": {"name": "paired", "train": "data/train", "eval": "data/test"}})
trainer.fit()
clean = trainer.restore(image)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rddm.core.errors import (
    CheckpointError,
    DataError,
    LaunchError,
    MissingPartError,
    OutputError,
    RddmError,
    RegistryError,
    ShapeError,
    SpecError,
    TrainingError,
)

if TYPE_CHECKING:
    from rddm.core.entity import Entity
    from rddm.core.spec import EMA, Spec, Training
    from rddm.core.systems.evaluate_files import evaluate
    from rddm.core.trainer import Trainer, build, load

__version__ = "0.1.0"

# Imported when first used: `import rddm` and the command line's help need no torch.
_LAZY = {
    "EMA": "rddm.core.spec",
    "Entity": "rddm.core.entity",
    "Spec": "rddm.core.spec",
    "Trainer": "rddm.core.trainer",
    "Training": "rddm.core.spec",
    "build": "rddm.core.trainer",
    "evaluate": "rddm.core.systems.evaluate_files",
    "load": "rddm.core.trainer",
}

__all__ = [
    "EMA",
    "CheckpointError",
    "DataError",
    "Entity",
    "LaunchError",
    "MissingPartError",
    "OutputError",
    "RddmError",
    "RegistryError",
    "ShapeError",
    "Spec",
    "SpecError",
    "Trainer",
    "Training",
    "TrainingError",
    "build",
    "evaluate",
    "load",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'rddm' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
