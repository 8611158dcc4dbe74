"""A whole training run: the loop around the steps, its folder, and its ways to end."""

from __future__ import annotations

import shutil
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from filelock import FileLock, Timeout
from tqdm import tqdm

from rddm.core import checkpoint, metrics
from rddm.core.entity import Entity
from rddm.core.errors import CheckpointError, OutputError, TrainingError
from rddm.core.files import check_ours, fresh_file, to_json
from rddm.core.kinds import Backbone, Choice, Sampler, Task
from rddm.core.log import Log
from rddm.core.network import initialised
from rddm.core.pictures import sheet, side_by_side
from rddm.core.spec import Spec, Training
from rddm.core.systems import launch
from rddm.core.systems.evaluate import compared, ready, results, sets
from rddm.core.systems.select import rehearse, select
from rddm.core.systems.train import Run

PICTURED, DRAWN = 4, 64  # images in a sample sheet: restored, each with input and target, and drawn


def fit(
    entity: Entity, out: Path, *, resume: bool = False, overwrite: bool = False, progress: bool = True
) -> dict[str, Any]:
    """Train the entity's network, and leave a run folder (laid out as in `rddm.core.checkpoint`).

    Returns the last validation, as `evaluate` does. The network is left with the weights that restore (the moving
    average where there is one). Every process of a launch calls this; the first one writes.

    Where the sampler's choice is open, it is selected first (`rddm.core.systems.select`): the entity then gets the
    settled sampler, the spec that says so, and a fresh network, and the training of all its steps begins.

    Args:
        out: the run folder.
        resume: go on from the newest checkpoint in `out`, bit-equal to never having stopped. An open choice is the one
            that was made there; a selection that was interrupted starts anew.
        overwrite: start anew where `out` holds a run already.
        progress: show a bar with loss, speed and time left.

    Raises:
        OutputError: `out` exists and neither is set, or it cannot be written.
        CheckpointError: resume without a checkpoint, or under another spec.
        DataError, SpecError, LaunchError, TrainingError: as their docstrings say.
        KeyboardInterrupt: after Ctrl-C or SIGTERM, with a checkpoint saved (but none of a selection).
    """
    if resume and overwrite:
        raise OutputError("resume goes on with a run and overwrite starts anew; give one of them")
    out = out.resolve() if out.is_symlink() else out
    ready(entity[Task], entity[Task].metrics)
    if resume and entity[Sampler].choice is not None:
        resume = _adopt(entity, out)
    choice = entity[Sampler].choice
    run = Run.start(entity) if choice is None else rehearse(entity)
    with ExitStack() as stack:
        if choice is None:
            stack.enter_context(run.settling())
        stack.enter_context(_claimed(out, entity[Spec], run.accelerator, resume=resume, overwrite=overwrite))
        if choice is not None:
            _settle(entity, _selected(run, choice, out, progress))
            if run.accelerator.is_main_process:
                checkpoint.write_spec(out, entity[Spec])
            run = Run.start(entity)
            stack.enter_context(run.settling())
        if resume:
            run.resume(checkpoint.steps_saved(out)[-1])
            if run.step > entity[Training].steps:
                raise CheckpointError(f"{out} is at step {run.step}, past training.steps={entity[Training].steps}")
            if run.step == entity[Training].steps:
                warnings.warn(f"{out} has its {run.step} steps already; nothing is trained", stacklevel=2)
        log = Log(out, run.step, entity[Training].tensorboard) if run.accelerator.is_main_process else None
        try:
            return _loop(run, out, log, progress)
        except TrainingError as error:
            saved = checkpoint.steps_saved(out)
            kept = f"The last checkpoint is {saved[-1]}" if saved else "No checkpoint was saved before that"
            raise TrainingError(f"{error}. {kept}") from None
        finally:
            if log:
                log.close()


def _adopt(entity: Entity, out: Path) -> bool:
    # takes what an earlier run decided, if it did; returns whether its training has begun to leave something
    sampler = checkpoint.adopted(out, entity[Sampler])
    checkpoint.check_same(out, entity[Spec].model_copy(update={"sampler": sampler}))
    if sampler.choice is None:
        _settle(entity, sampler)
    return (out / checkpoint.MODEL).exists() or bool(checkpoint.steps_saved(out))


def _settle(entity: Entity, sampler: Sampler) -> None:
    network = initialised(entity[Backbone], sampler, entity[Task], entity[Training].seed)
    entity.put(sampler, network, entity[Spec].model_copy(update={"sampler": sampler}))


def _selected(run: Run, choice: Choice, out: Path, progress: bool) -> Sampler:
    log = Log(out, 0, tensorboard=False, name="selection") if run.accelerator.is_main_process else None
    return select(run, choice, log, progress)


def _loop(run: Run, out: Path, log: Log | None, progress: bool) -> dict[str, Any]:
    training = run.entity[Training]
    speed = _Speed(training.batch_size * training.accumulate * run.world)
    validation = None
    bar = tqdm(
        initial=run.step,
        total=training.steps,
        desc="fit",
        unit="step",
        disable=not (progress and log),
        mininterval=0.5 if sys.stderr.isatty() else 10,
        dynamic_ncols=True,
    )
    with bar, launch.stop_signals() as stopping:
        for scores in run.steps():
            bar.set_postfix(loss=f"{scores['loss']:.4f}", refresh=False)
            bar.update()
            last = run.step == training.steps
            speed.count()
            if last or run.step % training.log_every == 0:
                scores = launch.average(run.accelerator, scores)
                if log:
                    log.write(run.step, {**scores, "images_per_second": speed.read()})
            if last or (training.eval_every and run.step % training.eval_every == 0):
                with speed.paused(), _kept_if_it_fails(run, out):
                    validation = _validate(run, out, log, None if last else training.eval_images)
            stop = launch.agree(run.accelerator, bool(stopping))
            if last or stop or run.step % training.save_every == 0:
                with speed.paused():
                    _save(run, out)
            if stop and not last:
                where = f"stopped at step {run.step} of {training.steps} and saved"
                raise KeyboardInterrupt(f"{where}; to go on, fit the same spec with --out {out} --resume")
    return validation or _validate(run, out, None, None)  # resumed when complete, it trains nothing and yet tells


@contextmanager
def _claimed(out: Path, spec: Spec, place: Accelerator, *, resume: bool, overwrite: bool) -> Iterator[None]:
    # The main process holds the folder's lock. A run that is overwritten is moved aside, and comes back if the new one
    # fails before its first checkpoint.
    if not place.is_main_process:
        place.wait_for_everyone()
        yield
        return
    checkpoint.warn_unregistered(spec)
    aside = out.with_name(f".{out.name}.previous")
    if aside.exists():
        if out.exists():
            check_ours(out)
        with _locked(out):
            _bring_back(aside, out)
    if resume:
        checkpoint.check_same(out, spec)
        if not checkpoint.steps_saved(out):
            raise CheckpointError(f"{out} has no checkpoint to resume from; fit it without --resume")
    trained = (out / checkpoint.MODEL).exists() or bool(checkpoint.steps_saved(out))
    if out.exists() and not resume:
        if not out.is_dir() or (trained and not overwrite):
            raise OutputError(
                f"{out} exists; go on with --resume (resume=True), start anew with --overwrite (overwrite=True),"
                " or choose another --out"
            )
        check_ours(out)
    with _locked(out):
        if trained and not resume:
            shutil.rmtree(aside, ignore_errors=True)
            out.rename(aside)
    with _locked(out):
        try:
            if not resume:
                checkpoint.write_spec(out, spec)
            place.wait_for_everyone()
            yield
        finally:
            _bring_back(aside, out)


def _bring_back(aside: Path, out: Path) -> None:
    # what was moved aside, unless what replaces it has a checkpoint
    if aside.exists() and not checkpoint.steps_saved(out):
        shutil.rmtree(out)
        aside.rename(out)
    shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    lock = FileLock(out / ".lock", timeout=0)
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise OutputError(f"another fit is running in {out}; wait for it, stop it, or choose another --out") from None
    except OSError as cause:
        raise OutputError(f"{out} cannot be written: {cause.strerror or cause}") from cause
    try:
        yield
    finally:
        (out / ".lock").unlink(missing_ok=True)
        lock.release()


def _validate(run: Run, out: Path, log: Log | None, limit: int | None) -> dict[str, Any]:
    network = run.network
    training_mode = network.training
    network.eval()
    measure = _restored if run.entity[Task].target_known else _drawn
    validation, same = measure(run, out if log else None, limit)
    network.train(training_mode)
    worth = metrics.worth(run.entity[Task].metrics[0], same)
    better, run.best = worth > run.best, max(run.best, worth)
    if log:
        log.write(run.step, metrics.figures(validation), prefix="eval_")
        with fresh_file(out / "evaluation.json") as file:
            file.write_text(to_json({"step": run.step, **validation}, indent=1), encoding="utf-8")
        if better:
            checkpoint.write_model(out / "checkpoints" / "best", run.entity[Spec], network)
    return validation


def _restored(run: Run, out: Path | None, limit: int | None) -> tuple[dict[str, Any], dict[str, Any]]:
    # the validation, and the one that validations are compared by: over the same images each time
    task, part = run.entity[Task], (run.accelerator.process_index, run.world)
    found = results(run.entity.replace(run.network), limit=limit, part=part)
    shown = list(islice(found, PICTURED))
    own = {result.name: result.seen for result in chain(shown, found)}
    seen = {name: one for part in launch.gather(run.accelerator, own) for name, one in sorted(part.items())}
    if out and shown:
        side_by_side(shown, out / "samples" / f"step_{run.step:08d}.png")
    names = task.eval_records().names[: run.entity[Training].eval_images]
    same = {name: seen[name] for name in names if name in seen} or seen
    return metrics.summary(task.metrics, seen), metrics.summary(task.metrics, same)


def _drawn(run: Run, out: Path | None, limit: int | None) -> tuple[dict[str, Any], dict[str, Any]]:
    # every process draws its part, the first one shows its own and measures all
    part = (run.accelerator.process_index, run.world)
    images, targets, inputs = sets(run.entity.replace(run.network), limit=limit, part=part)
    pairs = launch.gather(run.accelerator, (images.cpu(), targets.cpu()))
    scores = compared(run.entity[Task].metrics, pairs) if run.accelerator.is_main_process else {}
    if out:
        shown = images if inputs is None else torch.cat([inputs, images], dim=-1)  # before and after
        sheet(shown[:DRAWN], out / "samples" / f"step_{run.step:08d}.png")
    scores = launch.gather(run.accelerator, scores)[0]
    return scores, scores


@contextmanager
def _kept_if_it_fails(run: Run, out: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        if run.world == 1:  # else the other processes would wait for this one
            _save(run, out)
        raise


def _save(run: Run, out: Path) -> None:
    if run.accelerator.is_main_process:  # first, so that a run with a checkpoint always has a model, too
        checkpoint.write_model(out, run.entity[Spec], run.network)
    run.save(out / "checkpoints" / f"step_{run.step:08d}")
    if run.accelerator.is_main_process:
        checkpoint.prune(out, run.entity[Training].keep_last)
    run.accelerator.wait_for_everyone()


class _Speed:
    """Images a second since last read, pauses left out."""

    def __init__(self, images: int) -> None:
        self.images, self.steps, self.since = images, 0, time.perf_counter()

    def count(self) -> None:
        self.steps += 1

    def read(self) -> float:
        speed = self.steps * self.images / (time.perf_counter() - self.since)
        self.steps, self.since = 0, time.perf_counter()
        return speed

    @contextmanager
    def paused(self) -> Iterator[None]:
        before = time.perf_counter()
        yield
        self.since += time.perf_counter() - before
