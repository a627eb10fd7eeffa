"""The data sets that can be converted; each lists the same `Case`s."""

from data_prep.datasets.case import Case, DataSet, Listing, Overrides
from data_prep.datasets.cbis_ddsm import CbisDdsm, Regions
from data_prep.datasets.folder import Folder
from data_prep.datasets.inbreast import InBreast, Subset
from data_prep.datasets.inbreast_rois import RoiRules

__all__ = [
    "Case",
    "CbisDdsm",
    "DataSet",
    "Folder",
    "InBreast",
    "Listing",
    "Overrides",
    "Regions",
    "RoiRules",
    "Subset",
]
