"""A folder of image files: pairs, or clean photographs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from rddm.core.errors import DataError
from rddm.core.folders import by_name
from rddm.core.kinds import Source
from rddm.sources._files import ImageFiles, first


class Folder(Source):
    """The images below `path`, named by their relative paths without suffix.

    With the sub-folders `input` and `target` in it: pairs, an image of one with the image of that name in the other,
    and in each sub-folder of `extras`. Without both: clean photographs, each a target. With `target: null`: degraded
    images only, to evaluate without targets; `input: .` are those of the folder itself. A relative path starts at
    the working directory, `~` at home.
    """

    name: Literal["folder"] = "folder"
    path: Path = Field(description="the folder")
    input: str = Field(default="input", min_length=1, description="sub-folder of the degraded images")
    target: Annotated[str, Field(min_length=1)] | None = Field(
        default="target", description="sub-folder of the clean images; null where there are none"
    )
    extras: tuple[str, ...] = Field(default=(), description="sub-folders of further images, such as mask")
    ndim: Literal[1, 2, 3] = Field(default=2, description="1 for signals, 3 for volumes, each a .npy file")
    cache_mb: int = Field(default=1024, ge=0, description="MiB of decoded images kept in memory, in each process")

    def open(self) -> ImageFiles:
        """The examples, unread.

        Raises:
            DataError: no images, one sub-folder without the other, images without a partner, or two of one name.
        """
        root = Path(os.path.expanduser(self.path)).absolute()  # unknown ~users are left as they are
        if not root.is_dir():
            raise DataError(
                f"{self.path} is no folder (looked for {root}); give another by task.train=FOLDER or task.eval=FOLDER"
            )
        named = {"input": self.input} | ({} if self.target is None else {"target": self.target})
        sides = {role: root / role for role in self.extras} | {role: root / side for role, side in named.items()}
        there = {role: side for role, side in sides.items() if side.is_dir()}
        if there != sides and (there or self.extras or self.target is None):
            missing = next(side for side in sides.values() if side not in there.values())
            raise DataError(f"{missing} is missing; pairs need it: add it, or name it by `input`, `target` or `extras`")
        found = {role: by_name(side, self.ndim) for role, side in (there or {"target": root}).items()}
        paired = set.intersection(*map(set, found.values()))
        lone = {role: [name for name in side if name not in paired] for role, side in found.items()}
        if any(lone.values()):
            counts = [f"{len(lone[r])} of {len(found[r])} in {there[r]}{first(lone[r])}" for r in there]
            raise DataError(f"no partner of the same name but for the suffix: {', '.join(counts)}; add or remove some")
        names = list(next(iter(found.values())))
        files = [{role: side[name] for role, side in found.items()} for name in names]
        return ImageFiles(names, files, self.cache_mb, self.ndim)
