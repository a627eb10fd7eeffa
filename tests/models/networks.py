"""Networks that several tests share: the large ones take seconds to build. Their weights are any test's to change."""

import functools

import keras

from calcseg_tf.models import build_network, model_config

__all__ = ["SMALL", "network_of"]

SMALL = {"fcn": {"widths": (4,)}, "unet": {"widths": (2, 4)}, "deeplabv3": {}, "scale_space": {}}
"""Options that make a network quick where it can be."""


def network_of(name: str, *, small: bool = False, synchronized: bool = False) -> keras.Model:
    """Builds a network once in a test run."""
    return _network(name, small and bool(SMALL[name]), synchronized)


@functools.cache
def _network(name: str, small: bool, synchronized: bool) -> keras.Model:
    keras.utils.set_random_seed(1)
    return build_network(model_config(name, **(SMALL[name] if small else {})), synchronized_batch_norm=synchronized)
