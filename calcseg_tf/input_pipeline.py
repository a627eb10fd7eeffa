"""Training batches: full-resolution crops, the same for the same seed however often a run stops and resumes."""

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from calcseg_tf.augment import AugmentConfig, augment
from data_prep.errors import InputError
from data_prep.manifest import Manifest
from data_prep.schema import CALCIFICATION, IGNORE, decode_image_and_mask, image_id_of

__all__ = ["InputConfig", "crops_of", "training_batch_ids", "training_batches"]

_IMAGES_SHUFFLED = 16  # encoded records held for shuffling: about 10 MB each
_TISSUE_GRID_PX = 16
_JITTER = (
    0.35  # of the crop's side: at every angle up to 45 degrees the calcification stays inside a crop not magnified
)


@dataclasses.dataclass(frozen=True)
class InputConfig:
    """How crops are drawn.

    Attributes:
        crop_size: Side of a crop in px; 0 takes whole mammograms, one an iteration.
        global_batch_size: Crops an iteration, over all replicas.
        steps_per_epoch: Updates of the weights an epoch.
        accumulate_steps: Iterations an update: so many global batches are drawn for it.
        crops_per_image: Crops drawn each time a mammogram is decoded.
        calcification_share: Share of the crops that are drawn around a calcification where the mammogram has one; the
            others lie anywhere but on air. About one pixel in a thousand is positive, so that uniform crops mostly see
            none.
        seed: Seeds order, places, angles and flips.
        augment: Rotation, flip, zoom, contrast and edges.
    """

    crop_size: int = 256
    global_batch_size: int = 8
    steps_per_epoch: int = 100
    accumulate_steps: int = 1
    crops_per_image: int = 32
    calcification_share: float = 0.5
    seed: int = 0
    augment: AugmentConfig = AugmentConfig()

    def __post_init__(self) -> None:
        if self.crop_size < 0:
            raise InputError(f"--crop_size must be 0 or more; found {self.crop_size}")
        if self.crop_size == 0 and (self.global_batch_size, self.accumulate_steps) != (1, 1):
            raise InputError(
                "--crop_size=0 takes one mammogram an iteration: --global_batch_size=1 and --accumulate_steps=1; "
                f"found {self.global_batch_size} and {self.accumulate_steps}"
            )
        at_least_1 = ("global_batch_size", "steps_per_epoch", "accumulate_steps", "crops_per_image")
        for name in at_least_1:
            if getattr(self, name) < 1:
                raise InputError(f"--{name} must be at least 1; found {getattr(self, name)}")
        if not 0 <= self.calcification_share <= 1:
            raise InputError(f"--calcification_share must be 0 to 1; found {self.calcification_share}")
        if not 0 <= self.seed < 2**32 - 1:  # NumPy's limit, less the 1 that `train` adds
            raise InputError(f"--seed must be 0 to {2**32 - 2}; found {self.seed}")

    @property
    def draws_per_image(self) -> int:
        """How many examples are drawn each time a mammogram is decoded."""
        return self.crops_per_image if self.crop_size else 1


def training_batches(
    manifest: Manifest,
    config: InputConfig,
    first_epoch: int = 0,
    first_step: int = 0,
    held_out: frozenset[str] = frozenset(),
) -> tf.data.Dataset:
    """Returns an endless data set of global batches of the train split, from a step of an epoch on.

    An epoch is `steps_per_epoch` elements and depends on the seed and its own number alone: a resumed run sees what it
    would have seen. Steps of the first epoch that are left out are made and thrown away (BUILD_NOTES.md, "Resuming").

    Args:
        manifest: The records.
        config: How crops are drawn.
        first_epoch: Epochs left out.
        first_step: Steps of the next epoch left out.
        held_out: Ids of images that are never seen; not all of the split.

    Returns:
        Batches (image float32 [global_batch_size, crop_size, crop_size, 1] in [0, 1], mask uint8 of the same shape);
        of whole mammograms [1, height, width, 1].
        With `accumulate_steps` above 1, so many of them along a second axis: [global_batch_size, accumulate_steps,
        crop_size, crop_size, 1].
    """

    def crops(record: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return crops_of(*decode_image_and_mask(record), seed, config)

    # Every worker of a cluster draws all crops and keeps its part: sharded by file, each would draw others.
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return (
        _batches(manifest, config, (first_epoch, first_step), held_out, crops)
        .prefetch(4 if config.crop_size else 1)
        .with_options(options)
    )


def training_batch_ids(
    manifest: Manifest, config: InputConfig, epoch: int, step: int, held_out: frozenset[str] = frozenset()
) -> list[str]:
    """Tells from which mammograms an element of `training_batches` was cut, by drawing it again without decoding any.

    Args:
        manifest: The records.
        config: As for the batch.
        epoch: From 0.
        step: Within the epoch, from 0.
        held_out: As for the batch.

    Returns:
        The image ids of its crops, in their order.
    """

    def ids(record: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
        return tf.repeat(image_id_of(record), config.draws_per_image)

    batch = next(iter(_batches(manifest, config, (epoch, step), held_out, ids)))
    return [image_id.decode() for image_id in batch.numpy().ravel()]


def _batches(
    manifest: Manifest,
    config: InputConfig,
    first: tuple[int, int],
    held_out: frozenset[str],
    examples_of: Callable[[tf.Tensor, tf.Tensor], Any],
) -> tf.data.Dataset:
    """Batches what `examples_of` makes of each record and seed, as `training_batches` says, from (epoch, step) on."""
    first_epoch, first_step = first
    shards = [shard for shard in manifest.shard_infos if shard.split == "train" and shard.examples]
    paths = [str(manifest.directory / shard.name) for shard in shards]
    counts = [shard.examples for shard in shards]

    def epoch_batches(epoch: tf.Tensor) -> tf.data.Dataset:
        # A shuffle mixes in the seed of its graph, which would be whatever the process was seeded with; where that is
        # 0, TensorFlow compares `epoch_seed` with a number while it traces, and fails.
        tf.random.set_seed(config.seed + 1)
        epoch_seed = tf.random.fold_in(tf.constant([config.seed, 0], tf.int64), epoch)
        start_seed = tf.random.split(epoch_seed, 2)[0]

        def read(number: tf.Tensor, path: tf.Tensor, count: tf.Tensor) -> tf.data.Dataset:
            # Every epoch begins elsewhere in a shard: it may be too short to reach the last records from the first.
            seed = tf.random.fold_in(start_seed, number)
            start = tf.random.stateless_uniform([], seed, maxval=count, dtype=tf.int64)
            whole = tf.data.TFRecordDataset(path)
            return whole.skip(start).concatenate(whole.take(start))

        numbers = tf.range(len(paths), dtype=tf.int64)
        records = tf.data.Dataset.from_tensor_slices((numbers, paths, tf.constant(counts, tf.int64)))
        records = records.shuffle(len(paths), seed=epoch_seed[0])
        records = records.interleave(read, cycle_length=4, num_parallel_calls=1, deterministic=True)
        if held_out:
            records = records.filter(lambda record: tf.reduce_all(image_id_of(record) != sorted(held_out)))
        records = records.shuffle(_IMAGES_SHUFFLED, seed=epoch_seed[1]).repeat().enumerate()
        examples = records.map(
            lambda number, record: examples_of(record, tf.random.fold_in(epoch_seed, number)),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        ).unbatch()
        # Several mammograms in a batch: batch norm and the hard negatives should not see one alone.
        examples = examples.shuffle(4 * config.draws_per_image, seed=epoch_seed[0])
        batches = examples.batch(config.global_batch_size, drop_remainder=True)
        if config.accumulate_steps > 1:
            # Replicas share the first axis: each gets its part of every iteration.
            batches = batches.batch(config.accumulate_steps, drop_remainder=True).map(_swap_first_axes)
        return batches.take(config.steps_per_epoch).skip(
            tf.where(epoch == first_epoch, tf.constant(first_step, tf.int64), 0)
        )

    return tf.data.Dataset.counter(start=first_epoch, step=1).flat_map(epoch_batches)


def _swap_first_axes(*tensors: tf.Tensor) -> Any:
    swapped = tuple(tf.transpose(tensor, [1, 0, *range(2, tensor.shape.rank)]) for tensor in tensors)
    return swapped if len(swapped) > 1 else swapped[0]


def crops_of(image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, config: InputConfig) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws augmented crops from one mammogram.

    Args:
        image: float32 [height, width, 1] in [0, 1].
        mask: uint8 [height, width, 1].
        seed: int64 [2].
        config: How many, how large, where.

    Returns:
        image float32 and mask uint8 [crops_per_image, crop_size, crop_size, 1], or the whole [1, height, width, 1];
        outside the mammogram 0 and IGNORE.
    """
    seeds = tf.random.split(seed, 2)
    if not config.crop_size:
        return augment(image[None], mask[None], 0, seeds[1], config.augment)
    outer = config.augment.outer_size(config.crop_size)
    corners = _corners(image, mask, seeds[0], config)
    margin = (outer - config.crop_size) // 2
    # A mammogram smaller than the crop lies in the corner of what is cut.
    missing = tf.maximum(config.crop_size - tf.shape(mask)[:2], 0)
    padding = [[margin, margin + missing[0]], [margin, margin + missing[1]], [0, 0]]
    image = tf.pad(image, padding)
    mask = tf.pad(mask, padding, constant_values=IGNORE)

    def cut(corner: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        begin = tf.concat([corner, [0]], 0)
        return tf.slice(image, begin, [outer, outer, 1]), tf.slice(mask, begin, [outer, outer, 1])

    images, masks = tf.map_fn(
        cut,
        corners,
        fn_output_signature=(
            tf.TensorSpec([outer, outer, 1], tf.float32),
            tf.TensorSpec([outer, outer, 1], tf.uint8),
        ),
    )
    return augment(images, masks, config.crop_size, seeds[1], config.augment)


def _corners(image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, config: InputConfig) -> tf.Tensor:
    """Draws int32 [crops_per_image, 2], the top left corners of crops that lie inside the mammogram."""
    count, size = config.crops_per_image, config.crop_size
    draws = tf.random.stateless_uniform([count, 6], seed)
    room = tf.maximum(tf.shape(mask)[:2] - size, 0)

    anywhere = _pick(_tissue(image), draws[:, 0])
    anywhere += tf.cast(draws[:, 1:3] * _TISSUE_GRID_PX, tf.int32) - size // 2

    calcified = _first_pixels(mask)
    around = _pick(calcified, draws[:, 0])
    around += tf.cast(tf.round((draws[:, 3:5] - 0.5) * (2 * _JITTER * size)), tf.int32) - size // 2

    chosen = (draws[:, 5] < config.calcification_share) & (tf.shape(calcified)[0] > 0)
    return tf.clip_by_value(tf.where(chosen[:, None], around, anywhere), 0, room)


def _pick(points: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """Picks points, int32 [found, 2], by draws in [0, 1); gives (0, 0) where there are none."""
    found = tf.shape(points)[0]
    points = tf.concat([points, [[0, 0]]], 0)
    # A draw just below 1 times a large number can round up to it.
    index = tf.minimum(tf.cast(draws * tf.cast(found, tf.float32), tf.int32), tf.maximum(found - 1, 0))
    return tf.gather(points, index)


def _tissue(image: tf.Tensor) -> tf.Tensor:
    """Returns int32 [found, 2], the points of a grid that do not lie on air, or all where every one does.

    Half or more of a mammogram is air, which stores 0 and teaches nothing.
    """
    grid = image[::_TISSUE_GRID_PX, ::_TISSUE_GRID_PX, 0]
    wanted = (grid > 0) | (tf.reduce_max(grid) == 0)
    return tf.cast(tf.where(wanted), tf.int32) * _TISSUE_GRID_PX


def _first_pixels(mask: tf.Tensor) -> tf.Tensor:
    """Returns int32 [found, 2], the (row, column) of about one pixel a calcification, whatever its size.

    These are the pixels without a calcified neighbour before them in reading order: at least one of every component,
    and more than one only where its upper edge has several tops. A draw among all pixels would see the few coarse
    calcifications nearly always and the many small ones nearly never.
    """
    padded = tf.pad(tf.equal(mask[..., 0], CALCIFICATION), [[1, 0], [1, 1]])
    calcified = tf.cast(tf.where(padded), tf.int32)
    before = tf.constant([[-1, -1], [-1, 0], [-1, 1], [0, -1]])
    continued = tf.reduce_any(tf.gather_nd(padded, calcified[:, None] + before), axis=1)
    return tf.boolean_mask(calcified, ~continued) - [1, 1]
