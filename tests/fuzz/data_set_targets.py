"""Targets that are a table or an annotation of a whole data set."""

import pathlib
import random
import tempfile
from collections.abc import Callable, Iterable, Sequence

from data_prep.conversion.pipeline import ConvertConfig, make_plan
from data_prep.datasets import CbisDdsm, DataSet, Folder, InBreast, Subset
from data_prep.split import SplitBy
from tests.fakes.cbis_ddsm import Abnormality, Image, Layout, region, write_cbis_ddsm
from tests.fakes.folder import fake_mask, fake_pixels, write_png
from tests.fakes.inbreast import FakeImage, plist_bytes, roi, write_inbreast, write_spreadsheet
from tests.fuzz.image_targets import read_case
from tests.fuzz.mutations import damage
from tests.fuzz.oracle import Ending, WrongEndingError, check_line
from tests.fuzz.target import Target
from tests.fuzz.text_edits import edit_table, edit_xml

__all__ = ["DATA_SET_TARGETS"]

_SQUARE = ((2, 1), (5, 1), (5, 4), (2, 4))
_INBREAST = (
    FakeImage("20586908", "6c613a14b80a8591", "R", "CC", (roi("Calcification", *_SQUARE), roi("Mass", *_SQUARE)), "4a"),
    FakeImage("20586934", "036aff49b8ac84f0", "L", "CC", (roi("Calcification", (3, 4)),), "2"),
    FakeImage("20586960", "fe7d005dcbbfb46d", "R", "ML", None, "1"),
)
_XML, _TABLE, _SPREADSHEET = "AllXML/20586908.xml", "INbreast.csv", "INbreast.xls"
_CBIS_TABLE = "calc_case_description_train_set.csv"


def _converted(
    data_sets: Sequence[DataSet], file: str, others: int
) -> Callable[[pathlib.Path, bytes, random.Random], Ending]:
    """Returns an attempt at one of the data sets in a folder, with an input as one of its files.

    At least `others` images, those that the file says nothing of, must come through.
    """

    def attempt(folder: pathlib.Path, data: bytes, rng: random.Random) -> Ending:
        (folder / "data" / file).write_bytes(data)
        config = ConvertConfig(
            data_set=rng.choice(data_sets),
            data_dir=folder / "data",
            output_dir=folder / "records",
            split_by=rng.choice(list(SplitBy)),
            train_fraction=0.5,
        )
        plan = make_plan(config)
        for bad in plan.rejected:
            check_line(bad.reason)
        cases = [case for side in plan.sides.values() for case in side]
        endings = [read_case(case) for case in cases]
        if endings.count(Ending.RECORD) < others:
            raise WrongEndingError(f"a bad file takes others along: {len(endings)} of at least {others} come through")
        return Ending.REJECTION if plan.rejected or Ending.REJECTION in endings else Ending.RECORD

    return attempt


def _write_folder(folder: pathlib.Path) -> None:
    for number, name in enumerate("abc"):
        write_png(folder / "data" / f"{name}.png", fake_pixels(number, bits=16))
        write_png(folder / "data" / f"{name}_mask.png", fake_mask(number))


def _write_inbreast(folder: pathlib.Path) -> None:
    write_inbreast(folder / "data", _INBREAST)
    write_spreadsheet(folder / "data", _INBREAST, marked=["20586908"])


def _write_cbis_ddsm(folder: pathlib.Path) -> None:
    images = [
        Image(
            fake_pixels(number, bits=16), [Abnormality(region(2, 3, 5, 7))], f"P_0000{number}", side, test=number == 3
        )
        for number, side in ((1, "LEFT"), (2, "RIGHT"), (3, "LEFT"))
    ]
    write_cbis_ddsm(folder / "data", images, Layout.RENAMED)


def _cases_csv_seeds() -> Iterable[bytes]:
    yield b"file,patient\na.png,CANARY-77413993\nb.png,canary2\nc.png,canary3\n"
    yield (
        b"\xef\xbb\xbffile,patient,laterality,view,pixel_spacing_mm\r\na.png,CANARY-77413993,L,CC,0.07\r\n"
        b'"b.png",canary2,right,mlo,0.07;0.08\r\nc.png,canary3,,,\r\n'
    )


def _xml_seeds() -> Iterable[bytes]:
    yield plist_bytes(_INBREAST[0].rois or ())
    yield plist_bytes(
        [roi("Calcification", *_SQUARE), roi("Cluster", (0, 0), (19, 0), (19, 23)), roi("Calcification", (1, 1))]
    )
    yield plist_bytes(
        [roi("", (1, 1)), roi("Point 1", (1, 1), (2, 2)), roi("Calcification", (-3, 900.5), (5, 5), (9, 1))]
    )


def _odd_xmls() -> Iterable[bytes]:
    head = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">'
    names = "abcdefghij"
    for name, previous in zip(names[1:], names, strict=False):
        head += f'<!ENTITY {name} "{f"&{previous};" * 10}">'.encode()
    yield head + b"]><plist><string>&j;</string></plist>"  # a billion letters
    yield b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><plist><dict><key>Images</key><string>&x;</string></dict></plist>'
    yield b"<plist>" + b"<array>" * 5_000
    yield b"<plist>" + b"<dict><key>Images</key>" * 5_000


def _heavy_xmls() -> Iterable[bytes]:
    yield b"<plist>" + b"<array>" * 200_000
    yield b"<plist>" + b"<dict><key>Images</key>" * 50_000
    yield b"[" * 8_100_000
    yield plist_bytes([roi("Calcification", *[(x % 19, x % 23) for x in range(20_000)])])
    yield plist_bytes([roi("Calcification", (-65_000, -65_000), (65_000, 65_000), (-65_000, 65_000))] * 900)


def _table_seeds(write: Callable[[pathlib.Path], None], file: str) -> Callable[[], Sequence[bytes]]:
    def make() -> Sequence[bytes]:
        with tempfile.TemporaryDirectory() as folder:
            write(pathlib.Path(folder))
            return [pathlib.Path(folder, "data", file).read_bytes()]

    return make


def _odd_tables() -> Sequence[bytes]:
    return [
        b"", b"\n" * 100_000, b"," * 100_000, b";" * 100_000, b'"' * 99_999, b"file\n" + b"a" * 200_000,
        b"\xff\xfef\0i\0l\0e\0", bytes(5000), b"file," + b"x" * 100_000 + b"\n",
        b"file,patient\n" + b"nobody.png,x\n" * 3, b"Patient ID;File Name\n", b"\xef\xbb\xbf",
    ]  # fmt: skip


_INBREASTS = (InBreast(), InBreast(subset=Subset.OUTLINED))

_CASES_TOKENS = (
    b"file", b"patient", b"laterality", b"view", b"pixel_spacing_mm", b",", b'"', b"\n", b";", b"\0", b"\xff", b"a.png",
    b"MLO",
)  # fmt: skip
_XML_TOKENS = (
    b"<dict>", b"</dict>", b"<array>", b"</array>", b"<string>", b"&lt;", b"&#0;", b"\0", b"\xff\xfe",
    b"<!ENTITY a 'b'>", b"nan", b"9" * 40,
)  # fmt: skip
_INBREAST_TOKENS = (b";", b'"', b"\n", b"\r", b"\0", b"\xff", b"20586908", b"removed", b"File Name", b"MLO")
_CBIS_TOKENS = (
    b",", b'"', b"\n", b"\r", b"\0", b"\xff", b"P_00001", b"LEFT", b"calcification", b"1.2.826.0.1", b"/000000.dcm",
)  # fmt: skip


def _edit_inbreast_table(rng: random.Random, data: bytes) -> bytes:
    return edit_table(rng, data, ";")


DATA_SET_TARGETS: Sequence[Target] = (
    Target(
        name="cases_csv",
        make_seeds=lambda: [*_cases_csv_seeds()],
        prepare=_write_folder,
        attempt=_converted([Folder()], "cases.csv", 0),
        edits=(edit_table,),
        tokens=_CASES_TOKENS,
        make_odd=_odd_tables,
    ),
    Target(
        name="inbreast_xml",
        make_seeds=lambda: [*_xml_seeds()],
        prepare=_write_inbreast,
        attempt=_converted([_INBREASTS[0]], _XML, 2),
        edits=(edit_xml,),
        tokens=_XML_TOKENS,
        make_odd=lambda: [*_odd_xmls()],
        make_heavy=lambda: [*_heavy_xmls()],
    ),
    Target(
        name="inbreast_csv",
        make_seeds=_table_seeds(_write_inbreast, _TABLE),
        prepare=_write_inbreast,
        attempt=_converted(_INBREASTS, _TABLE, 0),
        edits=(_edit_inbreast_table,),
        tokens=_INBREAST_TOKENS,
        make_odd=_odd_tables,
    ),
    Target(
        name="inbreast_xls",
        make_seeds=_table_seeds(_write_inbreast, _SPREADSHEET),
        prepare=_write_inbreast,
        attempt=_converted(_INBREASTS, _SPREADSHEET, 0),
        edits=(lambda rng, data: damage(rng, data, [data], _INBREAST_TOKENS),),
        tokens=_INBREAST_TOKENS,
        make_odd=_odd_tables,
    ),
    Target(
        name="cbis_csv",
        make_seeds=_table_seeds(_write_cbis_ddsm, _CBIS_TABLE),
        prepare=_write_cbis_ddsm,
        attempt=_converted([CbisDdsm()], _CBIS_TABLE, 0),
        edits=(edit_table,),
        tokens=_CBIS_TOKENS,
        make_odd=_odd_tables,
    ),
)
