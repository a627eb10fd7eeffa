"""A tree as INbreast release 1.0 is distributed: property lists of OsiriX, two tables, patients in the files' names."""

import dataclasses
import pathlib
import plistlib
from collections.abc import Iterable, Sequence

import numpy as np
import xlwt

from tests.fakes.dicom import write_dicom

__all__ = ["FakeImage", "plist_bytes", "roi", "write_inbreast", "write_spreadsheet", "write_table"]

HEIGHT, WIDTH = 24, 20
SPREADSHEET_HEADER = (
    "Patient ID", "Patient age", "Laterality", "View", "Acquisition date", "File Name", "ACR", "Bi-Rads", "Mass ",
    "Micros", "Distortion", "Asymmetry", "Lesion Annotation Status",
)  # fmt: skip
HEADER = "Patient ID;Patient age;Laterality;View;Acquisition date;File Name;ACR;Bi-Rads"


@dataclasses.dataclass(frozen=True)
class FakeImage:
    """One mammogram of the release; `rois` None is a normal image without annotation."""

    id: str
    patient: str
    laterality: str = "L"
    view: str = "ML"
    rois: tuple[dict, ...] | None = None
    bi_rads: str = "1"

    @property
    def file(self) -> str:
        return f"AllDICOMs/{self.id}_{self.patient}_MG_{self.laterality}_{self.view}_ANON.dcm"

    @property
    def pixels(self) -> np.ndarray:
        """14-bit stored values, uint16 [24, 20]."""
        return np.random.default_rng(int(self.id)).integers(0, 1 << 14, (HEIGHT, WIDTH), dtype=np.uint16)


def roi(name: str, *points: tuple[float, float], **changes: object) -> dict:
    """A ROI as OsiriX exports it, from (x, y) points; `changes` replace entries, None removes one."""
    entries: dict[str, object] = {
        "Area": 0.0123,
        "Center": "(0.000000, 0.000000, 0.000000)",
        "Dev": 12.5,
        "IndexInImage": 0,
        "Max": 900.0,
        "Mean": 850.25,
        "Min": 700.0,
        "Name": name,
        "NumberOfPoints": len(points),
        "Point_mm": [f"({x * 0.07:f}, {y * 0.07:f}, 0.000000)" for x, y in points],
        "Point_px": [f"({x:f}, {y:f})" for x, y in points],
        "Total": 1700.5,
        "Type": 15 if len(points) > 2 else 19,
        **changes,
    }
    return {key: value for key, value in entries.items() if value is not None}


def plist_bytes(rois: Iterable[dict], **changes: object) -> bytes:
    """The property list of one image, with its DOCTYPE; `changes` replace entries of `Images[0]`, None removes one."""
    rois = [{**entries, "IndexInImage": index} for index, entries in enumerate(rois)]
    image = {"ImageIndex": 0, "NumberOfROIs": len(rois), "ROIs": rois, **changes}
    return plistlib.dumps({"Images": [{key: value for key, value in image.items() if value is not None}]})


def write_inbreast(root: pathlib.Path, images: Sequence[FakeImage]) -> pathlib.Path:
    """Writes AllDICOMs, AllXML, PectoralMuscle and INbreast.csv; stored values have 14 bits and 0.07 mm."""
    for name in ("AllDICOMs", "AllXML", "PectoralMuscle/Pectoral Muscle XML"):
        (root / name).mkdir(parents=True)
    for image in images:
        write_dicom(
            root / image.file,
            image.pixels,
            bits_stored=14,
            patient_id="removed",
            study_uid="1.2.3",  # the same for all: only the file's name tells patients apart
            ImagerPixelSpacing=[0.07, 0.07],
        )
        if image.rois is not None:
            (root / "AllXML" / f"{image.id}.xml").write_bytes(plist_bytes(image.rois))
        muscle = plist_bytes([roi("Pectoral Muscle", (0, 0), (9, 0), (0, 9))])
        (root / "PectoralMuscle/Pectoral Muscle XML" / f"{image.id}_muscle.xml").write_bytes(muscle)
    write_table(root, images)
    return root


def write_table(root: pathlib.Path, images: Sequence[FakeImage]) -> None:
    """Writes INbreast.csv with one ACR of 190 blanks, and a foot as the spreadsheet has."""
    rows = [
        f"removed;removed;{image.laterality};{image.view.replace('ML', 'MLO')};201001;{image.id};"
        f"{' ' * 190 if index == 0 else '2'};{image.bi_rads}"
        for index, image in enumerate(images)
    ]
    (root / "INbreast.csv").write_text("\r\n".join([HEADER, *rows, ";;;;;;;", f";;;;;Total {len(rows)};;", ""]))


def write_spreadsheet(root: pathlib.Path, images: Sequence[FakeImage], marked: Sequence[str] = ()) -> None:
    """Writes INbreast.xls: numbers as numbers, an X where microcalcifications are marked, two rows at its foot."""
    book = xlwt.Workbook()
    sheet = book.add_sheet("INbreast")
    rows = [
        (
            "removed", "removed", image.laterality, image.view.replace("ML", "MLO"), 201001, int(image.id), 2,
            int(image.bi_rads) if image.bi_rads.isdigit() else image.bi_rads, "", "X" if image.id in marked else "",
        )
        for image in images
    ]  # fmt: skip
    for number, row in enumerate([SPREADSHEET_HEADER, *rows, ("Total", "", "", "", "", len(rows)), ("", "X: present")]):
        for column, value in enumerate(row):
            sheet.write(number, column, value)
    book.save(str(root / "INbreast.xls"))
