"""Connected components: what the paper counts as one calcification (section 4.1)."""

import cc3d
import numpy as np

from data_prep.errors import InputError
from data_prep.mask import BACKGROUND, CALCIFICATION, IGNORE

__all__ = ["CONNECTIVITIES", "check_mask", "label_components"]

CONNECTIVITIES = (4, 8)  # pixels that share an edge; or an edge or a corner


def label_components(foreground: np.ndarray, connectivity: int = 8) -> tuple[np.ndarray, int]:
    """Labels the connected components of a binary image.

    Args:
        foreground: bool [height, width].
        connectivity: 8 (edges and corners, the default: a calcification one pixel wide may run diagonally) or 4.

    Returns:
        labels: uint16 or uint32 [height, width]; 0 is background, components are 1 to `count` in the order of their
            first pixel, row by row.
        count: The number of components.
    """
    if connectivity not in CONNECTIVITIES:
        raise InputError(f"connectivity must be 4 or 8; found {connectivity}")
    # As uint8 on purpose. For bool (and with binary_image) cc3d 4.1.1 takes another, 8-connected way that counts right
    # but gives background pixels the label of a component: [1, 0, 0, 1] becomes [1, 2, 0, 2].
    image = np.ascontiguousarray(foreground, bool).view(np.uint8)
    labels, count = cc3d.connected_components(image, connectivity=connectivity, return_N=True)
    return labels, int(count)


def check_mask(mask: np.ndarray, shape: tuple[int, ...]) -> None:
    """Checks that a mask fits its image.

    Args:
        mask: Supposed to be uint8 [height, width].
        shape: (height, width) of the image.

    Raises:
        InputError: Not uint8, another shape, or a value that is none of 0, 1 and 255.
    """
    if mask.dtype != np.uint8 or mask.shape != shape:
        raise InputError(f"a mask is uint8 {list(shape)}; found {mask.dtype} {list(mask.shape)}")
    counts = np.bincount(mask.ravel(), minlength=256)
    if int(counts[[BACKGROUND, CALCIFICATION, IGNORE]].sum()) != mask.size:
        raise InputError(f"a mask holds 0, 1 and 255 alone; found {np.flatnonzero(counts).tolist()[:8]}")
