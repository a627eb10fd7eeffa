"""The data sets that can be converted; each lists the same `Case`s."""

from data_prep.datasets.case import Case, DataSet, Listing, Overrides
from data_prep.datasets.cbis_ddsm import CbisDdsm, Regions
from data_prep.datasets.folder import Folder

__all__ = ["Case", "CbisDdsm", "DataSet", "Folder", "Listing", "Overrides", "Regions"]
