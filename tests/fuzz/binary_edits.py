"""Damage to PNG, TIFF, NPY and TFRecord files that leaves their framing and checksums in order."""

import random
import struct
import zlib
from typing import Any

import google_crc32c

from data_prep.tfrecord import Example
from tests.fuzz.mutations import EXTREMES, damage

__all__ = ["chunk", "edit_npy", "edit_png", "edit_shard", "edit_tiff", "frame", "shard_records"]

_PNG = b"\x89PNG\r\n\x1a\n"
_CHUNKS = (
    (b"tRNS", b"\0\1"), (b"PLTE", bytes(6)), (b"zTXt", b"a\0\0" + zlib.compress(b"x" * 100_000)),
    (b"iCCP", b"a\0\0zz"), (b"iTXt", b"Canaryname\0\1\0\0\0" + zlib.compress(b"y")),
    (b"tEXt", b"Canaryname\0CANARY-77413993"), (b"eXIf", b"II*\0\xff\xff\xff\xff"),
    (b"acTL", struct.pack(">II", 2, 0)), (b"acTL", struct.pack(">II", 0xFFFFFFFF, 0)),
    (b"fcTL", struct.pack(">IIIIIHHBB", 0, 20, 24, 0, 0, 1, 1, 0, 0)), (b"fdAT", bytes(8)), (b"gAMA", b"\0"),
    (b"pHYs", b""), (b"cHRM", bytes(3)), (b"sRGB", b""), (b"sBIT", b"\x20"), (b"IEND", b""), (b"IDAT", b""),
    (b"bKGD", b""), (b"hIST", b"\0"), (b"tIME", b"\0"), (b"ABCD", b"x"), (b"\xff\xff\xff\xff", b""),
)  # fmt: skip


def chunk(kind: bytes, payload: bytes) -> bytes:
    """Returns a chunk of a PNG with its checksum."""
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def edit_png(rng: random.Random, data: bytes) -> bytes:
    """Changes header, chunks or packed pixels of a PNG; every checksum fits."""
    chunks = _png_chunks(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        if not chunks:
            return data
        index = rng.randrange(len(chunks))
        kind, payload = chunks[index]
        act = rng.randrange(9)
        if act <= 2 and chunks[0][0] == b"IHDR" and len(chunks[0][1]) == 13:
            chunks[0] = b"IHDR", _edit_ihdr(rng, chunks[0][1])
        elif act == 3:
            del chunks[index]
        elif act == 4:
            chunks.insert(rng.randrange(len(chunks) + 1), rng.choice((*_CHUNKS, chunks[index])))
        elif act == 5:
            chunks[index] = kind, damage(rng, payload, [payload], [])
        elif act == 6:
            half = rng.randrange(len(payload) + 1)
            chunks[index : index + 1] = [(kind, payload[:half]), (kind, payload[half:])]
        else:
            chunks = [(kind, _repacked(rng, payload) if kind == b"IDAT" else payload) for kind, payload in chunks]
    return _PNG + b"".join(chunk(kind, payload) for kind, payload in chunks)


def _edit_ihdr(rng: random.Random, payload: bytes) -> bytes:
    fields = list(struct.unpack(">IIBBBBB", payload))
    field = rng.randrange(7)
    if field < 2:
        fields[field] = rng.choice((fields[field] + 1, fields[field] - 1, fields[1 - field], *EXTREMES)) % (1 << 32)
    else:
        fields[field] = rng.choice((0, 1, 2, 3, 4, 6, 8, 16, 32, 255))
    return struct.pack(">IIBBBBB", *fields)


def _repacked(rng: random.Random, payload: bytes) -> bytes:
    try:
        pixels = zlib.decompress(payload)
    except zlib.error:
        return payload
    return zlib.compress(damage(rng, pixels, [pixels], []), rng.choice((0, 6, 9)))


def _png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    chunks, position = [], len(_PNG)
    while position + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        chunks.append((data[position + 4 : position + 8], data[position + 8 : position + 8 + length]))
        position += 12 + length
    return chunks


def edit_tiff(rng: random.Random, data: bytes) -> bytes:
    """Changes tag, type, count or value of entries of a TIFF's first directory, or where it is."""
    order = "<" if data[:2] == b"II" else ">"
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        (start,) = struct.unpack_from(order + "I", changed.ljust(8, b"\0"), 4)
        if rng.random() < 0.1 or start + 2 > len(changed):
            struct.pack_into(order + "I", changed, 4, rng.choice((0, 4, start, len(changed), 0xFFFFFFFF)))
            break
        (count,) = struct.unpack_from(order + "H", changed, start)
        entry = start + 2 + 12 * rng.randrange(max(count, 1))
        if entry + 12 > len(changed):
            continue
        field, size = rng.choice(((0, "H"), (2, "H"), (4, "I"), (8, "I"), (8, "H")))
        common = rng.choice((254, 256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 317, 320, 322, 338, 339))
        value = common if field == 0 else rng.choice((*EXTREMES, 3, 4, 5, 6, 32773, 32946, 34925, 34712, 50000))
        struct.pack_into(order + size, changed, entry + field, value % (1 << 8 * struct.calcsize(size)))
    return bytes(changed)


def edit_npy(rng: random.Random, data: bytes) -> bytes:
    """Changes version, description or length of an NPY file; the length of the description fits most often."""
    (length,) = struct.unpack_from("<H", data.ljust(10, b"\0"), 8)
    header, pixels = data[10 : 10 + length].decode("latin-1"), data[10 + length :]
    odd = (
        "'|O'", "'<f8'", "'<i8'", "'|b1'", "'<M8[s]'", "'|V8'", "'|S9'", "'<U4'", "'>u2'", "[('Canaryname', '<u1')]",
        "(24,)", "(24, 20, 1)", "(0, 20)", "(-1, 20)", "(60000, 60000)", "(24, 2000000000000)", "(2**62, 4)",
        "('a', 1)", "True", "{}", "(" * 500, "[" * 3000, "1+1", "__import__('os')", "None", "9" * 5000,
    )  # fmt: skip
    for _ in range(rng.choice((1, 1, 2))):
        words = ("'|u1'", "(24, 20)", "False", "'descr'", "'shape'", "'fortran_order'")
        header = header.replace(rng.choice(words), rng.choice(odd))
    if rng.random() < 0.3:
        pixels = rng.choice((b"", pixels[:-1], pixels + b"\0", pixels * 3))
    version = rng.choice((b"\1\0",) * 6 + (b"\2\0", b"\3\0", b"\0\0", b"\xff\xff"))
    stated = rng.choice((len(header),) * 8 + (0, 1, 65535))
    size = struct.pack("<H" if version == b"\1\0" else "<I", stated % (1 << 16))
    return data[:6] + version + size + header.encode("latin-1") + pixels


def frame(payload: bytes, length: int | None = None) -> bytes:
    """Returns a record of a TFRecord file with its checksums; it may claim another length."""
    size = struct.pack("<Q", len(payload) if length is None else length)
    return size + _masked_crc32c(size) + payload + _masked_crc32c(payload)


def shard_records(data: bytes) -> list[bytes]:
    """Returns the payloads of a TFRecord file."""
    records, position = [], 0
    while position + 12 <= len(data):
        (length,) = struct.unpack_from("<Q", data, position)
        records.append(data[position + 12 : position + 12 + length])
        position += 16 + length
    return records


def edit_shard(rng: random.Random, data: bytes) -> bytes:
    """Changes records of a TFRecord file: keys, kinds, numbers, images; every checksum fits."""
    records = shard_records(data)
    if not records:
        return data
    index = rng.randrange(len(records))
    act = rng.randrange(12)
    if act == 0:
        records[index] = damage(rng, records[index], records, [])
    elif act == 1:
        records.insert(index, rng.choice((records[index], b"", b"\0", rng.randbytes(40))))
    elif act == 2:
        framed = [frame(record) for record in records]
        framed[index] = frame(records[index], rng.choice(EXTREMES) % (1 << 64))
        return b"".join(framed)
    else:
        example = Example()
        example.ParseFromString(records[index])
        for _ in range(rng.choice((1, 1, 2))):
            _edit_example(rng, example.features.feature)
        records[index] = example.SerializeToString(deterministic=True)
    return b"".join(map(frame, records))


def _edit_example(rng: random.Random, features: Any) -> None:
    keys = sorted(features)
    if not keys:
        return
    key, other = rng.choice(keys), rng.choice(keys)
    act = rng.randrange(7)
    if act == 0:
        del features[key]
    elif act == 1:
        features[rng.choice(("image/encoded2", "", "Canaryname", "x" * 3000, "a\nb"))].CopyFrom(features[key])
    elif act == 2:
        features[key].CopyFrom(features[other])
    elif act == 3:
        features[key].int64_list.value[:] = rng.choices(
            (-1, 0, 1, 8, 12, 16, 17, 60_000, 1 << 62, -(1 << 63)), k=rng.randint(0, 3)
        )
    elif act == 4:
        numbers = (-1.0, 0.0, 1e-45, 0.07, 1e38, float("inf"), float("nan"))
        features[key].float_list.value[:] = rng.choices(numbers, k=rng.randint(0, 3))
    elif act == 5 and features[key].bytes_list.value:
        features[key].bytes_list.value[0] = rng.choice(
            (b"", b"\xff\xfe", b"a\nb", b"x" * 3000, b"\x1b[31m", b"CC", b"R")
        )
    else:
        key = rng.choice(("image/encoded", "mask/encoded"))
        if features[key].bytes_list.value:
            features[key].bytes_list.value[0] = edit_png(rng, features[key].bytes_list.value[0])


def _masked_crc32c(data: bytes) -> bytes:
    """Castagnoli's checksum, rotated and shifted as TFRecord files hold it."""
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
