"""Decodes the frames of a DICOM image, native or encoded, to stored values, and TIFF files.

Encoded frames and TIFF files are decoded in a process of their own, kept for the next one: the libraries are written in
C and C++ and end their process on some damaged streams (GDCM calls abort() about once in a thousand), take memory by
what the stream claims, loop, or write to the terminal. Such an end, a time-out or too much memory is then one file's
error.
"""

import atexit
import multiprocessing
import os
import pathlib
import subprocess
import sys
import threading
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from pydicom import uid
from pydicom._uid_dict import UID_dictionary
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels import get_decoder

from data_prep.dicom.access import header_text, one_line, read_integer
from data_prep.dicom.codestream import StreamHeader, read_jpeg2000_header, read_jpeg_header
from data_prep.errors import InputError
from data_prep.quiet import quiet

__all__ = ["decode_frame", "decode_tiff", "read_tiff_header", "transfer_syntax"]

# The decoding plugin of each encoding; BUILD_NOTES.md says how each bore damaged streams. pydicom's own decodes RLE,
# for pylibjpeg-rle panics on some. JPEG Extended of 12 bits has a plugin under the GPL alone; Pillow decodes 8 bits.
_PLUGINS = {
    uid.RLELossless: "pydicom",
    uid.JPEGBaseline8Bit: "pillow",
    uid.JPEGExtended12Bit: "pillow",
    uid.JPEGLossless: "gdcm",
    uid.JPEGLosslessSV1: "gdcm",
    uid.JPEGLSLossless: "gdcm",
    uid.JPEGLSNearLossless: "gdcm",
    uid.JPEG2000Lossless: "pylibjpeg",
    uid.JPEG2000: "pylibjpeg",
    uid.HTJ2KLossless: "pylibjpeg",
    uid.HTJ2KLosslessRPCL: "pylibjpeg",
    uid.HTJ2K: "pylibjpeg",
}
_NATIVE = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
)

_JPEG = (
    uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit,
    uid.JPEGLossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEGLSNearLossless,
)

# Of one frame. Decoders take at most 12 bytes a pixel beside the libraries, and 0.2 s a megapixel.
_SECONDS, _SECONDS_PER_PIXEL = 30.0, 2e-6
_BYTES, _BYTES_PER_PIXEL = 2 << 30, 32

# Memory goes back to the system at once: the process waits beside the one that needs it next, and glibc would keep it.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": str(1 << 20)}

# An encoding never makes an image much larger: RLE by 1 in 128, JPEG Lossless of noise by a fifth.
_MAX_GROWTH = 2
_HEADER_BYTES = 1 << 16


def transfer_syntax(dataset: Dataset) -> uid.UID:
    """Returns the Transfer Syntax UID (0002,0010).

    Raises:
        InputError: It is absent, or none of those that can be decoded.
    """
    syntax = dataset.file_meta.get("TransferSyntaxUID") if hasattr(dataset, "file_meta") else None
    if syntax not in (*_NATIVE, *_PLUGINS):
        known = str(syntax) in UID_dictionary  # another is not told: it may be anything
        found = "none" if syntax is None else uid.UID(str(syntax)).name if known else "another"
        raise InputError(f"TransferSyntaxUID (0002,0010) must be one of a still image (PS3.5 10); found {found}")
    return uid.UID(syntax)


def decode_frame(dataset: Dataset, index: int = 0) -> np.ndarray:
    """Decodes one frame of a single-channel image.

    Args:
        dataset: The image; `Rows` times `Columns` is known to be within bounds.
        index: Which frame, from 0.

    Returns:
        [rows, columns] of stored values in the type of BitsAllocated and PixelRepresentation. Of native and RLE images
        the bits above BitsStored are cleared, or filled with the sign (PS3.5 8.1.1; old files keep overlays there).

    Raises:
        InputError: Pixels are missing, damaged, of another size than the header says, or of an unknown encoding.
    """
    if "PixelData" not in dataset:
        raise InputError("an image needs PixelData (7FE0,0010); found none")
    syntax = transfer_syntax(dataset)
    try:
        if syntax in _NATIVE:
            with quiet("pydicom"):
                array, _ = get_decoder(syntax).as_array(dataset, index=index, raw=True)
        else:
            array = _decode_encoded(dataset, syntax, index)
    except MemoryError:
        raise  # of this process: the file may be good
    except Exception as error:
        found = error.rule if isinstance(error, InputError) else one_line(error)
        raise InputError(f"PixelData (7FE0,0010) cannot be decoded ({found})") from None
    rows, columns = read_integer(dataset, "Rows"), read_integer(dataset, "Columns")
    if array.shape != (rows, columns):
        raise InputError(f"PixelData (7FE0,0010) must be {rows} x {columns}; found {list(array.shape)}")
    return array


def read_tiff_header(path: pathlib.Path) -> tuple[tuple[int, int], bool, str]:
    """Reads (height, width), whether there are more pages, and Pillow's mode of a TIFF file, within bounds.

    A header of two megabytes can ask for any amount of memory too.

    Raises:
        InputError: The file is damaged.
    """
    height, width, more, *mode = _decoder.decode("tiff header", (str(path.absolute()),), 0).tolist()
    return (height, width), bool(more), "".join(map(chr, mode))


def decode_tiff(path: pathlib.Path, size: tuple[int, int]) -> np.ndarray:
    """Decodes the first page of a TIFF file whose header says one channel of (height, width), within bounds.

    Returns:
        bool [height, width], True where a value is not 0.

    Raises:
        InputError: The file is damaged.
    """
    return _decoder.decode("tiff", (str(path.absolute()),), size[0] * size[1])


def _decode_encoded(dataset: Dataset, syntax: uid.UID, index: int) -> np.ndarray:
    with quiet("pydicom"):
        frames = read_integer(dataset, "NumberOfFrames", 1)
        frame = get_frame(dataset.PixelData, index, number_of_frames=frames)
    options: dict[str, Any] = {
        "rows": read_integer(dataset, "Rows"),
        "columns": read_integer(dataset, "Columns"),
        "bits_allocated": read_integer(dataset, "BitsAllocated"),
        "bits_stored": read_integer(dataset, "BitsStored"),
        "pixel_representation": read_integer(dataset, "PixelRepresentation", 0),
        "photometric_interpretation": header_text(dataset, "PhotometricInterpretation"),
        "number_of_frames": 1,
        "samples_per_pixel": 1,
    }
    pixels = options["rows"] * options["columns"]
    if len(frame) > _MAX_GROWTH * pixels * options["bits_allocated"] // 8 + _HEADER_BYTES:
        raise InputError("an encoded image is at most twice as long as its pixels; found more")
    if syntax != uid.RLELossless:
        header = read_jpeg_header(frame) if syntax in _JPEG else read_jpeg2000_header(frame)
        _check_stream(header, options, syntax)
        if not options["pixel_representation"]:
            # A value above BitsStored is to be told, not wrapped around: a lossy image may overshoot its white.
            options["correct_unused_bits"] = False
    return _decoder.decode("frame", (str(syntax), _PLUGINS[syntax], frame, options), pixels)


def _check_stream(header: StreamHeader, options: Mapping[str, Any], syntax: uid.UID) -> None:
    size = options["rows"], options["columns"]
    if (header.rows, header.columns) != size:
        raise InputError(
            f"the encoded image must be {size[0]} x {size[1]} as Rows and Columns say; "
            f"found {header.rows} x {header.columns}"
        )
    if header.components != 1:
        raise InputError(f"the encoded image must have one channel; found {header.components}")
    if not 2 <= header.precision <= options["bits_allocated"]:
        raise InputError(
            f"the encoded image must have at most BitsAllocated = {options['bits_allocated']} bits; "
            f"found {header.precision}"
        )
    if syntax == uid.JPEGExtended12Bit and header.precision != 8:
        raise InputError(
            f"JPEG Extended (1.2.840.10008.1.2.4.51) can be decoded with 8 bits alone; found {header.precision}: "
            "convert the file to a lossless transfer syntax first"
        )


class _DecodingProcess:
    """The process behind this module: started at the first image that it decodes, and anew after each that ended it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner = 0  # of the process that started it: a fork must not share the connection
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def decode(self, task: str, arguments: tuple[Any, ...], pixels: int) -> np.ndarray:
        """Does a task of `decoding_process` within limits of time and memory, which follow from the size of the image.

        An image on which the process ends is tried once more with a new one: the first may have ended before, for want
        of memory on the machine for instance.
        """
        seconds, memory = _SECONDS + _SECONDS_PER_PIXEL * pixels, _BYTES + _BYTES_PER_PIXEL * pixels
        with self._lock:
            for _ in range(2):
                connection = self._connected()
                try:
                    connection.send((task, arguments, memory))
                    if not connection.poll(seconds):
                        raise InputError(f"the decoder found no end within {seconds:.0f} s")
                    answer = connection.recv()
                    break
                except (EOFError, OSError):
                    self.close()
                except BaseException:
                    self.close()  # what it may still send answers no later request
                    raise
            else:
                raise InputError("the decoder ended on it, twice")
        if isinstance(answer, str):
            raise InputError(answer)
        return np.asarray(answer)

    def close(self) -> None:
        """Ends the process, if there is one."""
        process, connection, owner = self._process, self._connection, self._owner
        self._process = self._connection = None
        if connection is not None:
            connection.close()
        if process is not None and owner == os.getpid():
            process.kill()
            process.wait()

    def _connected(self) -> Connection:
        if self._connection is None or self._owner != os.getpid():
            self.close()
            ours, theirs = multiprocessing.Pipe()
            root = str(pathlib.Path(__file__).parents[2])
            path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "data_prep.dicom.decoding_process", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env={**os.environ, **_ENVIRONMENT, "PYTHONPATH": path},
                )
            self._connection, self._owner = ours, os.getpid()
        return self._connection


_decoder = _DecodingProcess()
atexit.register(_decoder.close)
