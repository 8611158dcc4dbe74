"""Whose line an error came from."""

from __future__ import annotations

import inspect
import traceback
from pathlib import Path


def line_of(error: BaseException, package: str) -> str:
    """FILE:LINE of the deepest line of a package that the error came through, or "" if it came through none.

    Of a file that Python cannot parse, it is the line with the mistake.
    """
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).is_file():
        return f"{error.filename}:{error.lineno}"
    lines = [
        f"{frame.f_code.co_filename}:{number}"
        for frame, number in traceback.walk_tb(error.__traceback__)
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] == package
    ]
    return lines[-1] if lines else ""


def line_of_class(cls: type) -> str:
    """FILE:LINE where a class is defined, or "" where there is no source."""
    try:
        return f"{inspect.getsourcefile(cls)}:{inspect.getsourcelines(cls)[1]}"
    except (OSError, TypeError):
        return ""
