"""The network in float64, by Fourier transforms in NumPy and SciPy: what every peer's answer is compared with.

Shares no arithmetic with any of them: circular correlation of small tiles in double precision.
"""

from collections.abc import Mapping

import numpy as np
import scipy.fft
from scipy.special import expit

from benchmarks.inference.windows import predict_in_windows

__all__ = ["predict_float64"]

_TILE = 32  # px of a transform
_WINDOW = 512


def predict_float64(weights: Mapping[str, np.ndarray], image: np.ndarray) -> np.ndarray:
    """Maps intensities [height, width] to probabilities in float64; air and all; some 25 s of CPU a megapixel.

    Args:
        weights: As `write_weights` writes them; batch norm is computed as trained, not folded.
        image: float32 in [0, 1].
    """
    sizes = [int(size) for size in weights["kernel_sizes"]]
    spectra = {
        name: _spectrum(weights[f"{name}.weight"].astype(np.float64))
        for name in ["pred", *(f"block{n}.conv{s}" for n in range(1, int(weights["blocks"]) + 1) for s in sizes)]
    }

    def network(window: np.ndarray) -> np.ndarray:
        x = (window[None].astype(np.float64) - float(weights["mean"])) / float(weights["standard_deviation"])
        for number in range(1, int(weights["blocks"]) + 1):
            names = [f"block{number}.conv{size}" for size in sizes]
            x = _correlate(x, np.concatenate([spectra[name] for name in names], axis=1), max(sizes))
            x += np.concatenate([weights[f"{name}.bias"] for name in names])[:, None, None]
            norm = {
                part: weights[f"block{number}.bn.{part}"].astype(np.float64)[:, None, None]
                for part in ("weight", "bias", "running_mean", "running_var")
            }
            x = (x - norm["running_mean"]) / np.sqrt(norm["running_var"] + float(weights["epsilon"]))
            x = np.maximum(x * norm["weight"] + norm["bias"], 0.0)
        logit = _correlate(x, spectra["pred"], weights["pred.weight"].shape[-1])[0] + weights["pred.bias"][0]
        return expit(logit)

    return predict_in_windows(network, image, _WINDOW, int(weights["halo"]))


def _spectrum(kernel: np.ndarray) -> np.ndarray:
    """Returns the conjugate transform of kernels OIHW, centred on pixel 0: [frequencies, out, in]."""
    side = kernel.shape[-1]
    padded = np.zeros((*kernel.shape[:2], _TILE, _TILE))
    padded[..., :side, :side] = kernel
    padded = np.roll(padded, (-(side // 2), -(side // 2)), axis=(-2, -1))
    spectrum = scipy.fft.rfft2(padded).conj()
    return np.ascontiguousarray(spectrum.reshape(*kernel.shape[:2], -1).transpose(2, 0, 1))


def _correlate(x: np.ndarray, spectrum: np.ndarray, side: int) -> np.ndarray:
    """Correlates [in, height, width], zero-padded, with kernels of at most `side` px: [out, height, width]."""
    reach, (channels, height, width) = side // 2, x.shape
    step = _TILE - 2 * reach
    rows, columns = -(-height // step), -(-width // step)
    padded = np.pad(x, ((0, 0), (reach, rows * step + reach - height), (reach, columns * step + reach - width)))
    tiles = np.lib.stride_tricks.sliding_window_view(padded, (channels, _TILE, _TILE))[0, ::step, ::step]
    transformed = scipy.fft.rfft2(tiles, workers=-1).reshape(rows * columns, channels, -1)
    mixed = spectrum @ np.ascontiguousarray(transformed.transpose(2, 1, 0))  # [frequencies, out, tiles]
    out = mixed.shape[1]
    mixed = np.ascontiguousarray(mixed.transpose(1, 2, 0)).reshape(out, rows, columns, _TILE, _TILE // 2 + 1)
    answer = scipy.fft.irfft2(mixed, s=(_TILE, _TILE), workers=-1)[..., reach : reach + step, reach : reach + step]
    return answer.transpose(0, 1, 3, 2, 4).reshape(out, rows * step, columns * step)[:, :height, :width]
