"""What every DICOM result says of its maker: software, algorithm, series, time, and what it may be used for."""

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

from pydicom.dataset import Dataset
from pydicom.sr.codedict import Code, codes

from calcseg_tf import __version__
from calcseg_tf.clinical.dicom.identifiers import derive_uid
from calcseg_tf.clinical.statistics import ImageStatistics

__all__ = ["ALGORITHM_FAMILY", "SOFTWARE", "ResultIdentity", "algorithm_parameters"]

SOFTWARE = "calcseg_tf"
ALGORITHM_FAMILY: Code = codes.DCM.ArtificialIntelligence  # CID 7162

_SERIES_NUMBER = {"SEG": 9101, "SR": 9102}  # beyond those that acquisition devices give
_USE = "research use, not for diagnosis"


@dataclasses.dataclass(frozen=True)
class ResultIdentity:
    """The names of the objects of one result.

    Attributes:
        digest: Of all that decides the result.
        created: When it was made; the one thing that differs when the same result is made again.
    """

    digest: str
    created: datetime.datetime

    def uid(self, *names: str) -> str:
        """Returns the UID of a part of the result."""
        return derive_uid(self.digest, *names)

    def arguments(self, modality: str, name: str, number: int) -> dict[str, Any]:
        """Returns what highdicom's constructors of objects have in common.

        Args:
            modality: SEG or SR; one series each.
            name: Of the object, unique in the result.
            number: Instance Number.
        """
        date, time = self.created.date(), self.created.time()
        return {
            "series_instance_uid": self.uid("series", modality),
            "series_number": _SERIES_NUMBER[modality],
            "series_description": f"{SOFTWARE}: calcifications ({_USE})",
            "sop_instance_uid": self.uid("instance", name),
            "instance_number": number,
            "manufacturer": SOFTWARE,
            "manufacturer_model_name": SOFTWARE,
            "software_versions": __version__,
            "device_serial_number": "0",  # type 1 of PS3.3 C.7.5.2; software has none
            "content_qualification": "RESEARCH",
            "content_date": date,
            "content_time": time,
            "series_date": date,
            "series_time": time,
        }

    def complete(self, dataset: Dataset) -> None:
        """Replaces the moments and the UIDs that highdicom makes up, none of which can be given to it."""
        dataset.InstanceCreationDate = self.created.strftime("%Y%m%d")
        dataset.InstanceCreationTime = self.created.strftime("%H%M%S.%f")
        for item in dataset.get("ContributingEquipmentSequence", []):
            item.ContributionDateTime = self.created.strftime("%Y%m%d%H%M%S.%f")
        for keyword in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
            for item in dataset.get(keyword, []):
                item.DimensionOrganizationUID = self.uid("dimensions", str(dataset.SOPInstanceUID))


def algorithm_parameters(statistics: ImageStatistics, model: Mapping[str, object]) -> dict[str, str]:
    """Returns what the algorithm was run with, as texts."""
    name = model.get("name")
    return {"threshold": f"{statistics.threshold:.10g}", **({"network": str(name)} if name else {})}
