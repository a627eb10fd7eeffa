"""Damage to bytes, whatever they mean; the same random numbers always do the same damage."""

import random
from collections.abc import Callable, Sequence

__all__ = ["EXTREMES", "Edit", "damage", "place"]

# Damages one input; what it cannot make sense of it returns as it is.
Edit = Callable[[random.Random, bytes], bytes]

EXTREMES = (
    0, 1, 2, 7, 8, 16, 17, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 60_000, 0xFFFE, 0xFFFF, 0x10000, 0x7FFF_FFFF,
    0x8000_0000, 0xFFFF_FFFE, 0xFFFF_FFFF, 1 << 32, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1,
)  # fmt: skip

_MOST_BYTES = 1 << 18  # of what grows by repetition


def damage(rng: random.Random, data: bytes, others: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    """Damages one place of an input.

    Args:
        rng: Where the choices come from.
        data: The input.
        others: Valid inputs of the same kind, to splice with.
        tokens: What means something in this kind of input.
    """
    kind = rng.choice(_KINDS)
    if kind is _splice:
        return _splice(rng, data, rng.choice(others))
    if kind is _put_token:
        return _put_token(rng, data, rng.choice(tokens)) if tokens else _replace(rng, data)
    return kind(rng, data)


def place(rng: random.Random, data: bytes) -> int:
    """Draws a place in an input, the nearer the start the more often: there are the headers."""
    return int(len(data) * rng.random() ** rng.choice((1, 1, 2, 3)))


def _flip(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        if changed:
            changed[min(place(rng, data), len(data) - 1)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _replace(rng: random.Random, data: bytes) -> bytes:
    start, length = place(rng, data), rng.choice((1, 1, 2, 4, 16, 64))
    filling = rng.choice((rng.randbytes(length), b"\0" * length, b"\xff" * length))
    return data[:start] + filling + data[start + length :]


def _delete(rng: random.Random, data: bytes) -> bytes:
    start = place(rng, data)
    return data[:start] + data[start + rng.choice((1, 2, 4, 8, 32, 256)) :]


def _repeat(rng: random.Random, data: bytes) -> bytes:
    start, length = place(rng, data), rng.choice((1, 2, 8, 32, 256))
    part = data[start : start + length]
    times = min(rng.choice((1, 1, 2, 10, 1000, 10_000)), _MOST_BYTES // (len(part) or 1))
    return data[: start + length] + part * times + data[start + length :]


def _swap(rng: random.Random, data: bytes) -> bytes:
    """Exchanges two neighbouring stretches."""
    start, first, second = place(rng, data), rng.randint(1, 64), rng.randint(1, 64)
    middle, end = start + first, start + first + second
    return data[:start] + data[middle:end] + data[start:middle] + data[end:]


def _number(rng: random.Random, data: bytes) -> bytes:
    """Writes an extreme number where a length or a size may stand."""
    start, size = place(rng, data), rng.choice((1, 2, 2, 4, 4, 8))
    value = rng.choice(EXTREMES) % (1 << 8 * size)
    return data[:start] + value.to_bytes(size, rng.choice(("little", "big"))) + data[start + size :]


def _truncate(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.choice((rng.randrange(len(data) + 1), max(0, len(data) - rng.randint(1, 16))))]


def _append(rng: random.Random, data: bytes) -> bytes:
    return data + rng.choice((b"\0", b"\0" * 4096, rng.randbytes(16), data))


def _splice(rng: random.Random, data: bytes, other: bytes) -> bytes:
    start = place(rng, data)
    return data[:start] + other[rng.choice((start, place(rng, other))) :]


def _put_token(rng: random.Random, data: bytes, token: bytes) -> bytes:
    start = place(rng, data)
    return data[:start] + token + data[start + rng.choice((0, len(token))) :]


_KINDS = (_flip, _flip, _replace, _delete, _repeat, _swap, _number, _truncate, _append, _splice, _put_token)
