"""Segments the calcifications of mammograms: python -m calcseg_tf.predict --input=FILE_OR_FOLDER --output_dir=..."""

from typing import TYPE_CHECKING

from absl import flags

from calcseg_tf.result_flags import ModelFlag, ResultFlags
from data_prep.command import DISCLAIMER, run, say, split_options
from data_prep.errors import InputError

if TYPE_CHECKING:
    from calcseg_tf.bulk import Runner

_MODEL = ModelFlag()
_RESULTS = ResultFlags()
_WORKERS = flags.DEFINE_integer(
    "workers",
    None,
    "Processes that predict, each with its own model; they share the cores. By default one a core, with at least 4 GiB "
    "of memory each.",
)
_RUNNER = flags.DEFINE_string(
    "runner",
    "local",
    "local: processes of this machine. Any other name is a runner of Apache Beam (requirements-beam.txt), such as "
    "DirectRunner, FlinkRunner, SparkRunner or DataflowRunner; its workers must reach images, model and output folder.",
)
_BEAM_OPTIONS = flags.DEFINE_string(
    "beam_options", "", "Options of the Beam runner in one string, as `data_prep.convert` takes them."
)


def main() -> None:
    """Predicts every input; those that fail are named at the end."""
    from calcseg_tf.bulk import predict_bulk

    print(DISCLAIMER)
    predict_bulk(_RESULTS.config, _runner(), say).tell(say)


def _runner() -> "Runner":
    from calcseg_tf.bulk.local_model import LocalModel
    from data_prep.beam import LOCAL_RUNNER, check_runner

    model = LocalModel(_MODEL.model_dir, _RESULTS.threshold)
    options = split_options(_BEAM_OPTIONS.value, "--beam_options")
    check_runner(_RUNNER.value, options)
    if _RUNNER.value != LOCAL_RUNNER:
        if _WORKERS.value is not None:
            raise InputError("is for --runner=local; --beam_options tells Beam how many", "--workers")
        from calcseg_tf.bulk.beam_runner import InBeam

        return InBeam(model, _RESULTS.output_dir, _RUNNER.value, options)
    from calcseg_tf.bulk.processes import InProcesses, default_workers

    return InProcesses(model, default_workers() if _WORKERS.value is None else _WORKERS.value)


if __name__ == "__main__":
    run(main)
