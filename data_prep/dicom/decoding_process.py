"""The process that decodes encoded images: python -m data_prep.dicom.decoding_process FD.

Receives (task, its arguments, memory limit in bytes) and answers with an array or with a line of text, until the other
end is closed. Tasks are "frame" (transfer syntax, plugin, encoded frame, options of pydicom's decoder) and "tiff"
(path).
"""

import os
import resource
import signal
import sys
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.uid import UID

from data_prep.dicom.access import one_line
from data_prep.png import MAX_PIXELS


def main() -> None:
    """Answers requests one after the other."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent closes its end
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    parent = Connection(int(sys.argv[1]))
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1), os.dup2(silence, 2)  # libraries in C write there
    while True:
        try:
            request = parent.recv()
        except EOFError:
            return
        parent.send(_answer(*request))


def _answer(task: str, arguments: tuple[Any, ...], memory: int) -> np.ndarray | str:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    unlimited = hard == resource.RLIM_INFINITY
    try:
        resource.setrlimit(resource.RLIMIT_AS, (memory if unlimited else min(memory, hard), hard))
        return _TASKS[task](*arguments)
    except MemoryError:
        return "it takes more memory than an image of its size may"
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _decode_frame(syntax: str, plugin: str, frame: bytes, options: dict[str, Any]) -> np.ndarray | str:
    try:
        decoder = get_decoder(UID(syntax))
        array, _ = decoder.as_array(encapsulate([frame]), decoding_plugin=plugin, raw=True, **options)
        return array
    except MemoryError:
        raise
    except Exception as error:
        text = one_line(error).removeprefix("Unable to decode as exceptions were raised by all available plugins: ")
        # GDCM gives no buffer and no reason, which pydicom does not expect.
        return "gdcm: the stream is damaged" if "'NoneType' object has no attribute 'encode'" in text else text


def _decode_tiff(path: str) -> np.ndarray | str:
    try:
        with Image.open(path, formats=["TIFF"]) as image:
            return np.asarray(image) != 0
    except MemoryError:
        raise
    except Exception as error:
        # Pillow and libtiff raise what a damaged file leads to, and say little.
        return f"not a readable TIFF: damaged or truncated ({type(error).__name__})"


def _read_tiff_header(path: str) -> np.ndarray | str:
    """Returns height, width, whether there are more pages, and Pillow's mode as its letters' numbers."""
    try:
        with Image.open(path, formats=["TIFF"]) as image:
            size, mode = image.size, image.mode
            try:
                image.seek(1)
                more = True
            except EOFError:
                more = False
        return np.array([size[1], size[0], more, *map(ord, mode)])
    except MemoryError:
        raise
    except Image.DecompressionBombError:
        return f"an image has at most {MAX_PIXELS} pixels; found far more"
    except Exception as error:
        return f"not a readable TIFF: damaged or truncated ({type(error).__name__})"


_TASKS: dict[str, Callable[..., np.ndarray | str]] = {
    "frame": _decode_frame,
    "tiff": _decode_tiff,
    "tiff header": _read_tiff_header,
}


if __name__ == "__main__":
    main()
