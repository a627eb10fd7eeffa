"""Scores models, and maps that other tools wrote, on the same mammograms, and writes the report."""

import contextlib
import dataclasses
import hashlib
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
from calcseg_tf.evaluation.report import PAGE_FILE, write_report
from calcseg_tf.inference.predictor import Predictor
from calcseg_tf.model_directory import load_network
from calcseg_tf.models import model_name
from calcseg_tf.probability_map import to_codes
from calcseg_tf.scoring import add_record, score_split, split_records
from data_prep.errors import InputError
from data_prep.manifest import Manifest, render_manifest
from data_prep.schema import Record

__all__ = ["EvaluatingConfig", "evaluate", "named_folders", "scores"]

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
    """

    model_dirs: tuple[pathlib.Path, ...]
    map_folders: Mapping[str, pathlib.Path]
    split: str = "test"
    threshold: float | None = None
    connectivity: int = 8
    workers: int = 1

    def __post_init__(self) -> None:
        if not self.model_dirs and not self.map_folders:
            raise InputError("nothing to evaluate: give --model_dir, --probability_dir or both")
        if self.map_folders and self.threshold is None:
            raise InputError("probability maps have no operating threshold of their own: give --threshold")
        for name in self.map_folders:
            if not name or name.startswith(".") or "/" in name or not name.isprintable():
                raise InputError(f"the name in --probability_dir=name=folder is a folder's name; found {name!r}")


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


def evaluate(config: EvaluatingConfig, manifest: Manifest, output_dir: pathlib.Path) -> str:
    """Scores everything, writes the report, and returns what a person should read.

    Raises:
        InputError: A model, a map or the records break a rule; what can be checked is checked before the work.
    """
    with scores(config, manifest) as scored:
        return _report(scored, manifest, config, output_dir)


@contextlib.contextmanager
def scores(config: EvaluatingConfig, manifest: Manifest) -> Iterator[list[Scored]]:
    """Scores every model and every folder of maps.

    The models' maps are kept in the system's folder for temporary files until the context ends.

    Raises:
        InputError: As `evaluate`.
    """
    names = unique_names(config.model_dirs)
    if twice := sorted(set(names) & set(config.map_folders)):
        raise InputError(f"every model and folder of maps needs a name of its own; found {twice[0]} twice")
    for model_dir in config.model_dirs:
        load_network(model_dir)  # a few seconds; the second model must not fail after hours of the first
    ids = [image_id for image_id, placement in manifest.split.items() if placement.split == config.split]
    folders = {name: MapFolder(folder) for name, folder in config.map_folders.items()}
    for folder in folders.values():
        folder.require(ids)
    with contextlib.ExitStack() as stack:
        scored = []
        for name, model_dir in zip(names, config.model_dirs, strict=True):
            kept = stack.enter_context(tempfile.TemporaryDirectory(prefix="calcseg-maps-"))
            scored.append(_score_model(name, model_dir, KeptMaps(pathlib.Path(kept), LOWEST_CODE), manifest, config))
        yield [*scored, *(_score_maps(name, folder, manifest, config) for name, folder in folders.items())]


def _score_model(
    name: str, model_dir: pathlib.Path, kept: KeptMaps, manifest: Manifest, config: EvaluatingConfig
) -> Scored:
    predictor = Predictor.load(model_dir).at_threshold(config.threshold)
    info = predictor.info
    result = score_split(
        predictor, manifest, config.split, _evaluation(config, info.operating_threshold), what=f"Predicting {name}",
        seen=lambda record, probability: kept.keep(record.image_id, to_codes(probability)),
    )  # fmt: skip
    provenance = {
        "model": {"name": model_name(info.model), **dataclasses.asdict(info.model)},  # type: ignore[call-overload]
        "training": info.training,
        "trained on": info.data,
        "selection": info.selection,
    }
    return Scored(name, result, info.operating_threshold_rule, kept, provenance)


def _score_maps(name: str, folder: MapFolder, manifest: Manifest, config: EvaluatingConfig) -> Scored:
    assert config.threshold is not None
    with _evaluation(config, config.threshold) as evaluation:
        for record in _with_bar(manifest, config.split, f"Scoring {name}"):
            add_record(evaluation, record, record.intensity(), folder.codes(record.image_id, record.mask.shape))
        result = evaluation.result()
    return Scored(name, result, _MAPS_RULE, folder, {"model": "probability maps from disk"})


def _evaluation(config: EvaluatingConfig, threshold: float) -> Evaluation:
    return Evaluation(threshold, connectivity=config.connectivity, workers=config.workers)


def _with_bar(manifest: Manifest, split: str, what: str, wanted: frozenset[str] | None = None) -> Iterator[Record]:
    count = manifest.images[split] if wanted is None else len(wanted)
    records = split_records(manifest, split, wanted)
    yield from tqdm.tqdm(records, total=count, unit="mammogram", desc=what, disable=None)


def _report(scored: Sequence[Scored], manifest: Manifest, config: EvaluatingConfig, output_dir: pathlib.Path) -> str:
    title = f"Evaluation of {', '.join(each.name for each in scored)} on {manifest.data_set}, {config.split} split"
    differences = write_report(
        scored,
        lambda wanted: _with_bar(manifest, config.split, "Drawing", wanted),
        output_dir,
        title,
        _context(manifest, config),
    )
    told = [f"{each.name}\n{summary_table(each.result)}" for each in scored]
    told.append(comparison_tables(manifest.data_set, scored, differences))
    return "\n\n".join([*told, f"Page: {output_dir / PAGE_FILE}"])


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
