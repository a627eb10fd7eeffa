"""The images of a run and the names of their results, which never collide."""

import collections
import dataclasses
import os
import pathlib
from collections.abc import Sequence

from calcseg_tf.bulk.index import INDEX_FILE
from calcseg_tf.clinical.results import PROBABILITY_FILE, STATISTICS_FILE
from calcseg_tf.prediction import ImageJob
from data_prep.datasets.files import kinds_of_files, reject_names, walk_files
from data_prep.errors import InputError
from data_prep.mammogram import is_dicom

__all__ = ["Inputs", "find_inputs", "result_names"]

_LIST_MARK = "@"
_DIRECTORY = "DICOMDIR"  # PS3.10 8.6: it lists the files of a medium and is no image

# Everything else that is neither DICOM nor PNG is told: it may be a mammogram in another format.
_CLEARLY_NO_IMAGE = {
    ".cfg", ".csv", ".doc", ".docx", ".htm", ".html", ".ini", ".json", ".log", ".md", ".md5", ".pdf", ".plist", ".py",
    ".rst", ".sha256", ".tsv", ".txt", ".xls", ".xlsx", ".xml", ".yaml", ".yml",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What there is to predict.

    Attributes:
        jobs: The images, in order of name.
        one: Whether a single file was asked for.
        passed_over: Suffix -> number of files that are neither DICOM nor PNG, but may be images.
        unnamed: Files and folders whose names are no text, with escapes: they get no result.
        unnamed_reason: Why.
    """

    jobs: tuple[ImageJob, ...]
    one: bool = False
    passed_over: tuple[tuple[str, int], ...] = ()
    unnamed: tuple[str, ...] = ()
    unnamed_reason: str = ""


def find_inputs(source: str, output_dir: pathlib.Path, recursive: bool = False) -> Inputs:
    """Finds the images that `--input` names and where their results go.

    Of a folder, files by DICOM or PNG suffix or DICOM's prefix; hidden files and folders of results are passed over.
    A result keeps its image's place below the folder; for a list, below the list's folder, or its whole path where
    the list names files elsewhere too.

    Args:
        source: A file, a folder, or "@" and a UTF-8 text file with one path a line, relative to that file's folder.
        output_dir: Receives the results.
        recursive: Whether folders in the folder are searched too.

    Raises:
        InputError: Nothing is there.
    """
    if source.startswith(_LIST_MARK) and not pathlib.Path(source).exists():
        return _listed(pathlib.Path(source.removeprefix(_LIST_MARK)), output_dir)
    path = pathlib.Path(source)
    if path.is_file():
        return Inputs(_jobs([path], [path.name], output_dir), one=True)
    if not path.is_dir():
        raise InputError("--input must be a DICOM file, a PNG file, a folder or a @list of them; found nothing", path)
    return _searched(path, output_dir, recursive)


def result_names(names: Sequence[str]) -> list[str]:
    """Names the results of images: without suffix, unless that is another's name or a folder of another's.

    Args:
        names: Places of the files below one folder, "/" between their parts, each once.

    Returns:
        As many names; none is equal to another or to the index, and none is a folder of another.
    """
    short = {name: _without_suffix(name) for name in names}
    while True:
        taken = collections.Counter([*short.values(), INDEX_FILE])
        for result in set(short.values()):
            taken.update({str(folder): 1 for folder in pathlib.PurePosixPath(result).parents})
        clashing = [name for name, result in short.items() if taken[result] > 1 and result != name]
        if not clashing:
            return list(short.values())
        short.update({name: name for name in clashing})  # a whole name is a file: no other file, no folder has it


def _without_suffix(name: str) -> str:
    path = pathlib.PurePosixPath(name)
    # DICOM files are often named by a UID alone, whose last number is no suffix.
    return str(path.with_suffix("")) if any(map(str.isalpha, path.suffix)) else name


def _jobs(paths: Sequence[pathlib.Path], names: Sequence[str], output_dir: pathlib.Path) -> tuple[ImageJob, ...]:
    results = result_names(names)
    jobs = [ImageJob(path, name, output_dir / result) for path, name, result in zip(paths, names, results, strict=True)]
    return tuple(sorted(jobs, key=lambda job: job.name))


def _searched(root: pathlib.Path, output_dir: pathlib.Path, recursive: bool) -> Inputs:
    files = [path for path in walk_files(root) if recursive or path.parent == root]
    contents = collections.defaultdict(set)
    for path in files:
        contents[path.parent].add(path.name)
    of_results = {folder for folder, held in contents.items() if {PROBABILITY_FILE, STATISTICS_FILE} <= held}
    files = [path for path in files if path.parent not in of_results]
    images = [path for path in files if _is_image(path)]
    others = collections.Counter(
        path.suffix.lower() for path in set(files) - set(images) if path.name.upper() != _DIRECTORY
    )
    told = tuple(sorted((suffix, count) for suffix, count in others.items() if suffix not in _CLEARLY_NO_IMAGE))
    bad = [name for name in reject_names(root) if recursive or "/" not in name.file]
    if not images and not bad:
        hint = "" if recursive else " (folders in it are searched with --recursive)"
        raise InputError(f"the folder must hold a DICOM or PNG file; found {kinds_of_files(files)}{hint}", root)
    names = [path.relative_to(root).as_posix() for path in images]
    reason = bad[0].reason if bad else ""
    return Inputs(
        _jobs(images, names, output_dir), passed_over=told, unnamed=tuple(each.file for each in bad),
        unnamed_reason=reason,
    )  # fmt: skip


def _is_image(path: pathlib.Path) -> bool:
    if path.suffix.lower() == ".png":
        return True
    if path.name.upper() == _DIRECTORY:
        return False
    try:
        return is_dicom(path)
    except OSError:  # it is named among those without a result
        return path.suffix.lower() not in _CLEARLY_NO_IMAGE


def _listed(file: pathlib.Path, output_dir: pathlib.Path) -> Inputs:
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(f"the list of images cannot be read ({error.strerror})", file) from None
    except UnicodeDecodeError:
        raise InputError("a list of images is UTF-8 text with one path a line; found other bytes", file) from None
    root = os.path.abspath(file.parent)
    places = list(dict.fromkeys(os.path.normpath(os.path.join(root, line)) for line in lines if line.strip()))
    if not places:
        raise InputError("a list of images has one path a line; found none", file)
    if folder := next(filter(os.path.isdir, places), None):
        raise InputError("a list of images names files; found a folder", folder)
    if os.path.commonpath([root, *places]) != root:
        root = "/"
    return Inputs(
        _jobs(list(map(pathlib.Path, places)), [os.path.relpath(place, root) for place in places], output_dir)
    )
