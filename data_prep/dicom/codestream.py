"""What an encoded image says of itself before anything is decoded: JPEG, JPEG-LS, JPEG 2000 and HTJ2K streams.

A decoder takes memory by the size in the stream's own header, whatever Rows and Columns say.
"""

import dataclasses

from data_prep.errors import InputError

__all__ = ["StreamHeader", "read_jpeg2000_header", "read_jpeg_header"]

# ITU-T T.81 table B.1 and T.87 C.1.1.
_SOI, _SOS = 0xD8, 0xDA
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC} | {0xF7})

_END = b"\xff\xd9"  # EOI of JPEG and JPEG-LS, EOC of JPEG 2000
_SIZ = b"\xff\x4f\xff\x51"  # SOC and SIZ, ITU-T T.800 A.4.1 and A.5.1


@dataclasses.dataclass(frozen=True)
class StreamHeader:
    """Size and depth of an encoded image.

    Attributes:
        rows: Height in px.
        columns: Width in px.
        components: Channels.
        precision: Bits of a sample.
    """

    rows: int
    columns: int
    components: int
    precision: int


def read_jpeg_header(stream: bytes) -> StreamHeader:
    """Reads the frame header of a JPEG (ITU-T T.81 B.2.2) or JPEG-LS (T.87 C.2.2) stream.

    Raises:
        InputError: No such stream, none or several frame headers before the first scan, or no end.
    """
    _require_end(stream)
    if stream[:2] != bytes([0xFF, _SOI]):
        raise InputError("a JPEG stream must begin with FFD8; its start is damaged")
    position, found = 2, None
    while True:
        while stream[position : position + 2] == b"\xff\xff":  # fill bytes
            position += 1
        marker, length = stream[position : position + 2], int.from_bytes(stream[position + 2 : position + 4], "big")
        if len(marker) < 2 or marker[0] != 0xFF or length < 2:
            raise InputError("the segments of a JPEG stream must follow each other; its header is damaged")
        segment = stream[position + 4 : position + 2 + length]
        if marker[1] in _FRAMES:
            if found is not None or len(segment) < 6:
                raise InputError("a JPEG stream has one frame header; its header is damaged")
            found = StreamHeader(
                rows=int.from_bytes(segment[1:3], "big"),
                columns=int.from_bytes(segment[3:5], "big"),
                components=segment[5],
                precision=segment[0],
            )
        if marker[1] == _SOS:
            if found is None:
                raise InputError("a JPEG stream has one frame header; found none")
            return found
        position += 2 + length


def read_jpeg2000_header(stream: bytes) -> StreamHeader:
    """Reads the SIZ segment of a JPEG 2000 or HTJ2K stream (ITU-T T.800 A.5.1); a JP2 wrapper before it is skipped.

    Raises:
        InputError: No such stream, an image that does not begin at the origin, or no end.
    """
    _require_end(stream)
    start = stream.find(_SIZ, 0, 1024)
    siz = stream[start + 8 : start + 8 + 37]  # from Xsiz, behind SOC, SIZ, Lsiz and Rsiz
    if start < 0 or len(siz) < 37:
        raise InputError("a JPEG 2000 stream must begin with FF4F and FF51; its start is damaged")
    columns, rows, left, top = (int.from_bytes(siz[at : at + 4], "big") for at in (0, 4, 8, 12))
    if left or top or siz[35:37] != b"\x01\x01":
        raise InputError("a JPEG 2000 image must begin at the origin and be sampled fully")
    return StreamHeader(rows, columns, int.from_bytes(siz[32:34], "big"), (siz[34] & 0x7F) + 1)


def _require_end(stream: bytes) -> None:
    # Behind the end stands the padding to even length (PS3.5 A.4), of some writers more than one byte.
    if not stream[-16384:].rstrip(b"\0").endswith(_END):
        raise InputError("an encoded image must end with FFD9; it is truncated")
