"""What every network's frozen config has in common."""

from data_prep.errors import InputError

__all__ = ["ModelConfig", "check_size"]

_MOST_WEIGHTS = 1 << 28  # 1 GiB of float32, as much as a file of weights may hold


def check_size(weights: int) -> None:
    """Checks about how many weights a network has, before anything takes memory for them.

    Raises:
        InputError: Too many.
    """
    if weights > _MOST_WEIGHTS:
        raise InputError(f"a network has at most {_MOST_WEIGHTS} weights; found some {weights}")


class ModelConfig:
    """How far and on which grid a network sees; each network's frozen dataclass states what differs from here."""

    @property
    def halo_px(self) -> int:
        """How far an output pixel sees in each direction, rounded up to a multiple of `alignment_px`."""
        raise NotImplementedError

    @property
    def alignment_px(self) -> int:
        """Moving an image by a multiple of this moves the answer with it; tiles begin at multiples."""
        return 1

    @property
    def fixed_tile_px(self) -> int | None:
        """None where prediction by tiles of any size equals that of the whole image.

        Otherwise the network sees all of its input, and its prediction of a mammogram is by definition that by tiles of
        this side, each read with `halo_px` around it.
        """
        return None
