"""Scores models, and maps that other tools wrote, on the same mammograms, and writes the report."""

import contextlib
import dataclasses
import hashlib
import os
import pathlib
import platform
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata

import tqdm

from calcseg_tf.evaluation import Evaluation, summary_table
from calcseg_tf.evaluation.comparison import Scored, comparison_tables, unique_names
from calcseg_tf.evaluation.froc import LOWEST_CODE
from calcseg_tf.evaluation.maps import KeptMaps, MapFolder
from calcseg_tf.evaluation.overview import DataSetReport, overview_table, write_overview
from calcseg_tf.evaluation.report import PAGE_FILE, write_report
from calcseg_tf.evaluation.results import PARTIAL_PREFIX, sweep_partial
from calcseg_tf.inference.predictor import Predictor
from calcseg_tf.model_directory import load_network
from calcseg_tf.models import model_name
from calcseg_tf.probability_map import to_codes
from calcseg_tf.scoring import add_record, score_split
from calcseg_tf.split_records import split_records
from calcseg_tf.termination import ended_by_sigterm
from data_prep.errors import InputError
from data_prep.manifest import Manifest, read_manifest, render_manifest
from data_prep.only_run import only_run_in
from data_prep.schema import Record

__all__ = ["EvaluatingConfig", "evaluate", "named_folders", "read_data_sets", "scores"]

_MAPS_RULE = "--threshold"
_PACKAGES = (
    "tensorflow", "numpy", "scipy", "scikit-learn", "scikit-image", "connected-components-3d", "matplotlib",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class EvaluatingConfig:
    """What is scored and how.

    Attributes:
        model_dirs: Model directories, each at its own operating threshold.
        map_folders: Folders of probability maps, by the name to show.
        split: "train" or "test".
        threshold: Takes the place of every operating threshold; None keeps them. Maps have none of their own.
        connectivity: 8 or 4.
        workers: Scoring processes, at least 1.
        bootstrap_samples: Resamples of the patients behind each interval, at least 1.
        seed: Of the resampling, 0 or more.
    """

    model_dirs: tuple[pathlib.Path, ...]
    map_folders: Mapping[str, pathlib.Path]
    split: str = "test"
    threshold: float | None = None
    connectivity: int = 8
    workers: int = 1
    bootstrap_samples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.model_dirs and not self.map_folders:
            raise InputError("nothing to evaluate: give --model_dir, --probability_dir or both")
        if self.map_folders and self.threshold is None:
            raise InputError("probability maps have no operating threshold of their own: give --threshold")
        for name in self.map_folders:
            _check_name(name, "--probability_dir=name=folder")
        if self.bootstrap_samples < 1:
            raise InputError(f"--bootstrap_samples must be 1 or more; found {self.bootstrap_samples}")
        if self.seed < 0:
            raise InputError(f"--seed must be 0 or more; found {self.seed}")


def named_folders(entries: Sequence[str]) -> dict[str, pathlib.Path]:
    """Parses the values of --probability_dir.

    Raises:
        InputError: One is not NAME=FOLDER, or a name comes twice.
    """
    folders: dict[str, pathlib.Path] = {}
    for entry in entries:
        name, equals, folder = entry.partition("=")
        if not equals or not folder:
            raise InputError(f"--probability_dir must be NAME=FOLDER; found {entry!r}")
        if name in folders:
            raise InputError(f"every folder of maps needs a name of its own; found {name} twice")
        folders[name] = pathlib.Path(folder)
    return folders


def read_data_sets(entries: Sequence[str]) -> dict[str, Manifest]:
    """Reads what --records_dir names: FOLDER, which is called as its data set, or NAME=FOLDER.

    What stands before a "=" is a name where it holds no "/".

    Returns:
        The manifests by name, in the order given.

    Raises:
        InputError: No folder, one without a manifest, one that comes twice, a name that comes twice or, of several, one
            that cannot be a folder's.
    """
    if not entries:
        raise InputError("--records_dir must name a folder of records; found none")
    data_sets: dict[str, Manifest] = {}
    for entry in entries:
        name, equals, folder = entry.partition("=")
        if not equals or "/" in name:
            name, folder = "", entry
        manifest = read_manifest(folder)
        name = name or manifest.data_set
        if any(manifest.directory.resolve() == other.directory.resolve() for other in data_sets.values()):
            raise InputError("a folder of records is evaluated once; --records_dir names it twice", manifest.directory)
        if name in data_sets:
            raise InputError(
                f"every data set needs a name of its own; found {name} twice: name them, --records_dir=NAME=FOLDER,..."
            )
        if len(entries) > 1:
            _check_name(name, "--records_dir=name=folder")
        data_sets[name] = manifest
    return data_sets


def evaluate(config: EvaluatingConfig, data_sets: Mapping[str, Manifest], output_dir: pathlib.Path) -> str:
    """Scores everything on every data set, writes the report, and returns what a person should read.

    One data set's report fills the folder. Of several, each fills a folder of its name; above them are the page and the
    table of all, and maps that other tools wrote lie in a folder of the data set's name too. Leaves no temporary file
    behind where SIGTERM or Ctrl-C ends it.

    Raises:
        InputError: A model, a map, the records or the folder break a rule, or another run evaluates into the folder;
            what can be checked is checked before the work.
        TerminatedError: SIGTERM came.
    """
    _check_folder(output_dir)
    parts = [output_dir / name for name in data_sets] if len(data_sets) > 1 else []
    with ended_by_sigterm(), contextlib.ExitStack() as held:
        for folder in [output_dir, *parts]:  # each of which could be another run's --output_dir
            held.enter_context(only_run_in(folder, "another run is evaluating into this folder: wait for it"))
        _check_before(config, data_sets)
        for folder in _folders(config, data_sets, output_dir):
            sweep_partial(folder)
        if len(data_sets) == 1:
            [(name, manifest)] = data_sets.items()
            told, _ = _evaluate_one(config, name, manifest, output_dir)
            return f"{told}\n\nPage: {output_dir / PAGE_FILE}"
        done = [
            _evaluate_one(_of_data_set(config, name), name, manifest, output_dir / name)
            for name, manifest in data_sets.items()
        ]
        reports = [report for _, report in done]
        write_overview(reports, output_dir, _title(config, ", ".join(data_sets)))
    told = "\n\n\n".join(f"{name}\n{'=' * len(name)}\n{text}" for name, (text, _) in zip(data_sets, done, strict=True))
    return f"{told}\n\n\n{overview_table(reports)}\n\nPage: {output_dir / PAGE_FILE}"


def _folders(
    config: EvaluatingConfig, data_sets: Mapping[str, Manifest], output_dir: pathlib.Path
) -> Iterator[pathlib.Path]:
    """Yields every folder that is written into: that of all, of each data set and of each model."""
    yield output_dir
    for data_set in [output_dir / name for name in data_sets] if len(data_sets) > 1 else [output_dir]:
        yield data_set
        yield from (data_set / name for name in (*unique_names(config.model_dirs), *config.map_folders))


@contextlib.contextmanager
def scores(config: EvaluatingConfig, manifest: Manifest, output_dir: pathlib.Path) -> Iterator[list[Scored]]:
    """Scores every model and every folder of maps on one data set.

    The models' maps are kept in a hidden folder of `output_dir` until the context ends.

    Raises:
        InputError: As `evaluate`.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        scored = []
        for name, model_dir in zip(unique_names(config.model_dirs), config.model_dirs, strict=True):
            kept = stack.enter_context(tempfile.TemporaryDirectory(prefix=PARTIAL_PREFIX, dir=output_dir))
            scored.append(_score_model(name, model_dir, KeptMaps(pathlib.Path(kept), LOWEST_CODE), manifest, config))
        for name, folder in config.map_folders.items():
            scored.append(_score_maps(name, MapFolder(folder), manifest, config))
        yield scored


def _check_folder(output_dir: pathlib.Path) -> None:
    there = next(folder for folder in (output_dir.absolute(), *output_dir.absolute().parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise InputError("--output_dir must be a folder in which files can be made", there)


def _check_before(config: EvaluatingConfig, data_sets: Mapping[str, Manifest]) -> None:
    """Checks what is cheap to check: the last of everything must not fail after hours of the first."""
    names = unique_names(config.model_dirs)
    if twice := sorted(set(names) & set(config.map_folders)):
        raise InputError(f"every model and folder of maps needs a name of its own; found {twice[0]} twice")
    for name, manifest in data_sets.items():
        ids = [image_id for image_id, placement in manifest.split.items() if placement.split == config.split]
        here = config if len(data_sets) == 1 else _of_data_set(config, name)
        for folder in here.map_folders.values():
            MapFolder(folder).require(ids)
    if config.map_folders:
        _evaluation(config)
    for model_dir in config.model_dirs:
        _, info = load_network(model_dir)  # a few seconds
        _evaluation(config, info.operating_threshold)


def _check_name(name: str, flag: str) -> None:
    if not name or name.startswith(".") or "/" in name or not name.isprintable():
        raise InputError(f"the name in {flag} is a folder's name; found {name!r}")


def _of_data_set(config: EvaluatingConfig, name: str) -> EvaluatingConfig:
    """Returns where the maps of one of several data sets lie: two data sets may have images of one id."""
    return dataclasses.replace(config, map_folders={key: folder / name for key, folder in config.map_folders.items()})


def _evaluate_one(
    config: EvaluatingConfig, name: str, manifest: Manifest, output_dir: pathlib.Path
) -> tuple[str, DataSetReport]:
    """Returns what is printed of one data set, and what a page over several shows of it."""
    with scores(config, manifest, output_dir) as scored:
        report = write_report(
            scored,
            lambda wanted: _with_bar(manifest, config.split, "Drawing", wanted),
            output_dir,
            _title(config, name),
            _context(manifest, config),
        )
        told = [f"{each.name}\n{summary_table(each.result)}" for each in scored]
        told.append(comparison_tables(name, scored, report.differences))
        return "\n\n".join(told), DataSetReport.of(name, scored, report)


def _title(config: EvaluatingConfig, data_set: str) -> str:
    names = ", ".join([*unique_names(config.model_dirs), *config.map_folders])
    return f"Evaluation of {names} on {data_set}, {config.split} split"


def _score_model(
    name: str, model_dir: pathlib.Path, kept: KeptMaps, manifest: Manifest, config: EvaluatingConfig
) -> Scored:
    predictor = Predictor.load(model_dir).at_threshold(config.threshold)
    info = predictor.info
    result = score_split(
        predictor, manifest, config.split, _evaluation(config, info.operating_threshold), what=f"Predicting {name}",
        seen=lambda record, probability: kept.keep(record.image_id, to_codes(probability)),
    )  # fmt: skip
    result = dataclasses.replace(result, bootstrap_samples=config.bootstrap_samples, seed=config.seed)
    provenance = {
        "model": {"name": model_name(info.model), **dataclasses.asdict(info.model)},  # type: ignore[call-overload]
        "training": info.training,
        "trained on": info.data,
        "selection": info.selection,
    }
    return Scored(name, result, info.operating_threshold_rule, kept, provenance)


def _score_maps(name: str, folder: MapFolder, manifest: Manifest, config: EvaluatingConfig) -> Scored:
    with _evaluation(config) as evaluation:
        for record in _with_bar(manifest, config.split, f"Scoring {name}"):
            add_record(evaluation, record, record.intensity(), folder.codes(record.image_id, record.mask.shape))
        result = evaluation.result(config.bootstrap_samples, config.seed)
    return Scored(name, result, _MAPS_RULE, folder, {"model": "probability maps from disk"})


def _evaluation(config: EvaluatingConfig, operating_threshold: float | None = None) -> Evaluation:
    threshold = operating_threshold if config.threshold is None else config.threshold
    assert threshold is not None  # maps come with --threshold
    return Evaluation(threshold, connectivity=config.connectivity, workers=config.workers)


def _with_bar(manifest: Manifest, split: str, what: str, wanted: frozenset[str] | None = None) -> Iterator[Record]:
    count = manifest.images[split] if wanted is None else len(wanted)
    records = split_records(manifest, split, wanted)
    yield from tqdm.tqdm(records, total=count, unit="mammogram", desc=what, disable=None)


def _context(manifest: Manifest, config: EvaluatingConfig) -> dict[str, object]:
    """Returns what decides the result: neither folders nor the number of workers."""
    return {
        "split": config.split,
        "data_set": manifest.data_set,
        "records": {
            "split_rule": manifest.split_rule,
            "images": dict(manifest.images),
            "patients": dict(manifest.patients),
            "calcifications": dict(manifest.calcifications),
            "rejected files": len(manifest.rejected),
            "flags": dict(manifest.flags),
            "versions": dict(manifest.versions),
            "manifest_sha256": hashlib.sha256(render_manifest(manifest).encode()).hexdigest(),
        },
        "flags": {"split": config.split, "threshold": config.threshold, "connectivity": config.connectivity},
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in _PACKAGES}},
    }
