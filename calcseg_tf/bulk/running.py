"""A run over many images: what is there is kept, the rest is predicted, and every image ends up in the index.

A run that is stopped leaves whole results alone; the same command goes on from there.
"""

import collections
import contextlib
import dataclasses
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Any, Protocol

import tqdm

from calcseg_tf.bulk.index import INDEX_FILE, write_index
from calcseg_tf.bulk.inputs import Inputs, find_inputs
from calcseg_tf.bulk.kept import MadeOtherwise, look_up
from calcseg_tf.clinical.dicom import DicomOptions
from calcseg_tf.clinical.results import sweep_partial
from calcseg_tf.prediction import ImageJob, ModelChangedError, Outcome, Settings, Status, describe_other_reading
from calcseg_tf.termination import ended_by_sigterm
from data_prep.atomic import sweep_partial_files
from data_prep.dicom.header import STORED_VALUES, ReadOptions
from data_prep.errors import InputError, UnfinishedError
from data_prep.only_run import only_run_in

__all__ = ["BulkConfig", "Report", "Runner", "predict_bulk"]

_FEW = 20  # images of which each is told on a line
_TOLD = 20  # failures


class Runner(Protocol):
    """Where images are predicted: entered for one run."""

    def __enter__(self) -> "Runner": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends whatever still works; nothing is written after it."""

    def model(self, images: int) -> tuple[float, Mapping[str, Any]]:
        """Returns the operating threshold and what tells the model from others, ready for JSON.

        Args:
            images: So many at the most will be predicted; more helpers than that are of no use.

        Raises:
            InputError: There is no such model.
        """
        ...

    def outcomes(
        self, jobs: Sequence[ImageJob], settings: Settings, advance: Callable[[ImageJob, float], object]
    ) -> Iterator[Outcome]:
        """Predicts images and yields one outcome each, in any order.

        Args:
            jobs: At least one.
            settings: What decides their results.
            advance: Takes an image and the share of it that was done since the last call; for the progress bar alone.

        Raises:
            OSError: Results cannot be written.
            UnfinishedError: What predicts is gone.
        """
        ...


@dataclasses.dataclass(frozen=True)
class BulkConfig:
    """A run; named as the flags of `calcseg_tf.predict`, which say what they mean."""

    input: str
    output_dir: pathlib.Path
    recursive: bool = False
    overwrite: bool = False
    verbose: bool = False
    read_options: ReadOptions = STORED_VALUES
    dicom: DicomOptions = DicomOptions()


@dataclasses.dataclass(frozen=True)
class Report:
    """What became of a run.

    Attributes:
        outcomes: One an image, in order of name.
        one: Whether a single file was asked for.
        output_dir: Where the results are.
    """

    outcomes: tuple[Outcome, ...]
    one: bool
    output_dir: pathlib.Path

    @property
    def failures(self) -> tuple[Outcome, ...]:
        """The images without a result."""
        return tuple(outcome for outcome in self.outcomes if outcome.status is Status.FAILED)

    def tell(self, say: Callable[[str], None]) -> None:
        """Says what has no result and where the rest is.

        Raises:
            InputError: An image has no result.
        """
        if self.one and self.failures:
            raise InputError(self.failures[0].reason, self.failures[0].job.path)
        for failure in self.failures[:_TOLD]:
            say(f"no result: {failure.job.path}: {failure.reason}")
        if len(self.failures) > _TOLD:
            say(f"no result: {len(self.failures) - _TOLD} more, in {INDEX_FILE}")
        say(f"Results: {self.output_dir}" + ("" if self.one else f", listed in {INDEX_FILE}"))
        if self.failures:
            raise InputError(f"{len(self.failures)} of {len(self.outcomes)} images gave no result")


def predict_bulk(config: BulkConfig, runner: Runner, say: Callable[[str], None]) -> Report:
    """Predicts what `config.input` names into result folders below `config.output_dir`; a bad file stops no other.

    Results that are there, whole and of the same image, model, threshold and options, are kept. Of a folder or a list,
    `predictions.csv` is written at the end.

    Args:
        config: What to predict.
        runner: Where.
        say: Takes lines for the user: of each image where they are few, and what a person should know.

    Returns:
        What became of every image.

    Raises:
        InputError: There is nothing to predict or no model; results of another image or of other settings are there;
            another run writes into the folder.
        UnfinishedError: A full disk, a signal, workers that cannot be had: whole results stay.
    """
    inputs = find_inputs(config.input, config.output_dir, config.recursive)
    _tell_inputs(inputs, say)
    outcomes: list[Outcome] = []
    each = config.verbose or len(inputs.jobs) <= _FEW
    with (
        ended_by_sigterm(),
        _own_folder(config.output_dir),
        _told_when_stopped(outcomes, len(inputs.jobs), config.output_dir),
        _partials_swept(inputs.jobs, config.output_dir),
        runner,
    ):
        settings = Settings(*runner.model(len(inputs.jobs)), config.read_options, config.dicom)
        if note := describe_other_reading(settings.model, config.read_options):
            say(f"note: {note}")
        kept, otherwise = _look_up_all(inputs.jobs, settings)
        if otherwise and not config.overwrite:
            raise _taken(otherwise, config.output_dir)
        if not inputs.one:  # a run that is stopped leaves no index of another
            (config.output_dir / INDEX_FILE).unlink(missing_ok=True)
        outcomes += [*kept, *_unnamed(inputs, config.output_dir)]
        if kept:
            say(f"{len(kept)} of {len(inputs.jobs)} images have their result already")
        there = {outcome.job for outcome in kept}
        if jobs := [job for job in inputs.jobs if job not in there]:
            tell = partial(_tell_outcome, say=say) if each else lambda _: None
            for outcome in _predicted(jobs, settings, runner, len(kept), tell):
                outcomes.append(outcome)
        if not inputs.one:
            write_index(config.output_dir, outcomes)
    return Report(tuple(sorted(outcomes, key=lambda each: each.job.name)), inputs.one, config.output_dir)


def _tell_inputs(inputs: Inputs, say: Callable[[str], None]) -> None:
    count = len(inputs.jobs)
    say(f"Predicting {count} image{'' if count == 1 else 's'}")
    if without_study := sum(job.path.suffix.lower() == ".png" for job in inputs.jobs):
        say(f"no DICOM results for {without_study} PNG: it takes a DICOM file to belong to a study")
    if inputs.passed_over:
        kinds = ", ".join(f"{number} {suffix or 'without a suffix'}" for suffix, number in inputs.passed_over)
        say(f"passed over, neither DICOM nor PNG: {kinds}")


@contextlib.contextmanager
def _own_folder(output_dir: pathlib.Path) -> Iterator[None]:
    """Makes the output folder, checks that it can be written, and holds its lock."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(
                only_run_in(output_dir, "another run is predicting into this --output_dir: wait for it")
            )
            with tempfile.TemporaryFile(dir=output_dir):
                pass
        except OSError as error:
            rule = f"--output_dir must be a folder that can be written ({error.strerror})"
            raise InputError(rule, output_dir) from None
        yield


@contextlib.contextmanager
def _partials_swept(jobs: Sequence[ImageJob], output_dir: pathlib.Path) -> Iterator[None]:
    """Removes what killed processes left of results: those of an earlier run, and workers that this one ends."""
    folders = {output_dir, *(job.result.parent for job in jobs)}

    def sweep() -> None:
        for folder in folders:
            sweep_partial(folder)
        sweep_partial_files(output_dir)  # of the index

    sweep()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # of the disk that ended the run
            sweep()


def _look_up_all(jobs: Sequence[ImageJob], settings: Settings) -> tuple[list[Outcome], list[MadeOtherwise]]:
    executor = ThreadPoolExecutor(len(os.sched_getaffinity(0)))  # reading and hashing leave the interpreter free
    try:
        looked_up = executor.map(lambda job: look_up(job, settings), jobs)
        found = list(tqdm.tqdm(looked_up, total=len(jobs), desc="looking", unit="image", delay=2.0, disable=None))
    finally:
        executor.shutdown(cancel_futures=True)
    kept = [each for each in found if isinstance(each, Outcome)]
    return kept, [each for each in found if isinstance(each, MadeOtherwise)]


def _taken(otherwise: Sequence[MadeOtherwise], output_dir: pathlib.Path) -> InputError:
    first = otherwise[0]
    rule = (
        f"holds results of another run, {len(otherwise)} ({first.job.name}: {'; '.join(first.differences[:4])}): "
        "replace them with --overwrite, or choose another --output_dir"
    )
    return InputError(rule, output_dir)


def _unnamed(inputs: Inputs, output_dir: pathlib.Path) -> list[Outcome]:
    return [
        Outcome(ImageJob(pathlib.Path(name), name, output_dir), Status.FAILED, inputs.unnamed_reason)
        for name in inputs.unnamed
    ]


def _predicted(
    jobs: Sequence[ImageJob], settings: Settings, runner: Runner, kept: int, say: Callable[[Outcome], None]
) -> Iterator[Outcome]:
    """Yields outcomes as they come, behind a bar over all images, the kept ones among them."""
    shares: collections.defaultdict[ImageJob, float] = collections.defaultdict(float)
    layout = "{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total} [{elapsed}<{remaining}]"
    # None: no bar where it is no terminal.
    bar = tqdm.tqdm(total=kept + len(jobs), initial=kept, desc="predict", bar_format=layout, leave=False, disable=None)

    def advance(job: ImageJob, share: float) -> None:
        shares[job] += share
        bar.update(share)

    with bar:
        for outcome in runner.outcomes(jobs, settings, advance):
            bar.update(1 - shares.pop(outcome.job, 0))
            with tqdm.tqdm.external_write_mode():
                say(outcome)
            yield outcome


def _tell_outcome(outcome: Outcome, say: Callable[[str], None]) -> None:
    name = outcome.job.name
    for note in outcome.notes:
        say(f"{name}: note: {note}")
    if outcome.status is Status.PREDICTED:
        found = f"{outcome.count} calcifications in {outcome.megapixels:.1f} megapixels"
        say(f"{name}: {found}, {outcome.seconds:.1f} s -> {outcome.job.result}")


@contextlib.contextmanager
def _told_when_stopped(done: Sequence[Outcome], images: int, output_dir: pathlib.Path) -> Iterator[None]:
    """Turns what stops a run from outside into one line that says how to go on."""
    try:
        yield
    except ModelChangedError:
        raise  # the same command would not go on
    except (OSError, UnfinishedError, KeyboardInterrupt) as error:
        if isinstance(error, OSError):
            cause = error.strerror or type(error).__name__  # without the name of a part of a result
        else:
            cause = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
        results = sum(outcome.status is not Status.FAILED for outcome in done)
        told = f"{results} of {images} images have their result" if done else "results that are whole stay"
        kind = type(error) if isinstance(error, UnfinishedError) else UnfinishedError
        raise kind(f"{cause}. {told}: the same command goes on", output_dir) from error
