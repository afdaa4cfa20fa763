"""Picture files that are broken, enormous, or something else: the same ones each time."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, features

KINDS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF")
_SIDE = (48, 36)


def mutated_files(count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Names of what was done, and files."""
    chance = random.Random(seed)
    sound = {kind: _sound(kind, seed) for kind in KINDS if _can_write(kind)}
    for number in range(count):
        kind = chance.choice(list(sound))
        what = chance.choice(_MUTATIONS)
        # Once in a while two things are wrong.
        data = what(sound[kind], chance)
        name = f"{number} {kind} {what.__name__.strip('_')}"
        if chance.random() < 0.15:
            second = chance.choice(_MUTATIONS)
            data, name = second(data, chance), f"{name} {second.__name__.strip('_')}"
        yield name, data


def _sound(kind: str, seed: int) -> bytes:
    random_ = np.random.default_rng(seed)
    pixels = random_.integers(0, 256, (_SIDE[1], _SIDE[0], 3), np.uint8)
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x010F] = "maker"
    options = {"exif": exif} if kind in ("JPEG", "PNG", "WEBP", "TIFF") else {}
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def _can_write(kind: str) -> bool:
    return kind not in ("WEBP", "AVIF") or bool(features.check(kind.lower()))


def _truncated(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _flipped(data: bytes, chance: random.Random) -> bytes:
    content = bytearray(data)
    for _ in range(chance.choice([1, 1, 4, 30])):
        if content:
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    return bytes(content)


def _head_rewritten(data: bytes, chance: random.Random) -> bytes:
    """Random bytes among the first, where sizes and offsets are."""
    content = bytearray(data)
    for _ in range(chance.randrange(1, 9)):
        place = chance.randrange(min(64, max(1, len(content))))
        if place < len(content):
            content[place] = chance.randrange(256)
    return bytes(content)


def _pieces_moved(data: bytes, chance: random.Random) -> bytes:
    """A piece left out, repeated, or put elsewhere."""
    if len(data) < 8:
        return data
    start, end = sorted(chance.sample(range(len(data)), 2))
    piece = data[start:end]
    place = chance.randrange(len(data))
    changed = {
        0: data[:start] + data[end:],
        1: data[:place] + piece + data[place:],
        2: data[:start] + piece * 3 + data[end:],
    }
    return changed[chance.randrange(3)]


def _padded(data: bytes, chance: random.Random) -> bytes:
    size = chance.choice([1, 1000, 200_000])
    return data + bytes(size) if chance.random() < 0.5 else bytes(size) + data


def _random_bytes(data: bytes, chance: random.Random) -> bytes:
    return chance.randbytes(chance.choice([0, 1, 2, 10, 1000, 50_000]))


def _another_type(data: bytes, chance: random.Random) -> bytes:
    """What is no picture, or one that no still photo is."""
    return chance.choice(
        [
            b"<svg xmlns='http://www.w3.org/2000/svg'><image href='http://127.0.0.1/'/></svg>",
            b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>",
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file",
            b"<!doctype html><script>alert(1)</script>",
            b"\x7fELF" + bytes(60),
            b"\x1f\x8b\x08\x00" + zlib.compress(bytes(1000)),
            b"II*\x00\x08\x00\x00\x00\xff\xff" + b"\xff" * 200,
            b"P6 99999 99999 255\n" + bytes(100),
            b"\x00\x00\x01\x00\x01\x00\x00\x00" + bytes(40),
            b"icns" + struct.pack(">I", 2**31) + bytes(40),
            b"SIMPLE  =                    T" + b" " * 2850,
            b"RIFF\xff\xff\xff\xffWEBPVP8X" + bytes(20),
            b"\x00\x00\x00\x20ftypavif" + bytes(24) + b"\xff" * 100,
            b"8BPS\x00\x01" + b"\xff" * 40,
        ]
    )


def _png(width: int, height: int, body: bytes, *, depth: int = 8, extra: bytes = b"") -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    head = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + extra
        + chunk(b"IDAT", body)
        + chunk(b"IEND", b"")
    )


def _bomb(data: bytes, chance: random.Random) -> bytes:
    """Little on the wire, much in memory, or so it says."""
    side = chance.choice([9_000, 30_000, 65_535, 2**31 - 1])
    choice = chance.randrange(5)
    if choice == 0:
        return _png(side, side, zlib.compress(bytes(min(side * side // 8, 3_000_000)), 9), depth=1)
    if choice == 1:  # a text chunk that grows when it is read
        text = b"zTXtkey\0\0" + zlib.compress(bytes(3_000_000), 9)
        extra = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
        return _png(9, 9, zlib.compress(bytes(90)), extra=extra)
    if choice == 2:
        return b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + data[10:] if data else b"GIF89a"
    if choice == 3:
        head = struct.pack("<IiiHHIIiiII", 40, side % 2**31, side % 2**31, 1, 24, 0, 0, 0, 0, 0, 0)
        return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + head + bytes(100)
    size = struct.pack(">HH", 65_500, 65_500)
    return (
        b"\xff\xd8\xff\xc0\x00\x11\x08"
        + size
        + b"\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01"
        + bytes(50)
    )


def _enormous_head(data: bytes, chance: random.Random) -> bytes:
    """A picture behind megabytes of what comes before pictures."""
    if data[:2] == b"\xff\xd8":
        segment = b"\xff" + bytes([chance.choice([0xE0, 0xE1, 0xE2, 0xED, 0xFE])])
        block = segment + b"\xff\xff" + bytes(65_533)
        return data[:2] + block * chance.choice([1, 16]) + data[2:]
    if data[:4] == b"\x89PNG":
        body = b"tEXt" + b"k\0" + bytes(1_000_000)
        chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        return data[:33] + chunk + data[33:]
    return data[:8] + bytes(1_000_000) + data[8:]


def _polyglot(data: bytes, chance: random.Random) -> bytes:
    """A sound picture that is something else too."""
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("index.html", "<script>alert(1)</script>")
    tail = chance.choice([other.getvalue(), b"<script>alert(1)</script>", b"%PDF-1.4", data])
    return data + tail


_MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(_truncated, _flipped, _head_rewritten, _pieces_moved, _padded),
    *(_random_bytes, _another_type, _bomb, _enormous_head, _polyglot),
)
