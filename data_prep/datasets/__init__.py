"""One reader per data set, each yielding the same `Case`s."""

import difflib
import pathlib
from collections.abc import Callable, Mapping

from data_prep.datasets import folder
from data_prep.datasets.case import Case, Listing, Overrides
from data_prep.errors import InputError

__all__ = ["READERS", "Case", "Listing", "Overrides", "reader_of"]

# Name -> reader: takes the data directory and lists it without opening an image.
READERS: Mapping[str, Callable[[pathlib.Path], Listing]] = {"folder": folder.list_cases}


def reader_of(name: str) -> Callable[[pathlib.Path], Listing]:
    """Returns the reader of a data set.

    Raises:
        InputError: No data set of that name; names the near match.
    """
    if name not in READERS:
        near = difflib.get_close_matches(name.lower(), READERS, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"a data set is one of {', '.join(sorted(READERS))}; found {name!r}{hint}", "--dataset")
    return READERS[name]
