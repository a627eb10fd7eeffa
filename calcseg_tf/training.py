"""A training run: records in, a model directory out, resumed where it stopped."""

import contextlib
import dataclasses
import functools
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

from calcseg_tf.banded import BandedGradient
from calcseg_tf.callbacks import StopOnNan
from calcseg_tf.checkpointing import Checkpointing, Position, disk_errors_told, one_line
from calcseg_tf.cluster import Cluster
from calcseg_tf.devices import (
    check_workers_agree,
    count_replicas,
    describe_strategy,
    make_deterministic,
    make_strategy,
    needing_workers,
)
from calcseg_tf.example_crops import training_crops
from calcseg_tf.fine_tuning import FineTuningConfig, FrozenBackbone, backbone_weights_sha256, load_backbone_weights
from calcseg_tf.held_out import held_out_images
from calcseg_tf.history import History
from calcseg_tf.initial_weights import describe_initial_model, load_initial_weights
from calcseg_tf.input_pipeline import InputConfig, training_batch_ids, training_batches
from calcseg_tf.model_directory import (
    BEST_WEIGHTS_FILE,
    CONFIG_FILE,
    WEIGHTS_FILE,
    ModelInfo,
    copy_weights,
    read_info,
    save_weights,
    write_info,
)
from calcseg_tf.models import build_network, model_name
from calcseg_tf.models.parallel_conv import ParallelConv2D, use_convolution
from calcseg_tf.precision import layers_of, with_loss_scaling
from calcseg_tf.progress import EpochLog, ProgressBar
from calcseg_tf.recipe import TrainingConfig
from calcseg_tf.segmenter import Segmenter, sum_over_replicas
from calcseg_tf.split_records import split_records
from calcseg_tf.tensorboard_log import LogConfig, TensorBoardLog
from calcseg_tf.termination import Termination
from calcseg_tf.train_split import check_train_split
from calcseg_tf.validation import SCORE, Validation
from data_prep.atomic import is_partial, sweep_partial_files
from data_prep.errors import InputError
from data_prep.manifest import Manifest, read_manifest
from data_prep.only_run import only_run_in

__all__ = ["build_segmenter", "train"]


def train(
    config: TrainingConfig,
    records_dir: pathlib.Path,
    model_dir: pathlib.Path,
    say: Callable[[str], None],
    log: LogConfig = LogConfig(),
    cluster: Cluster | None = None,
) -> ModelInfo:
    """Trains a network, or goes on with a run that was stopped, and writes its weights.

    Args:
        config: The recipe.
        records_dir: What `data_prep.convert` wrote.
        model_dir: Receives config, checkpoints, history, logs and, at the end, the weights.
        say: Takes lines for the user.
        log: What TensorBoard shows beside the rates.
        cluster: The workers that train together, each of which calls this; only the chief writes `model_dir`.

    Returns:
        What `config.json` holds now.

    Raises:
        InputError: Records, model directory or recipe break a rule, or the loss is no longer finite.
    """
    manifest = read_manifest(records_dir)
    held_out = held_out_images(manifest, config.validation.validation_fraction, config.inputs.seed)
    check_train_split(manifest, config.inputs, held_out)
    info, found = _new_info(config, manifest, held_out), _found_info(model_dir)
    if found is not None:
        _check_same_run(found, info, model_dir)
    _check_replicas(config, cluster)
    # Never 0: with the global seed 0 TensorFlow's shuffle refuses a seed that is a tensor, as the input pipeline's is.
    keras.utils.set_random_seed(config.inputs.seed + 1)
    if config.deterministic:
        make_deterministic()
    with (
        _own_copy(model_dir, cluster) as own_dir,
        needing_workers(cluster),
        only_run_in(own_dir, "another run is training in this --model_dir: wait for it"),
        disk_errors_told(own_dir),
    ):
        for folder in (own_dir, own_dir / "tensorboard"):
            sweep_partial_files(folder)
        return _run(config, manifest, held_out, own_dir, info, found, say, log, cluster)


@contextlib.contextmanager
def _own_copy(model_dir: pathlib.Path, cluster: Cluster | None) -> Iterator[pathlib.Path]:
    """Gives a worker that is not the chief a copy of what the run needs of `model_dir`, to go on from and to write to.

    Every worker must do all that the chief does, saving included: to read the statistics of batch norm the workers
    have to meet, and one that stays away stops the others. The chief waits for all of them before it writes anything.
    """
    if cluster is None or cluster.is_chief:
        yield model_dir
        return
    with tempfile.TemporaryDirectory(prefix="calcseg-worker-") as folder:
        own_dir = pathlib.Path(folder, model_dir.name)
        if model_dir.is_dir():
            shutil.copytree(model_dir, own_dir, ignore=shutil.ignore_patterns("tensorboard"))
        yield own_dir


def _run(
    config: TrainingConfig,
    manifest: Manifest,
    held_out: frozenset[str],
    model_dir: pathlib.Path,
    info: ModelInfo,
    found: ModelInfo | None,
    say: Callable[[str], None],
    log: LogConfig,
    cluster: Cluster | None,
) -> ModelInfo:
    if cluster is not None:
        say(f"This is {cluster.name} of {cluster.workers} workers; waiting for the others")
    strategy = make_strategy(config.devices, cluster)
    checkpoints = sorted(path.name for path in (model_dir / "checkpoints").glob("*"))
    logged = dataclasses.asdict(log)  # pictures read what all workers sum
    check_workers_agree(strategy, cluster, [repr(info.model), info.training, info.data, logged, checkpoints])
    termination = Termination()
    checkpointing = Checkpointing(
        model_dir / "checkpoints", config.inputs.steps_per_epoch, config.checkpoint_every_steps, termination
    )
    history = History(model_dir / "history.json", _pixels_per_step(config.inputs, manifest))
    with strategy.scope():
        segmenter = build_segmenter(config, manifest.intensity_mean, manifest.intensity_standard_deviation)
        if not checkpointing.begun:  # before the optimiser is built, whose averages of the weights begin with them
            _load_start(segmenter, config.fine_tuning)
        begin = checkpointing.restore(segmenter, say)
    check_workers_agree(strategy, cluster, [begin.epoch, begin.step])  # one worker's checkpoint may be damaged
    history.resume(begin.epoch, SCORE)
    if begin.epoch + bool(begin.step) > config.epochs:
        raise InputError(f"--model_dir already holds {begin}; --epochs is {config.epochs}", model_dir)
    # A model that stands keeps its config, with its threshold, until other weights replace it.
    standing = found if (model_dir / WEIGHTS_FILE).exists() else None
    stays = standing is not None and begin.epoch == config.epochs and _same_weights(standing, info)
    if standing is not None and stays:
        info = dataclasses.replace(
            info,
            operating_threshold=standing.operating_threshold,
            operating_threshold_rule=standing.operating_threshold_rule,
            selection=standing.selection,
        )
    if standing is None or stays:
        write_info(model_dir, info)
    say(f"Training {segmenter.name} ({segmenter.count_params():,} weights) with {describe_strategy(strategy, cluster)}")
    if held_out:
        say(f"Validating on {len(held_out)} mammograms held out of the train split")
    if begin != Position():
        say(f"Going on after {begin}, of {config.epochs}")
    lines = EpochLog(model_dir / "training.log", say)
    lines.resume(begin.epoch)
    bar = ProgressBar(
        _pixels_per_step(config.inputs, manifest),
        config.inputs.steps_per_epoch,
        int(segmenter.optimizer.iterations.numpy()),
    )
    crops = training_crops(manifest) if log.images_every_epochs and not held_out else ()
    board = TensorBoardLog(model_dir / "tensorboard", config, log, crops)

    def images_at(epoch: int, step: int) -> list[str]:
        return training_batch_ids(manifest, config.inputs, epoch, step, held_out)

    stop = StopOnNan(model_dir, config.inputs.steps_per_epoch, images_at, lambda: checkpointing.latest)
    # Order matters: nothing is kept of a run gone wrong; the logs see the rates that History adds, and have all that a
    # checkpoint has; what a validation is stopped in is kept.
    callbacks: list[keras.callbacks.Callback] = [stop, history, bar, lines, board, checkpointing]
    if config.fine_tuning.freeze_backbone_epochs:
        callbacks.append(FrozenBackbone(config.fine_tuning.freeze_backbone_epochs))
    to_do, validates = begin.epoch < config.epochs, False
    if held_out:
        records = functools.partial(split_records, manifest, "train", held_out)
        every = config.validation.validate_every_epochs
        validation = Validation(
            info, records, every, model_dir, history, termination, [lines.validated, board.validated]
        )
        validation.resume(begin.epoch)
        callbacks.append(validation)
        validates = validation.pending
    board.resume(begin.epoch, validates)
    if to_do or validates:
        segmenter.first_step = begin.step
        batches = training_batches(manifest, config.inputs, begin.epoch, begin.step, held_out)
        # A worker that stopped on its own would leave the others waiting: SIGTERM ends it, and with it all, at once.
        with termination if cluster is None else contextlib.nullcontext(), contextlib.closing(bar):
            _fit(segmenter, config, manifest, batches, begin.epoch, callbacks)
    return _finish(segmenter, info, config, history, model_dir)


def _fit(
    segmenter: Segmenter,
    config: TrainingConfig,
    manifest: Manifest,
    batches: tf.data.Dataset,
    first_epoch: int,
    callbacks: list[keras.callbacks.Callback],
) -> None:
    try:
        segmenter.fit(
            batches,
            initial_epoch=first_epoch,
            epochs=config.epochs,
            steps_per_epoch=config.inputs.steps_per_epoch,
            verbose=0,
            callbacks=callbacks,
        )
    except tf.errors.DataLossError:
        raise InputError(
            "a record is damaged; data_prep.verify names its shard, data_prep.convert writes it again",
            manifest.directory,
        ) from None
    except (tf.errors.InvalidArgumentError, tf.errors.NotFoundError) as error:
        if "IteratorGetNext" not in str(error):
            raise  # not of the records
        raise InputError(f"a record cannot be read ({one_line(error)})", manifest.directory) from None
    except tf.errors.ResourceExhaustedError as error:
        if "OOM" not in str(error):
            raise  # a disk
        raise InputError(
            "memory ran out: try a smaller --crop_size or --global_batch_size, or --accumulate_steps"
        ) from None


def build_segmenter(config: TrainingConfig, mean: float, standard_deviation: float) -> Segmenter:
    """Builds and compiles what a recipe trains, under the current strategy.

    Args:
        config: The recipe.
        mean: Of the training set's intensities in [0, 1].
        standard_deviation: Likewise.
    """
    with layers_of(config.precision):
        # On one replica it would be the same computation, in slower parts.
        several = tf.distribute.get_strategy().num_replicas_in_sync > 1
        network = build_network(config.model, synchronized_batch_norm=several and config.batch_norm == "synchronized")
    config.fine_tuning.check(network)
    network.get_layer("normalization").set_statistics(mean, standard_deviation)
    use_convolution(network, config.convolution)
    segmenter = Segmenter.of(network, config.loss, _banded(config, network))
    optimizer = config.optimizer.build(config.epochs * config.inputs.steps_per_epoch)
    segmenter.compile(optimizer=with_loss_scaling(optimizer, config.precision), jit_compile=config.jit_compile)
    return segmenter


def _load_start(segmenter: Segmenter, start: FineTuningConfig) -> None:
    if start.initial_model:
        load_initial_weights(segmenter, start.initial_model)
    if start.backbone_weights:
        load_backbone_weights(segmenter, pathlib.Path(start.backbone_weights))


def _banded(config: TrainingConfig, network: keras.Model) -> Callable[[keras.Model], BandedGradient] | None:
    if config.gradient == "auto" and config.inputs.crop_size:
        # As measured (BUILD_NOTES.md, "Bands"): a network too narrow for transforms is faster plain, and small.
        ways = {layer.way(tf.float32, training=True) for layer in network.layers if isinstance(layer, ParallelConv2D)}
        banded = config.can_be_banded and "fourier" in ways
    else:
        banded = config.gradient != "plain"
    if not banded:
        return None
    return functools.partial(
        BandedGradient,
        all_reduce=sum_over_replicas if config.batch_norm == "synchronized" else tf.identity,
        keep_widest=config.inputs.crop_size > 0,
    )


def _pixels_per_step(inputs: InputConfig, manifest: Manifest) -> int:
    """Returns the pixels of a step; of whole mammograms, their mean."""
    pixels = inputs.crop_size**2 or manifest.pixels["train"] // manifest.images["train"]
    return inputs.global_batch_size * inputs.accumulate_steps * pixels


def _check_replicas(config: TrainingConfig, cluster: Cluster | None) -> None:
    replicas, batch = count_replicas(config.devices, cluster), config.inputs.global_batch_size
    if batch % replicas:
        raise InputError(f"--global_batch_size must be a multiple of the replicas, {replicas}; found {batch}")
    if config.jit_compile and replicas > 1:
        raise InputError(f"--jit_compile takes one replica; found {replicas}")


def _finish(
    segmenter: Segmenter, info: ModelInfo, config: TrainingConfig, history: History, model_dir: pathlib.Path
) -> ModelInfo:
    """Writes the weights that are to be kept and then their config; after validation it tells which ones they are."""
    best = history.best(SCORE)  # None without validation
    if best is not None and config.validation.keep == "best":
        epoch = best[0]
        copy_weights(model_dir, BEST_WEIGHTS_FILE, WEIGHTS_FILE)
    else:
        epoch = config.epochs
        # The plain network: a Segmenter's file would also hold the state of its metrics.
        with segmenter.averaged_weights():
            save_weights(model_dir, keras.Model(segmenter.inputs, segmenter.outputs))
    if best is not None:
        score = history.entry(epoch).get(SCORE)
        selection = {"epoch": epoch, SCORE: score, "best_epoch": best[0], f"best_{SCORE}": best[1]}
        info = dataclasses.replace(info, selection=selection)
    write_info(model_dir, info)
    return info


def _new_info(config: TrainingConfig, manifest: Manifest, held_out: frozenset[str]) -> ModelInfo:
    initial, backbone = config.fine_tuning.initial_model, config.fine_tuning.backbone_weights
    return ModelInfo(
        model=config.model,
        training=config.as_dict(),
        data={
            "data_set": manifest.data_set,
            "train_images": manifest.images["train"],
            "validation_images": len(held_out),
            "train_calcifications": manifest.calcifications["train"],
            "intensity_mean": manifest.intensity_mean,
            "intensity_standard_deviation": manifest.intensity_standard_deviation,
            **({"voi_lut": True} if manifest.flags.get("voi_lut") else {}),
            **({"initial_model": describe_initial_model(initial, config.model)} if initial else {}),
            **({"backbone_weights_sha256": backbone_weights_sha256(pathlib.Path(backbone))} if backbone else {}),
        },
    )


def _found_info(model_dir: pathlib.Path) -> ModelInfo | None:
    """Reads what an earlier run left in `model_dir`, None where it is new."""
    if (model_dir / CONFIG_FILE).exists():
        return read_info(model_dir)
    if model_dir.is_dir() and not all(is_partial(path) for path in model_dir.iterdir()):  # of a killed first write
        raise InputError("--model_dir must be new, empty or a model directory; it holds other files", model_dir)
    return None


def _same_weights(found: ModelInfo, asked: ModelInfo) -> bool:
    """Tells whether a run ends with the weights that another ended with: it is as long, and keeps the same ones."""
    told = [info.training or {} for info in (found, asked)]
    epochs, kept = ([each.get("epochs") for each in told], [each.get("validation", {}).get("keep") for each in told])
    return epochs[0] == epochs[1] and kept[0] == kept[1]


def _check_same_run(found: ModelInfo, asked: ModelInfo, model_dir: pathlib.Path) -> None:
    """Checks that a run found in `model_dir` is the one asked for, but for its length and devices."""
    if found.training is None:
        raise InputError("--model_dir holds imported weights; training needs another folder", model_dir)
    if found.model != asked.model:
        raise InputError(
            f"--model_dir was begun with {model_name(found.model)} {found.model}; asked for {asked.model}", model_dir
        )
    # Once the path of the backbone's weights stood there too; what they are is among the data.
    tuning = {name: value for name, value in found.training["fine_tuning"].items() if name != "backbone_weights"}
    _check_same("training", {**found.training, "fine_tuning": tuning}, asked.training or {}, model_dir)
    # A run of before this key goes on.
    data = {name: value for name, value in asked.data.items() if name != "voi_lut" or name in found.data}
    _check_same("data", found.data, data, model_dir)


def _check_same(what: str, found: Mapping[str, Any], asked: Mapping[str, Any], model_dir: pathlib.Path) -> None:
    free_to_change = {
        "epochs",
        "device",
        "replicas",
        "memory_growth",
        "deterministic",
        "checkpoint_every_steps",
        "keep",
        "convolution",
        "gradient",
    }
    if asked.get("optimizer", {}).get("schedule", "fixed") != "fixed":
        free_to_change.remove("epochs")  # the schedule ends with them
    for name in sorted(set(found) | set(asked)):
        old, new = found.get(name), asked.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            _check_same(f"{what}.{name}", old, new, model_dir)
        elif name not in free_to_change and old != new:
            raise InputError(f"--model_dir was begun with {what}.{name} {old}; now it is {new}", model_dir)
