"""Libraries that warn and log about a damaged file: what we use of it is checked, the rest is not ours."""

import contextlib
import logging
import warnings
from collections.abc import Iterator

__all__ = ["quiet"]


@contextlib.contextmanager
def quiet(library: str) -> Iterator[None]:
    """Silences Python's warnings and the log of a library, such as "pydicom" or "PIL" while it runs."""
    logger = logging.getLogger(library)
    level = logger.level
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logger.setLevel(logging.CRITICAL + 1)
            yield
    finally:
        logger.setLevel(level)
