"""What Python takes of memory while something runs."""

import contextlib
import tracemalloc
from collections.abc import Iterator

__all__ = ["bounded_memory"]


@contextlib.contextmanager
def bounded_memory(most: int) -> Iterator[None]:
    """Checks that what Python and NumPy allocate inside is never more than so many bytes, whatever ran before."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= most, f"{peak} bytes"
