"""The data sets that can be converted; each lists the same `Case`s."""

from data_prep.datasets.case import Case, DataSet, Listing, Overrides
from data_prep.datasets.folder import Folder

__all__ = ["Case", "DataSet", "Folder", "Listing", "Overrides"]
