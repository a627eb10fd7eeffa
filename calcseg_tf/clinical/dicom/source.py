"""What the DICOM results take over from the mammogram's header: enough to be filed in its study, and no more."""

import contextlib
import dataclasses
import datetime
import pathlib
import re
import unicodedata

import pydicom
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage
from pydicom.valuerep import validate_value

from calcseg_tf.clinical.dicom.identifiers import derive_uid
from data_prep.dicom.access import header_text, parse_dicom, read_numbers, read_value
from data_prep.errors import InputError
from data_prep.mammogram import Laterality, Mammogram, View, is_dicom
from data_prep.quiet import quiet

__all__ = ["SourceImage", "read_source"]

# An archive files an object by these; without them it makes a second patient of the same study.
_KEYS = ("PatientID", "IssuerOfPatientID")

# Who the patient is and when she was examined: on request alone.
_IDENTITY = (
    "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID", "AccessionNumber",
    "ReferringPhysicianName", "StudyDescription",
)  # fmt: skip

# Type 2 of PS3.3 C.7.1.1 and C.7.2.1: present in every object, empty where they are unknown.
_TYPE_2 = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip

_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_IMAGE = (
    "SOPClassUID", "PatientOrientation", "LossyImageCompression", "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
)  # fmt: skip

_UID = re.compile(r"[012](\.(0|[1-9][0-9]*))+\Z")  # PS3.5 9.1; the first number is 0, 1 or 2 (ITU-T X.660)
_MOST_UID = 64
_METHODS = {"ISO_10918_1", "ISO_14495_1", "ISO_15444_1", "ISO_15444_15", "ISO_18181_1"}  # PS3.3 C.7.6.1.1.5.1
_DIRECTION = re.compile(r"[AFHLPR]{1,3}\Z")  # PS3.3 C.7.6.1.1.1


@dataclasses.dataclass(frozen=True, eq=False)
class SourceImage:
    """The mammogram that DICOM results refer to; always fit to be copied from.

    Attributes:
        dataset: Valid values of the patient, study, series and image, and nothing else of the header; text as UTF-8.
        sha256: Hex digest of the file.
        laterality: Which breast.
        view: Which projection.
        shows_patient: Whether name, dates and the like were asked for.
        notes: What of the header could not be taken over, each a line without patient data.
    """

    dataset: Dataset
    sha256: str
    laterality: Laterality
    view: View
    shows_patient: bool
    notes: tuple[str, ...]


def read_source(path: pathlib.Path, mammogram: Mammogram, show_patient: bool) -> SourceImage | None:
    """Reads what DICOM results need to be objects of the mammogram's own study (PS3.3 A.1.2).

    By default they carry the keys of the study alone: its UIDs and the Patient ID, without which no archive would file
    them beside the image. Name, birth date, sex, dates and numbers of the study are empty, as the standard allows for
    type 2. A value that breaks the rules of its attribute is left out, never mended: half an id is another patient's.
    A UID that is missing or no UID is derived from the file, so that the results are valid, if in a study of their own.

    Args:
        path: The file the mammogram was read from.
        mammogram: What was read.
        show_patient: Copies the identity of patient and study too.

    Returns:
        None for a file that is no DICOM: a PNG belongs to no study.

    Raises:
        InputError: The file can no longer be read.
    """
    try:
        if path.suffix.lower() == ".png" or not is_dicom(path):
            return None
        with path.open("rb") as file:
            header = parse_dicom(file, only=(*_UIDS, *_IMAGE, *_KEYS, *_IDENTITY))
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", path) from None
    except InputError as error:
        raise InputError(error.rule, path) from None
    dataset, notes = Dataset(), []
    for keyword in _TYPE_2:
        setattr(dataset, keyword, None)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for keyword in (*_KEYS, *(_IDENTITY if show_patient else ())):
        text = _text(header, keyword)
        if text and not (text := text if _is_valid(keyword, text) else ""):
            notes.append(f"{keyword} breaks the rules of its attribute: left out of the DICOM results")
        if text:
            setattr(dataset, keyword, text)
    for keyword in _UIDS:
        dataset[keyword] = _uid_element(header, keyword, mammogram.source_sha256, notes)
    dataset.SOPClassUID = _image_class(header, notes)
    dataset.Modality = "MG"
    dataset.Rows, dataset.Columns = mammogram.pixels.shape
    _copy_image(header, dataset, notes)
    return SourceImage(
        dataset, mammogram.source_sha256, mammogram.laterality, mammogram.view, show_patient, tuple(notes)
    )


def _text(header: Dataset, keyword: str) -> str:
    """Returns a single value as text; "" where there is none, several, or one that cannot be decoded."""
    with contextlib.suppress(InputError):
        if not isinstance(read_value(header, keyword), (list, pydicom.multival.MultiValue)):
            return header_text(header, keyword)
    return ""


def _is_valid(keyword: str, text: str) -> bool:
    """Tells whether a text keeps its value representation (PS3.5 6.2) and can be written in UTF-8."""
    # Controls, unpaired surrogates, and what a wrong character set left behind.
    if any(unicodedata.category(character)[0] == "C" or character in "\\\ufffd" for character in text):
        return False
    vr = dictionary_VR(keyword)
    if keyword == "PatientSex":
        return text in ("M", "F", "O")  # PS3.3 C.7.1.1
    if vr == "PN" and any(group.count("^") > 4 for group in text.split("=")):  # five components, PS3.5 6.2.1
        return False
    try:
        validate_value(vr, text, pydicom.config.RAISE)
        if vr == "DA":
            datetime.datetime.strptime(text, "%Y%m%d")
        if vr == "TM":
            datetime.datetime.strptime(text.split(".")[0].ljust(6, "0"), "%H%M%S")
    except ValueError:
        return False
    return True


def _uid_element(header: Dataset, keyword: str, sha256: str, notes: list[str]) -> pydicom.DataElement:
    uid = _text(header, keyword)
    if not uid and keyword == "SOPInstanceUID":
        with contextlib.suppress(Exception):  # the same UID in the file's preamble group (PS3.10 7.1)
            uid = str(header.file_meta.MediaStorageSOPInstanceUID)
    if not _UID.match(uid) or len(uid) > _MOST_UID:
        uid = derive_uid("source", keyword, sha256)
        notes.append(f"{keyword} is missing or no UID: the DICOM results have one derived from the file")
    return pydicom.DataElement(keyword, "UI", uid)


def _image_class(header: Dataset, notes: list[str]) -> str:
    """Returns the SOP class of the image; Secondary Capture for one that is private or no image's."""
    from highdicom._standard_utils import does_iod_have_pixel_data

    uid = _text(header, "SOPClassUID")
    with contextlib.suppress(KeyError), quiet("highdicom"):
        if does_iod_have_pixel_data(uid):
            return uid
    notes.append("SOPClassUID is none of an image: the DICOM results call it a Secondary Capture")
    return str(SecondaryCaptureImageStorage)


def _copy_image(header: Dataset, dataset: Dataset, notes: list[str]) -> None:
    """Copies what a result in the pixels of the image shares with it: its orientation, and that it was lossy."""
    with contextlib.suppress(InputError):
        directions = read_value(header, "PatientOrientation")
        if isinstance(directions, pydicom.multival.MultiValue) and len(directions) == 2:
            texts = [str(direction) for direction in directions]
            if all(_DIRECTION.match(text) for text in texts):
                dataset.PatientOrientation = texts
    if _text(header, "LossyImageCompression") != "01":
        return
    ratios, methods = _lossy_steps(header)
    # PS3.3 C.7.6.1.1.5: 01 needs both, a value for each step, and is meaningless without.
    if (
        ratios
        and len(ratios) == len(methods)
        and all(1.0 <= ratio < 1e6 for ratio in ratios)
        and set(methods) <= _METHODS
    ):
        dataset.LossyImageCompression = "01"
        dataset.LossyImageCompressionRatio = [f"{ratio:.6g}" for ratio in ratios]
        dataset.LossyImageCompressionMethod = methods
    else:
        notes.append("the image was compressed lossily, no one knows how: the DICOM results do not say so")


def _lossy_steps(header: Dataset) -> tuple[list[float], list[str]]:
    """Returns ratio and method of every step of lossy compression; nothing where they cannot be read."""
    with contextlib.suppress(InputError, TypeError):
        methods = read_value(header, "LossyImageCompressionMethod") or ()
        texts = [methods] if isinstance(methods, str) else [str(method) for method in methods]
        return list(read_numbers(header, "LossyImageCompressionRatio") or ()), texts
    return [], []
