"""The coded concepts of DICOM results (PS3.16), in one place for writers and tests."""

from pydicom.sr.codedict import Code, codes

from calcseg_tf.clinical.clusters import Distribution
from data_prep.mammogram import Laterality

__all__ = [
    "AREA", "BREAST", "CALCIFICATION", "CERTAINTY", "CLUSTER", "COMMENT", "COUNT", "DISTRIBUTION", "DISTRIBUTIONS",
    "FINDING_CATEGORY", "LATERALITY", "LONG_AXIS", "MAMMOGRAPHY", "MEAN", "MM", "MM2", "NO_UNITS", "PERCENT", "PIXELS",
    "STANDARD_DEVIATION",
]  # fmt: skip

CALCIFICATION = Code("129770007", "SCT", "Individual Calcification")
CLUSTER = Code("129769006", "SCT", "Calcification Cluster")
FINDING_CATEGORY = Code("49755003", "SCT", "Morphologically Abnormal Structure")  # CID 7150
BREAST = codes.SCT.Breast
MAMMOGRAPHY = Code("71651007", "SCT", "Mammography")

COUNT = codes.DCM.NumberOfCalcifications
CERTAINTY = codes.DCM.CertaintyOfFinding
DISTRIBUTION = codes.DCM.CalcificationDistribution
COMMENT = codes.DCM.Comment
AREA = codes.SCT.Area
LONG_AXIS = codes.SCT.LongAxis
MEAN = codes.SCT.Mean  # CID 7464
STANDARD_DEVIATION = codes.SCT.StandardDeviation

MM = codes.UCUM.Millimeter
MM2 = codes.UCUM.SquareMillimeter
PERCENT = codes.UCUM.Percent
NO_UNITS = codes.UCUM.NoUnits
PIXELS = Code("{pixels}", "UCUM", "Pixels")

# CID 244.
LATERALITY = {Laterality.LEFT: codes.SCT.Left, Laterality.RIGHT: codes.SCT.Right}

# CID 6012.
DISTRIBUTIONS = {
    Distribution.DIFFUSE: codes.cid6012.DiffuseCalcificationDistribution,
    Distribution.REGIONAL: codes.cid6012.RegionalCalcificationDistribution,
    Distribution.GROUPED: codes.cid6012.GroupedCalcificationDistribution,
    Distribution.LINEAR: codes.cid6012.LinearCalcificationDistribution,
    Distribution.SEGMENTAL: codes.cid6012.SegmentalCalcificationDistribution,
}
