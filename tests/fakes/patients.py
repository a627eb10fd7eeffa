"""Patients whose every trace is a string of its own, and data sets full of them: in headers, names, tables and PNGs."""

import dataclasses
import pathlib

import numpy as np
import pydicom
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydicom.dataset import Dataset

from tests.fakes.dicom import write_dicom
from tests.fakes.folder import fake_mask, fake_pixels

__all__ = ["Patient", "taint", "write_hospital", "write_tainted_png"]

_FAMILIES = ("Zwiebelfisch", "Quastenflosser", "Dudelsack", "Kummerspeck", "Wolkenheim", "Jungbrunnen")
_GIVEN = ("Adelgunde", "Kunigunde", "Walpurgis", "Ermintrude", "Hildegunde", "Roswitha")
_UID_ROOT = "1.2.840.99731"


@dataclasses.dataclass(frozen=True)
class Patient:
    """Patient number 0 to 5."""

    number: int

    @property
    def family(self) -> str:
        return _FAMILIES[self.number]

    @property
    def given(self) -> str:
        return _GIVEN[self.number]

    @property
    def id(self) -> str:
        return f"QXJ-7731{self.number}"

    @property
    def birth(self) -> str:
        return f"1943112{self.number}"

    @property
    def study(self) -> str:
        return f"2017072{self.number}"

    @property
    def accession(self) -> str:
        return f"ACC55501{self.number}"

    @property
    def folder(self) -> str:
        """A folder as hospitals name them: what it says stands in no header in this form."""
        return f"{self.family}_{self.given}_{self.birth[:4]}-{self.birth[4:6]}-{self.birth[6:]}"

    def uid(self, kind: int, image: int) -> str:
        return f"{_UID_ROOT}.{kind}.{self.number}.{image}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every string that must not leave."""
        return (
            self.family, self.given, self.id, self.birth, self.study, self.accession, self.folder[-10:],
            "Grauburgunder", "Federweisser", "Ottokar", "Klinikum Sonnenthal", "Sonnenthal", "Rebensaft", "Spätlese",
            "MAMMO-STATION-9", "SN-88123-X", "Trockenbeere", "AETITLE77", "Gasse 13", "030-5558812", _UID_ROOT,
        )  # fmt: skip


def taint(path: pathlib.Path, patient: Patient, image: int = 0, keep: tuple[str, ...] = ()) -> None:
    """Fills every corner of a DICOM file with traces of its patient, but for the keywords in `keep`."""
    dataset = pydicom.dcmread(path)
    name = f"{patient.family}^{patient.given}"
    values: dict[str, object] = {
        "PatientName": name, "PatientID": patient.id, "PatientBirthDate": patient.birth, "OtherPatientIDs": patient.id,
        "PatientBirthName": name, "PatientMotherBirthName": name, "PatientAddress": "Gasse 13",
        "PatientTelephoneNumbers": "030-5558812", "PatientComments": f"{name} Rebensaft", "StudyDate": patient.study,
        "SeriesDate": patient.study, "AcquisitionDate": patient.study, "ContentDate": patient.study,
        "AcquisitionDateTime": f"{patient.study}101112", "InstanceCreationDate": patient.study,
        "AccessionNumber": patient.accession, "StudyID": patient.accession, "StudyDescription": "Trockenbeere",
        "SeriesDescription": name, "ProtocolName": "Trockenbeere", "ImageComments": f"{name} {patient.id}",
        "InstitutionName": "Klinikum Sonnenthal", "InstitutionAddress": "Gasse 13", "StationName": "MAMMO-STATION-9",
        "DeviceSerialNumber": "SN-88123-X", "ReferringPhysicianName": "Federweisser^Ottokar",
        "PerformingPhysicianName": "Federweisser^Ottokar", "OperatorsName": "Federweisser^Ottokar",
        "StudyInstanceUID": patient.uid(1, 0), "SeriesInstanceUID": patient.uid(2, image),
        "SOPInstanceUID": patient.uid(3, image), "FrameOfReferenceUID": patient.uid(4, image),
        "ImageType": ["DERIVED", "PRIMARY", patient.family.upper()], "DerivationDescription": name,
        "BurnedInAnnotation": "YES", "SpecificCharacterSet": "ISO_IR 192",
    }  # fmt: skip
    for keyword, value in values.items():
        if keyword not in keep:
            setattr(dataset, keyword, value)
    request = Dataset()
    request.RequestedProcedureID = patient.accession
    request.RequestingPhysician = "Federweisser^Ottokar"
    dataset.RequestAttributesSequence = [request]
    block = dataset.private_block(0x0099, "Grauburgunder", create=True)
    block.add_new(1, "LO", f"{name} Spätlese")
    block.add_new(2, "UN", f"{patient.id} {patient.birth}".encode())
    dataset.DataSetTrailingPadding = f"{name} {patient.id}".encode().ljust(64)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.SourceApplicationEntityTitle = "AETITLE77"
    dataset.preamble = f"{name} {patient.id}".encode().ljust(128, b"\0")
    dataset.save_as(path, enforce_file_format=True)


def write_tainted_png(path: pathlib.Path, pixels: np.ndarray, patient: Patient) -> pathlib.Path:
    """Writes a PNG with traces of its patient in tEXt, zTXt and iTXt chunks."""
    text = PngInfo()
    text.add_text("Author", f"{patient.family} {patient.id}")
    text.add_text("Comment", f"{patient.given} {patient.birth} Rebensaft", zip=True)
    text.add_itxt("Description", f"Spätlese {patient.accession}", zip=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, pnginfo=text)
    return path


def write_hospital(root: pathlib.Path, size: tuple[int, int] = (24, 20)) -> tuple[Patient, ...]:
    """Writes a `folder` data set of four patients with two DICOMs each and one with a PNG named in cases.csv.

    Folders and files are named by patient, dates and accession numbers.
    """
    patients = tuple(Patient(number) for number in range(5))
    for patient in patients[:4]:
        for image in range(2):
            seed = 2 * patient.number + image
            path = root / patient.folder / f"{patient.accession}_{patient.study}_{patient.uid(3, image)}.dcm"
            write_dicom(path, fake_pixels(seed, *size), ImageLaterality="LR"[image], ViewPosition="CC",
                        PixelSpacing=[0.07, 0.07])  # fmt: skip
            taint(path, patient, image)
            write_tainted_png(path.with_suffix(".png"), fake_mask(seed, *size), patient)
            write_tainted_png(path.with_name(f"{path.stem}_ignore.png"), np.zeros(size, np.uint8), patient)
    last = patients[4]
    path = root / last.folder / f"{last.accession}.png"
    write_tainted_png(path, fake_pixels(8, *size, bits=16), last)
    write_tainted_png(path.with_name(f"{path.stem}_mask.png"), fake_mask(8, *size), last)
    (root / "cases.csv").write_text(f"file,patient,laterality,view\n{last.folder}/{path.name},{last.id},L,CC\n")
    return patients
