"""Images predicted by Apache Beam: each is an element, predicted where Beam puts it by the code of the local runner.

Only paths travel through Beam: results, and what became of each image, are files in the output folder, which every
worker must reach under the same path, as it must images and model. So a run that was stopped is finished like a local
one.
"""

import dataclasses
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

from calcseg_tf.bulk.local_model import LocalModel
from calcseg_tf.prediction import ImageJob, Outcome, Settings, Status, predict_image
from data_prep.atomic import write_json
from data_prep.beam import import_beam, run_pipeline
from data_prep.errors import UnfinishedError

__all__ = ["InBeam"]

_OUTCOMES = ".outcomes-"


class InBeam:
    """A Beam runner, whose workers load the model once each."""

    def __init__(self, model: LocalModel, output_dir: pathlib.Path, runner: str, options: Sequence[str]) -> None:
        """Starts nothing yet.

        Args:
            model: Loaded by each worker.
            output_dir: Of the run.
            runner: Name of a Beam runner.
            options: Its options, such as "--direct_num_workers=2".
        """
        self._model = model.absolute()
        self._output_dir = pathlib.Path(os.path.abspath(output_dir))
        self._runner = runner
        self._options = options

    def __enter__(self) -> "InBeam":
        for left in self._output_dir.glob(f"{_OUTCOMES}*"):  # of a run that was killed
            shutil.rmtree(left)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def model(self, images: int) -> tuple[float, Mapping[str, Any]]:
        """As `Runner.model`."""
        return self._model.describe()

    def outcomes(
        self, jobs: Sequence[ImageJob], settings: Settings, advance: Callable[[ImageJob, float], object]
    ) -> Iterator[Outcome]:
        """As `Runner.outcomes`, all at the end; Beam tells no shares of an image."""
        beam = import_beam()
        with tempfile.TemporaryDirectory(prefix=_OUTCOMES, dir=self._output_dir) as folder:
            told = pathlib.Path(folder)
            elements = [(_absolute(job), told / f"{number}.json") for number, job in enumerate(jobs)]
            predict = _do_fn(self._model, settings)
            run_pipeline(
                self._runner,
                self._options,
                # Created elements are fused with what takes them, and one worker would take all.
                lambda pipeline: (
                    pipeline | "Images" >> beam.Create(elements) | beam.Reshuffle() | "Predict" >> beam.ParDo(predict)
                ),
            )
            outcomes = [_read(path, job) for job, (_, path) in zip(jobs, elements, strict=True)]
        yield from outcomes


def _absolute(job: ImageJob) -> ImageJob:
    path, result = (pathlib.Path(os.path.abspath(path)) for path in (job.path, job.result))
    return dataclasses.replace(job, path=path, result=result)


def _do_fn(model: LocalModel, settings: Settings) -> Any:
    """Returns what a worker does with an element (image, file for its outcome)."""
    beam = import_beam()
    from apache_beam.utils.shared import Shared

    class Predict(beam.DoFn):  # type: ignore[name-defined]
        def __init__(self) -> None:
            self._shared = Shared()  # by the threads of a worker

        def setup(self) -> None:
            self._predictor = self._shared.acquire(model.load)

        def process(self, element: tuple[ImageJob, pathlib.Path]) -> None:
            job, told = element
            outcome = predict_image(self._predictor, job, settings)
            write_json(told, {**dataclasses.asdict(outcome), "job": None, "status": outcome.status.value})

    return Predict()


def _read(path: pathlib.Path, job: ImageJob) -> Outcome:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise UnfinishedError(
            f"{job.name} has no outcome here: Beam's workers must share this output folder", "--runner"
        ) from None
    found.update(job=job, status=Status(found["status"]), notes=tuple(found["notes"]))
    return Outcome(**found)
