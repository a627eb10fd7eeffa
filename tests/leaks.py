"""Searches files and texts for strings that must not be there, in every form in which programs write strings."""

import base64
import contextlib
import io
import json
import pathlib
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image

__all__ = ["find_leaks", "leaks_in"]

_PNG = b"\x89PNG\r\n\x1a\n"
_ZLIB = re.compile(rb"\x78[\x01\x5e\x9c\xda]")
_MOST_UNPACKED = 1 << 24


def find_leaks(folders: Iterable[pathlib.Path], secrets: Iterable[str]) -> list[str]:
    """Returns "file: secret" for each secret in the bytes or in the name of a file of the folders, at any depth."""
    found = []
    secrets = sorted(set(secrets))
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            place = path.relative_to(folder).as_posix()
            data = path.read_bytes() if path.is_file() else b""
            found += [f"{folder.name}/{place}: {secret}" for secret in leaks_in(place.encode() + b"\0" + data, secrets)]
    return found


def leaks_in(data: bytes, secrets: Iterable[str]) -> list[str]:
    """Returns the secrets that bytes hold: plain in any case, as UTF-16, hex or base64, also inside packed streams."""
    contents = [*_unfolded(data)]
    lowered = [content.lower() for content in contents]
    return [
        secret
        for secret in secrets
        if any(form in content for form in _lowered_forms(secret) for content in lowered)
        or any(form in content for form in _base64_forms(secret) for content in contents)
    ]


def _lowered_forms(secret: str) -> set[bytes]:
    """What the bytes hold once their ASCII letters are lowered."""
    forms = set()
    for text in (secret, secret.lower(), secret.upper()):
        for code in ("utf-8", "latin-1", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
            forms.add(text.encode(code, "replace").lower())
        # As JSON and Python write it, and as hex.
        forms |= {json.dumps(text)[1:-1].lower().encode(), text.encode("ascii", "backslashreplace").lower()}
        forms.add(text.encode().hex().encode())
    return forms


def _base64_forms(secret: str) -> set[bytes]:
    """What any base64 text holds that encodes a text with the secret in it, at each of three alignments."""
    forms = set()
    for text in (secret, secret.lower(), secret.upper()):
        for shift in range(3):
            encoded = base64.b64encode(b"\0" * shift + text.encode())
            # The first letters and the last also depend on what stands before and behind.
            inner = encoded[(0, 2, 3)[shift] : (len(text.encode()) + shift) // 3 * 4]
            if len(inner) >= 6:
                forms |= {inner, inner.translate(bytes.maketrans(b"+/", b"-_"))}
    return forms


def _unfolded(data: bytes, depth: int = 3) -> Iterator[bytes]:
    """Yields the data and, again and again, what is packed in it: PNG, zlib, gzip and zip."""
    yield data
    if depth == 0:
        return
    rest = data
    for start, end in _pngs(data):
        yield from _png_contents(data[start:end])
        rest = rest.replace(data[start:end], b"")
    for inner in [*_zlib_streams(rest), *_zip_members(data)]:
        yield from _unfolded(inner, depth - 1)


def _pngs(data: bytes) -> Iterator[tuple[int, int]]:
    """Yields where each whole PNG of the data begins and ends."""
    start = data.find(_PNG)
    while start >= 0:
        if (last := data.find(b"IEND", start)) >= 0:
            yield start, last + 8
        start = data.find(_PNG, start + 1)


def _png_contents(data: bytes) -> Iterator[bytes]:
    """Yields the texts of a PNG and its pixels, in both orders of bytes; colours are pictures that programs draw."""
    with contextlib.suppress(OSError, SyntaxError, ValueError), Image.open(io.BytesIO(data)) as image:
        image.load()
        yield "\0".join(f"{name}\0{text}" for name, text in image.info.items() if isinstance(text, str)).encode()
        if image.mode.startswith("I"):
            pixels = np.asarray(image).astype(np.uint16)
            yield pixels.byteswap().tobytes()
            yield pixels.tobytes()
        elif image.mode in ("L", "1"):
            yield np.asarray(image.convert("L")).tobytes()


def _zlib_streams(data: bytes) -> Iterator[bytes]:
    for match in _ZLIB.finditer(data):
        if len(unpacked := _unpacked(data[match.start() :], zlib.MAX_WBITS)) >= 4:
            yield unpacked
    start = data.find(b"\x1f\x8b\x08")
    while start >= 0:
        yield _unpacked(data[start:], 16 + zlib.MAX_WBITS)
        start = data.find(b"\x1f\x8b\x08", start + 1)


def _zip_members(data: bytes) -> Iterator[bytes]:
    if data[:4].startswith(b"PK\3\4") or zipfile.is_zipfile(io.BytesIO(data)):
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                for name in archive.namelist():
                    yield archive.read(name)
        except (zipfile.BadZipFile, OSError, ValueError):
            return


def _unpacked(packed: bytes, window: int) -> bytes:
    """Unpacks as far as it goes."""
    try:
        return zlib.decompressobj(window).decompress(packed, _MOST_UNPACKED)
    except zlib.error:
        return b""
