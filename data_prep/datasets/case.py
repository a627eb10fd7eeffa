"""What every reader of a data set yields: images that have an annotation, and files that were left out."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import ClassVar, Protocol

from data_prep.annotation import Annotation
from data_prep.mammogram import Laterality, View
from data_prep.manifest import Rejection

__all__ = ["Case", "DataSet", "Listing", "Overrides"]


@dataclasses.dataclass(frozen=True)
class Overrides:
    """What the data set says about an image beside the file itself; None leaves what the DICOM header says.

    Attributes:
        patient: Name of the patient; where given, neither Patient ID nor Study Instance UID is looked at.
        laterality: Which breast.
        view: Which projection.
        pixel_spacing_mm: (row, column), both greater than 0.
        split: Side of the split that the image's patient is on, one of `schema.SPLITS`.
    """

    patient: str | None = None
    laterality: Laterality | None = None
    view: View | None = None
    pixel_spacing_mm: tuple[float, float] | None = None
    split: str | None = None


@dataclasses.dataclass(frozen=True)
class Case:
    """One image with its annotation, not yet opened.

    Attributes:
        key: Names the image within the data set: its path relative to the data directory without suffix, with "/".
        file: The path relative to the data directory with suffix, as told to the user.
        image: The DICOM or PNG file.
        annotation: The annotation of this image.
        overrides: What replaces the header.
    """

    key: str
    file: str
    image: pathlib.Path
    annotation: Annotation
    overrides: Overrides = dataclasses.field(default_factory=Overrides)


@dataclasses.dataclass(frozen=True)
class Listing:
    """A data set's files.

    Attributes:
        cases: In order of key; keys are unique.
        rejected: Files that are meant for the data set but cannot be used, in order of name.
    """

    cases: tuple[Case, ...]
    rejected: tuple[Rejection, ...]


class DataSet(Protocol):
    """A kind of data set with its options; a frozen dataclass."""

    name: ClassVar[str]  # as in --dataset and in the manifest

    def list_cases(self, data_dir: pathlib.Path) -> Listing:
        """Lists the images with their annotations, without opening an image.

        Raises:
            InputError: The folder or a table that every image needs is missing or breaks a rule.
        """

    def recorded(self) -> Mapping[str, object]:
        """Returns the options that decide the result, for the manifest: flag -> value."""
