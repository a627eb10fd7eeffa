"""The coded concepts of DICOM results (PS3.16), in one place for writers and tests."""

from pydicom.sr.codedict import Code, codes

from data_prep.mammogram import Laterality, View

__all__ = [
    "AREA", "BREAST", "CALCIFICATION", "CERTAINTY", "CLUSTER", "COMMENT", "COUNT", "FINDING_CATEGORY", "LATERALITY",
    "LONG_AXIS", "MAMMOGRAPHY", "MEAN", "MM", "MM2", "NO_UNITS", "PERCENT", "PIXELS", "STANDARD_DEVIATION", "VIEWS",
]  # fmt: skip

CALCIFICATION = Code("129770007", "SCT", "Individual Calcification")
CLUSTER = Code("129769006", "SCT", "Calcification Cluster")
FINDING_CATEGORY = Code("49755003", "SCT", "Morphologically Abnormal Structure")  # CID 7150
BREAST = codes.SCT.Breast
MAMMOGRAPHY = Code("71651007", "SCT", "Mammography")

COUNT = codes.DCM.NumberOfCalcifications
CERTAINTY = codes.DCM.CertaintyOfFinding
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

# CID 4014.
VIEWS = {
    View.CC: codes.cid4014.CranioCaudal,
    View.MLO: codes.cid4014.MedioLateralObliqueProjection,
    View.ML: codes.cid4014.MedioLateralProjection,
    View.LM: codes.cid4014.LateroMedial,
    View.LMO: codes.cid4014.LateroMedialOblique,
    View.FB: codes.cid4014.CaudoCranial,
    View.SIO: codes.cid4014.SuperolateralToInferomedialOblique,
    View.ISO: codes.cid4014.InferomedialToSuperolateralOblique,
    View.XCCL: codes.cid4014.CranioCaudalExaggeratedLaterally,
    View.XCCM: codes.cid4014.CranioCaudalExaggeratedMedially,
}
