"""Apache Beam, which is not among the requirements: its runners and their options by name, errors on one line."""

import difflib
import importlib.util
import logging
from collections.abc import Callable, Sequence
from typing import Any

from data_prep.errors import InputError, UnfinishedError
from data_prep.quiet import quiet

__all__ = ["LOCAL_RUNNER", "check_runner", "import_beam", "resolve_runner", "run_pipeline"]

LOCAL_RUNNER = "local"  # processes of this machine, without Beam

# Beam's own DirectRunner hands over to Prism, a Go program that it downloads first; this is the one inside the package.
_OFFLINE = {"directrunner": "FnApiRunner", "direct": "FnApiRunner"}


def check_runner(runner: str, options: Sequence[str]) -> None:
    """Checks that a runner can be had, without the seconds that Beam's import takes.

    Args:
        runner: "local", or the name of a Beam runner.
        options: Of the Beam runner.

    Raises:
        InputError: Apache Beam is not installed, or the local runner has options.
    """
    if runner == LOCAL_RUNNER:
        if options:
            raise InputError("the local runner has no options: name a Beam runner with --runner", "--beam_options")
    elif importlib.util.find_spec("apache_beam") is None:
        raise InputError(
            f"{runner} runs on Apache Beam: pip install -r requirements-beam.txt, or use local", "--runner"
        )


def import_beam() -> Any:
    """Imports Apache Beam, without what it logs of the parts that it does not find."""
    with quiet("root"):
        import apache_beam
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    return apache_beam


def resolve_runner(runner: str, options: Sequence[str]) -> tuple[object, object]:
    """Imports Apache Beam and finds what names stand for: the runner, and its options.

    Raises:
        InputError: No such runner or option.
    """
    import_beam()
    return _runner(runner), _options(options)


def run_pipeline(runner: str, options: Sequence[str], build: Callable[[Any], object]) -> None:
    """Builds a pipeline and runs it to its end.

    Args:
        runner: Name of a Beam runner; DirectRunner is taken as FnApiRunner, which needs no download.
        options: Its options, such as "--direct_num_workers=2".
        build: Adds the steps to a `beam.Pipeline`.

    Raises:
        InputError: No such runner or option.
        UnfinishedError: The run failed.
    """
    found, parsed = resolve_runner(runner, options)
    pipeline = import_beam().Pipeline(runner=found, options=parsed)
    build(pipeline)
    try:
        pipeline.run().wait_until_finish()
    except UnfinishedError:
        raise  # a signal, not Beam
    except Exception as error:
        raise UnfinishedError(f"Beam's {runner} stopped ({_first_line(error)})", "--runner") from error


def _runner(name: str) -> object:
    from apache_beam.options.pipeline_options import StandardOptions
    from apache_beam.runners import create_runner

    try:
        return create_runner(_OFFLINE.get(name.lower(), name))
    except (ValueError, ImportError, AttributeError):
        known = ["local", *StandardOptions.KNOWN_RUNNER_NAMES]
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"a runner is one of {', '.join(known)}; found {name!r}{hint}", "--runner") from None


def _options(options: Sequence[str]) -> object:
    from apache_beam.options.pipeline_options import PipelineOptions

    try:
        parsed = PipelineOptions(list(options))
        unknown = parsed.get_all_options(retain_unknown_options=True).keys() - parsed.get_all_options().keys()
    except SystemExit:  # argparse, having told what is wrong
        raise InputError("Beam does not take these options; the line above says why", "--beam_options") from None
    if unknown:
        raise InputError(f"Beam has no option {', '.join(f'--{name}' for name in sorted(unknown))}", "--beam_options")
    return parsed


def _first_line(error: Exception) -> str:
    return next((line.strip()[:200] for line in str(error).splitlines() if line.strip()), type(error).__name__)
