"""Trains a network: python -m calcseg_tf.train --flagfile=configs/paper.cfg --records_dir=... --model_dir=..."""

import math
import os
import pathlib

from absl import flags

from data_prep.command import DISCLAIMER, run, say
from data_prep.errors import InputError

# The page of --help has this order: first what the paper tells of.
_RECORDS_DIR = flags.DEFINE_string("records_dir", None, "Folder that data_prep.convert wrote.", required=True)
_MODEL_DIR = flags.DEFINE_string("model_dir", None, "Folder for the model; a run stopped there goes on.", required=True)
_MODEL = flags.DEFINE_string("model", "fcn", "fcn (the paper's network), unet, deeplabv3 or scale_space.")
_LOSS = flags.DEFINE_string(
    "loss", "hard_negatives", "hard_negatives (the paper's), cross_entropy, weighted_cross_entropy, focal."
)
_RATIO = flags.DEFINE_integer("negatives_per_positive", 3, "Hard negatives to one positive pixel.")
_CROP_SIZE = flags.DEFINE_integer("crop_size", 256, "Side of a training crop in px; 0: whole mammograms (fcn).")
_BATCH = flags.DEFINE_integer("global_batch_size", 8, "Crops an iteration, over all replicas.")
_LEARNING_RATE = flags.DEFINE_float("learning_rate", 0.001, "Learning rate, or where it starts.")
_OPTIMIZER = flags.DEFINE_string("optimizer", "sgd", "sgd (the paper's) or adam.")
_MOMENTUM = flags.DEFINE_float("momentum", 0.9, "Momentum of sgd.")
_ROTATION = flags.DEFINE_float("max_rotation_degrees", 35.0, "Crops turn within [-max, max].")
_FLIP = flags.DEFINE_bool("horizontal_flip", True, "Mirror half of the crops.")
_EPOCHS = flags.DEFINE_integer("epochs", 500, "Epochs.")
_STEPS = flags.DEFINE_integer("steps_per_epoch", 100, "Updates of the weights an epoch.")
_SEED = flags.DEFINE_integer("seed", 0, "Seeds weights, order, crops and augmentation.")
# Then what it leaves open, and what others do.
_MODEL_OPTIONS = (  # each is an option of some networks; where it is not given, the network has its own default
    flags.DEFINE_list("widths", None, "Channels of each block of fcn (4,16,32,64,128) or level of unet (64,...,1024)."),
    flags.DEFINE_list("kernel_sizes", None, "Parallel convolutions of a block of fcn, in px (3,5,7,9)."),
    flags.DEFINE_string("detector", None, "What scale_space looks for: laplacian (default) or top_hat."),
    flags.DEFINE_list("diameters_px", None, "Diameters of the spots of scale_space, in px (3,4,6,8,12)."),
)
_INITIAL = flags.DEFINE_string("initial_model", "", "Model directory whose weights to start from, or `shipped`.")
_BACKBONE = flags.DEFINE_string("backbone_weights", "", "HDF5 file of Keras' ResNet50 without top, for deeplabv3.")
_FREEZE = flags.DEFINE_integer("freeze_backbone_epochs", 0, "First epochs, in which deeplabv3's backbone is fixed.")
_FLOOR = flags.DEFINE_integer("negatives_without_positives", 256, "Hard negatives of a batch without a positive.")
_POSITIVE_WEIGHT = flags.DEFINE_float("positive_weight", 0.0, "Of weighted_cross_entropy; 0: negatives / positives.")
_FOCAL_ALPHA = flags.DEFINE_float("focal_alpha", 0.25, "Weight of positives in focal; negatives have 1 - alpha.")
_FOCAL_GAMMA = flags.DEFINE_float("focal_gamma", 2.0, "Exponent of focal, at least 1.")
_ACCUMULATE = flags.DEFINE_integer("accumulate_steps", 1, "Iterations whose gradients make one update of the weights.")
_CROPS = flags.DEFINE_integer("crops_per_image", 32, "Crops drawn each time a mammogram is decoded.")
_SHARE = flags.DEFINE_float("calcification_share", 0.5, "Share of crops drawn around a calcification.")
_ZOOM = flags.DEFINE_float("max_zoom_factor", 1.0, "Crops are magnified or reduced by up to this factor; 1: not.")
_CONTRAST = flags.DEFINE_float("max_contrast_factor", 1.0, "Crops change contrast by up to this factor; 1: not.")
_EDGES = flags.DEFINE_float("edge_share", 0.0, "Share of crops that get an artificial edge, as films have; 0: none.")
_SCHEDULE = flags.DEFINE_string(
    "learning_rate_schedule", "fixed", "fixed (the paper's), cosine, step (a tenth at 1/2 and 3/4), polynomial."
)
_WARMUP = flags.DEFINE_integer("warmup_steps", 0, "Updates over which the learning rate rises; 0: none.")
_CLIP = flags.DEFINE_float("clip_norm", 0.0, "Largest global norm of a gradient; a longer one is scaled. 0: any.")
_EMA = flags.DEFINE_float("ema_momentum", 0.0, "Momentum of averaged weights, which are then kept; 0: not averaged.")
_BATCH_NORM = flags.DEFINE_string("batch_norm", "synchronized", "synchronized over all replicas, or local to each.")
_PRECISION = flags.DEFINE_string("precision", "float32", "float32, mixed_bfloat16 or mixed_float16.")
_JIT = flags.DEFINE_bool("jit_compile", False, "Compile the step with XLA; one replica only.")
_CONVOLUTION = flags.DEFINE_string(
    "convolution", "auto", "Of fcn, differing in rounding: separate, merged, fourier, or auto, the fastest."
)
_GRADIENT = flags.DEFINE_string("gradient", "auto", "plain, banded (fcn: bounded memory) or auto; differs in rounding.")
_VALIDATION = flags.DEFINE_float("validation_fraction", 0.0, "Share of the training patients held out; 0: none.")
_VALIDATE_EVERY = flags.DEFINE_integer("validate_every_epochs", 1, "Epochs from one validation to the next.")
_KEEP = flags.DEFINE_enum("keep", "best", ["best", "last"], "Weights that become the model, where there is validation.")
_CHECKPOINT_EVERY = flags.DEFINE_integer(
    "checkpoint_every_steps",
    0,
    "Checkpoints inside an epoch too; 0: at its end and on SIGTERM alone.",
)
_DEVICE = flags.DEFINE_string("device", "auto", "cpu, gpu, or auto: GPUs where there are any.")
_REPLICAS = flags.DEFINE_integer("replicas", 0, "GPUs or logical CPU devices of each worker; 0: every GPU, or one CPU.")
_GROWTH = flags.DEFINE_bool("memory_growth", True, "Take GPU memory as needed, not all at the start.")
_DETERMINISTIC = flags.DEFINE_bool("deterministic", False, "Repeatable bit for bit; slower.")
_FALSE_ALARMS = flags.DEFINE_float(
    "operating_false_alarms", 2.0, "The operating threshold allows this many false alarms a mammogram.", lower_bound=0
)
_THRESHOLD_IMAGES = flags.DEFINE_integer(
    "operating_images",
    8,
    "Held-out mammograms, or training ones, that choose the operating threshold; 0: none.",
    lower_bound=0,
)
_IMAGES_EVERY = flags.DEFINE_integer("images_every_epochs", 5, "Epochs between pictures in TensorBoard; 0: none.")
_PROFILE = flags.DEFINE_list("profile_steps", [], "FIRST,LAST update of this start to profile for TensorBoard.")


def main() -> None:
    """Trains, then chooses the operating threshold on validation mammograms, or training ones where there are none."""
    from calcseg_tf.cluster import read_cluster

    cluster = read_cluster(os.environ)  # before TensorFlow, which reads the variable too

    from calcseg_tf.augment import AugmentConfig
    from calcseg_tf.devices import DeviceConfig
    from calcseg_tf.fine_tuning import FineTuningConfig
    from calcseg_tf.held_out import ValidationConfig, held_out_images
    from calcseg_tf.input_pipeline import InputConfig
    from calcseg_tf.losses import LossConfig
    from calcseg_tf.models import model_config
    from calcseg_tf.recipe import OptimizerConfig, TrainingConfig
    from calcseg_tf.scoring import choose_operating_threshold
    from calcseg_tf.tensorboard_log import LogConfig
    from calcseg_tf.training import train
    from data_prep.manifest import read_manifest

    config = TrainingConfig(
        model=model_config(_MODEL.value, **_model_options()),
        inputs=InputConfig(
            crop_size=_CROP_SIZE.value,
            global_batch_size=_BATCH.value,
            steps_per_epoch=_STEPS.value,
            accumulate_steps=_ACCUMULATE.value,
            crops_per_image=_CROPS.value,
            calcification_share=_SHARE.value,
            seed=_SEED.value,
            augment=AugmentConfig(_ROTATION.value, _FLIP.value, _ZOOM.value, _CONTRAST.value, _EDGES.value),
        ),
        loss=LossConfig(
            _LOSS.value, _RATIO.value, _FLOOR.value, _POSITIVE_WEIGHT.value, _FOCAL_ALPHA.value, _FOCAL_GAMMA.value
        ),
        optimizer=OptimizerConfig(
            name=_OPTIMIZER.value,
            learning_rate=_LEARNING_RATE.value,
            momentum=_MOMENTUM.value,
            schedule=_SCHEDULE.value,
            warmup_steps=_WARMUP.value,
            clip_norm=_CLIP.value,
            ema_momentum=_EMA.value,
        ),
        devices=DeviceConfig(_DEVICE.value, _REPLICAS.value, _GROWTH.value),
        batch_norm=_BATCH_NORM.value,
        precision=_PRECISION.value,
        jit_compile=_JIT.value,
        convolution=_CONVOLUTION.value,
        gradient=_GRADIENT.value,
        fine_tuning=FineTuningConfig(_INITIAL.value, _BACKBONE.value, _FREEZE.value),
        validation=ValidationConfig(_VALIDATION.value, _VALIDATE_EVERY.value, _KEEP.value),
        epochs=_EPOCHS.value,
        checkpoint_every_steps=_CHECKPOINT_EVERY.value,
        deterministic=_DETERMINISTIC.value,
    )
    if not math.isfinite(_FALSE_ALARMS.value):
        raise InputError(f"must be finite; found {_FALSE_ALARMS.value}", "--operating_false_alarms")
    records_dir, model_dir = pathlib.Path(_RECORDS_DIR.value), pathlib.Path(_MODEL_DIR.value)
    log = LogConfig(_IMAGES_EVERY.value, tuple(_integers(_PROFILE)))
    train(config, records_dir, model_dir, say, log, cluster)
    if cluster is not None and not cluster.is_chief:
        print(f"{cluster.name} is done; the chief writes {model_dir}")
        return
    if _THRESHOLD_IMAGES.value > 0:
        held_out = held_out_images(read_manifest(records_dir), _VALIDATION.value, _SEED.value)
        info = choose_operating_threshold(
            model_dir, records_dir, _FALSE_ALARMS.value, _THRESHOLD_IMAGES.value, held_out
        )
        print(f"Operating threshold {info.operating_threshold:.4f}: {info.operating_threshold_rule}")
    print(f"Model: {model_dir}\nWatch or review: tensorboard --logdir {model_dir / 'tensorboard'}\n{DISCLAIMER}")


def _model_options() -> dict[str, str | list[int]]:
    given = [flag for flag in _MODEL_OPTIONS if flag.value is not None]
    return {flag.name: _integers(flag) if isinstance(flag.value, list) else flag.value for flag in given}


def _integers(flag: flags.FlagHolder) -> list[int]:
    from data_prep.errors import InputError

    try:
        return [int(text) for text in flag.value]
    except ValueError:
        raise InputError(f"--{flag.name} must be whole numbers with commas between; found {flag.value}") from None


if __name__ == "__main__":
    run(main)
