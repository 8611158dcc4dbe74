"""Another process, started afresh, which reads pickled components: this file is its program."""

from __future__ import annotations

import atexit
import os
import pickle
import subprocess
import sys
from contextlib import suppress
from threading import Timer
from typing import Any, BinaryIO, cast

LIMIT = 120  # seconds for an answer
_running: list[subprocess.Popen[bytes]] = []


class Ended(Exception):
    """The other process failed to read a component, or ended."""


def dumped_elsewhere(pickled: bytes) -> Any:
    """What `model_dump` gives there. One process serves all; it imports what the pickle names, and no __main__.

    Raises:
        Ended: saying how.
    """
    if not _running:
        _running.append(subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE))
    there = _running[0]
    late = Timer(LIMIT, there.kill)
    late.start()
    try:
        pickle.dump((sys.path, pickled), cast("BinaryIO", there.stdin))
        cast("BinaryIO", there.stdin).flush()
        good, answer = pickle.load(cast("BinaryIO", there.stdout))
    except (EOFError, OSError, pickle.UnpicklingError):
        how = "ended" if late.is_alive() else f"gave no answer in {LIMIT} s, and ended"
        raise Ended(f"{how}, with exit status {_stop()}") from None
    finally:
        late.cancel()
    if not good:
        raise Ended(f"failed: {answer}")
    return answer


@atexit.register
def _stop() -> int | None:
    """End the process, if there is one, and give its exit status."""
    if not _running:
        return None
    there = _running.pop()
    for pipe in (there.stdin, there.stdout):
        with suppress(OSError):  # of what was written to a process that is gone
            cast("BinaryIO", pipe).close()
    try:
        return there.wait(timeout=5)
    except subprocess.TimeoutExpired:
        there.kill()
        return there.wait()


def _serve() -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a component prints is no answer
    while True:
        try:
            sys.path[:], pickled = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer: tuple[bool, Any] = True, pickle.loads(pickled).model_dump(mode="json")
        except BaseException as error:  # also SystemExit
            answer = False, f"{type(error).__name__}: {error}"
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    _serve()
