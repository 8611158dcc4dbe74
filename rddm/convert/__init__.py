"""Models from elsewhere and for elsewhere: the published implementation, and Hugging Face's diffusers."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rddm.convert.diffusers import from_diffusers
    from rddm.convert.scheduler import RDDMScheduler

# Imported when first used, so that this package needs neither torch nor diffusers.
_LAZY = {"RDDMScheduler": "rddm.convert.scheduler", "from_diffusers": "rddm.convert.diffusers"}

__all__ = ["RDDMScheduler", "from_diffusers"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
