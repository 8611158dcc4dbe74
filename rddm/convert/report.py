"""What a conversion did."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rddm.core.spec import Spec


@dataclass(frozen=True)
class Report:
    """What became of a foreign checkpoint: complete, so that nothing is dropped or guessed in silence."""

    source: Path  # what was read
    run: Path  # what was written, for `rddm.load`
    spec: Spec
    mapped: tuple[tuple[str, str], ...]  # (name there, name here) of each weight
    ignored: tuple[str, ...]  # names in the checkpoint that the model needs not
    assumed: tuple[str, ...]  # what the checkpoint does not say, and how to say it

    def __str__(self) -> str:
        spec = self.spec
        parts = ", ".join(
            f"{part.kind} {part.name}" for part in (spec.task, spec.schedule, spec.sampler, spec.backbone)
        )
        lines = [f"{self.source} -> {self.run}", f"  {parts}; {len(self.mapped)} weights"]
        lines += [f"  ignored: {', '.join(self.ignored)}"] if self.ignored else []
        lines += [f"  assumed: {line}" for line in self.assumed]
        return "\n".join(lines)
