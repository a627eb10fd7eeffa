import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from calcseg_tf.input_pipeline import InputConfig
from calcseg_tf.models import model_config
from calcseg_tf.recipe import OptimizerConfig, TrainingConfig
from calcseg_tf.schedules import learning_rate_schedule
from data_prep.errors import InputError

WHOLE = InputConfig(crop_size=0, global_batch_size=1)


def rates(name, steps=8, warmup_steps=0, rate=1.0):
    schedule = learning_rate_schedule(name, rate, steps, warmup_steps)
    if not callable(schedule):
        return [schedule] * steps
    return [float(schedule(tf.constant(step, tf.int64))) for step in range(steps)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fixed", [1.0] * 8),
        ("cosine", [(1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)]),
        ("step", [1.0] * 4 + [0.1] * 2 + [0.01] * 2),
        ("polynomial", [(1 - step / 8) ** 0.9 for step in range(8)]),
    ],
)
def test_each_schedule_gives_the_rates_of_its_formula(name, expected):
    assert rates(name) == pytest.approx(expected, rel=1e-5)
    warm = [rate * factor for rate, factor in zip(expected, [0.25, 0.5, 0.75, 1, 1, 1, 1, 1], strict=True)]
    assert rates(name, warmup_steps=4) == pytest.approx(warm, rel=1e-5)


def test_schedules_take_runs_of_any_length():
    for name in ("cosine", "step", "polynomial"):
        for steps in (1, 2, 3):
            assert all(0 <= rate <= 1 for rate in rates(name, steps=steps, warmup_steps=2))


def updated(config, *gradients, start=(1.0, 1.0)):
    """Two scalars and their optimiser after one update for each pair of gradients."""
    variables = [tf.Variable(value) for value in start]
    optimizer = config.build(steps=10)
    for pair in gradients:
        optimizer.apply_gradients(zip(map(tf.constant, pair), variables, strict=True))
    return optimizer, variables


def test_a_gradient_is_clipped_by_its_norm_over_all_weights():
    config = OptimizerConfig(learning_rate=1.0, momentum=0.0, clip_norm=1.0)
    _, variables = updated(config, (3.0, 4.0))
    assert [float(value) for value in variables] == pytest.approx([1 - 0.6, 1 - 0.8])
    _, variables = updated(config, (0.3, 0.4))
    assert [float(value) for value in variables] == pytest.approx([1 - 0.3, 1 - 0.4])


def test_averaged_weights_are_the_exponential_average_of_the_updated_ones():
    optimizer, variables = updated(
        OptimizerConfig(learning_rate=1.0, momentum=0.0, ema_momentum=0.5), (1.0, 0.0), (1.0, 2.0)
    )
    assert [float(value) for value in variables] == [-1, -1]
    optimizer.finalize_variable_values(variables)
    # 1, 0, -1 and 1, 1, -1 from the first to the last.
    assert [float(value) for value in variables] == [0.25 * 1 + 0.25 * 0 - 0.5, 0.25 * 1 + 0.25 * 1 - 0.5]


def test_without_its_options_the_optimizer_is_the_papers():
    optimizer, variables = updated(OptimizerConfig(learning_rate=0.5), (100.0, -2.0))
    assert [float(value) for value in variables] == [-49, 2]
    assert (optimizer.momentum, optimizer.use_ema, optimizer.global_clipnorm) == (0.9, False, None)
    assert isinstance(optimizer, keras.optimizers.SGD)
    np.testing.assert_allclose(OptimizerConfig(name="adam", warmup_steps=2).build(4).learning_rate, 0.0005)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: OptimizerConfig(schedule="linear"), "one of fixed, cosine, step, polynomial; found 'linear'"),
        (lambda: OptimizerConfig(warmup_steps=-1), "--warmup_steps must be 0 or more; found -1"),
        (lambda: OptimizerConfig(clip_norm=-1.0), "--clip_norm must be 0 .none. or more; found -1"),
        (lambda: OptimizerConfig(clip_norm=float("nan")), "--clip_norm"),
        (lambda: OptimizerConfig(ema_momentum=1.0), "--ema_momentum must be in"),
        (lambda: TrainingConfig(model_config("fcn"), batch_norm="global"), "--batch_norm must be one of synchronized"),
        (lambda: TrainingConfig(model_config("fcn"), convolution="fft"), "--convolution must be one of auto, separate"),
        (
            lambda: TrainingConfig(model_config("unet"), convolution="fourier"),
            "--convolution=fourier takes --model=fcn",
        ),
        (
            lambda: TrainingConfig(model_config("fcn"), convolution="merged", precision="mixed_bfloat16"),
            "--convolution=merged takes --model=fcn and --precision=float32",
        ),
        (
            lambda: TrainingConfig(model_config("fcn"), gradient="tiled"),
            "--gradient must be one of auto, plain, banded",
        ),
        (lambda: TrainingConfig(model_config("unet"), gradient="banded"), "--gradient=banded takes --model=fcn"),
        (lambda: TrainingConfig(model_config("unet"), WHOLE), "--crop_size=0 takes --model=fcn"),
        (lambda: TrainingConfig(model_config("fcn"), WHOLE, gradient="plain"), "takes --gradient=banded; found plain"),
        (lambda: TrainingConfig(model_config("fcn"), WHOLE, jit_compile=True), "and no --jit_compile"),
        (lambda: TrainingConfig(model_config("fcn"), precision="float16"), "--precision must be one of float32, mixed"),
    ],
)
def test_a_wrong_option_says_what_is_wrong(build, message):
    with pytest.raises(InputError, match=message):
        build()
