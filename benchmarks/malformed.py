"""Malformed inputs: sound ones that are changed at random, each by the generator of one seed."""

import io
import json
import math
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

NUMBERS = (0, -1, 1, 255, 256, 2**31 - 1, 2**31, 2**32, 2**40, 2**63 - 1, 2**63, 2**70, 10**400)
NUMBERS += (0.5, -0.0, 1e-320, 1e308, math.nan, math.inf, -math.inf)
TEXTS = ("", " ", "\0", "\ufeff", "\ud800", "..", "../../../etc/passwd", "/etc/passwd", "~", "*")
TEXTS += ("a" * 5000, "\u0301" * 300, "\n", "None", "nan", "%s%n", "{0}", "-1", "1e400", "\u0663")
TEXTS += ("((((((" * 200, "[" * 9000, "\U0001f600", "\u202e", "CON", "a/b", "a\\b", "float32", "O8")
DEEP = 100_000  # brackets inside each other
OTHERS = (
    b"",
    b"\0" * 4096,
    b"<!DOCTYPE html><html><body>404</body></html>",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    b"PK\x05\x06" + b"\0" * 18,
    b"\x80\x02cos\nsystem\n(S'true'\ntR.",
    b"GIF89a\xff\xff\xff\xff\0\0\0",
    b"\x93NUMPY\x01\0v\0{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n",
    b'{"a": ' * 50_000,
)


# Bytes


def flipped(rng: Random, data: bytes) -> bytes:
    """A few bits are the other way round."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 2, 8, 64))):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(rng: Random, data: bytes) -> bytes:
    """The end is missing."""
    return data[: rng.randrange(len(data) + 1)]


def removed(rng: Random, data: bytes) -> bytes:
    """A part is missing."""
    start = rng.randrange(len(data) + 1)
    return data[:start] + data[start + rng.choice((1, 4, 64, 1024)) :]


def inserted(rng: Random, data: bytes) -> bytes:
    """There is something in the middle that does not belong there."""
    start = rng.randrange(len(data) + 1)
    return data[:start] + rng.randbytes(rng.choice((1, 4, 64, 4096))) + data[start:]


def resized(rng: Random, data: bytes) -> bytes:
    """A number, such as a length, is another one."""
    width = rng.choice((1, 2, 4, 8))
    start = rng.randrange(max(1, min(len(data), rng.choice((16, 64, 512, len(data) + 1)))))
    value = rng.choice((0, 1, 2 ** (8 * width) - 1, 2 ** (8 * width - 1), 2 ** (8 * width - 2)))
    return (
        data[:start] + value.to_bytes(width, rng.choice(("little", "big"))) + data[start + width :]
    )


def swapped(rng: Random, data: bytes) -> bytes:
    """Two parts are in the place of each other."""
    a, b, c = sorted(rng.randrange(len(data) + 1) for _ in range(3))
    return data[:a] + data[b:c] + data[a:b] + data[c:]


def repeated(rng: Random, data: bytes) -> bytes:
    """A part is there often."""
    a, b = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:b] + data[a:b] * min(2000, 2**20 // max(1, b - a)) + data[b:]


def encoded(rng: Random, data: bytes) -> bytes:
    """Text in another encoding."""
    text = data.decode("utf-8", "replace")
    kinds = ("utf-16", "utf-32", "utf-8-sig", "utf-7", "latin-1")
    return ("\u00e9" * rng.randrange(2) + text).encode(rng.choice(kinds), "replace")


BYTES = (flipped, flipped, cut, removed, inserted, resized, resized, swapped, repeated, encoded)


def of_bytes(rng: Random, data: bytes) -> bytes:
    """Bytes with one or two such faults, or those of something else."""
    if rng.random() < 0.05:
        return rng.choice(OTHERS)
    for _ in range(rng.choice((1, 1, 2))):
        data = rng.choice(BYTES)(rng, data)
    return data


# Text and values


def of_text(rng: Random, text: str) -> str:
    """Text in which a word is another, a line is missing, doubled or something else."""
    parts = text.split(rng.choice((" ", "\n", "=", ",")))
    at = rng.randrange(len(parts))
    other = rng.choice((str(rng.choice(NUMBERS)), rng.choice(TEXTS), "", parts[at] * 2, "]" * 9))
    return text.replace(parts[at], other, rng.choice((1, -1))) if parts[at] else other + text


def of_value(rng: Random, value: Any) -> Any:
    """A tree of dicts and lists in which one value, or a name, is another."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        name = rng.choice(list(value))
        what = rng.random()
        if what < 0.1:
            return {key: x for key, x in value.items() if key != name}
        if what < 0.2:
            return {rng.choice(TEXTS) if key == name else key: x for key, x in value.items()}
        return value | {name: of_value(rng, value[name])}
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        return [*value[:at], of_value(rng, value[at]), *value[at + 1 :]]
    others = (*NUMBERS, *TEXTS, None, True, [], {}, [value], [[]] * 3, {"a": value}, str(value))
    return rng.choice(others)


def of_json(rng: Random, text: str) -> bytes:
    """JSON of another value, or that is none."""
    what = rng.random()
    if what < 0.3:
        return of_bytes(rng, text.encode())
    if what < 0.35:
        return rng.choice(("[" * DEEP, '{"a":' * DEEP, "[" * DEEP + "]" * DEEP)).encode()
    value = json.loads(text)
    for _ in range(rng.choice((1, 1, 3))):
        value = of_value(rng, value)
    if what < 0.4:
        return json.dumps(value, ensure_ascii=False).encode("utf-16", "surrogatepass")
    return json.dumps(value, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")


# Arrays


def of_array(rng: Random, array: np.ndarray) -> np.ndarray:
    """An array of another type or shape, or with numbers that are none."""
    what, array = rng.randrange(8), np.array(array)
    if what == 0 and array.dtype.kind == "f" and array.size:
        array.flat[rng.randrange(array.size)] = rng.choice((math.nan, math.inf, -math.inf, 1e308))
    elif what == 1:
        kinds = ("f2", "f8", ">f4", "i1", "u8", "c8", "?", "U3", "S3", "M8[s]", "i4,f4", "O")
        with np.errstate(all="ignore"):
            array = np.zeros(array.shape, rng.choice(kinds))
    elif what == 2:
        array = array[..., None] if rng.random() < 0.5 or not array.ndim else array[:0]
    elif what == 3:
        array = array.reshape(-1)[: rng.randrange(array.size + 1)]
    elif what == 4:
        array = np.zeros(rng.choice(((), (0,), (1,) * 30, (0, 2**40), (1, 60_000))), array.dtype)
    elif what == 5:
        array = np.asfortranarray(array)
    elif what == 6 and array.dtype.kind == "f":
        array = -array
    elif array.dtype.kind == "f":
        array = array * rng.choice((1e300, 1e-300, math.nan, 0))
    return array


def npy(array: np.ndarray, shape: tuple[int, ...] | None = None) -> bytes:
    """A .npy; its header may say another shape."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    data = file.getvalue()
    if shape is None:
        return data
    header = repr({"descr": array.dtype.str, "fortran_order": False, "shape": shape}).encode()
    size = struct.pack("<H", len(header) + 1)
    return b"\x93NUMPY\x01\0" + size + header + b"\n" + array.tobytes()


def of_npy(rng: Random, array: np.ndarray) -> bytes:
    """A .npy that is not what it should be."""
    if rng.random() < 0.2:
        first = rng.choice((2**20, 2**31, 2**40, 2**62, -1))
        return npy(array, (first, *array.shape[1:]))
    return of_bytes(rng, npy(array)) if rng.random() < 0.4 else npy(of_array(rng, array))


def of_npz(rng: Random, arrays: dict[str, np.ndarray]) -> bytes:
    """A .npz of which an array, a name or a byte is not what it should be."""
    import zipfile

    name, file = rng.choice(list(arrays)), io.BytesIO()
    what = rng.random()
    kinds = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    with zipfile.ZipFile(file, "w", rng.choice(kinds)) as archive:
        for key, array in arrays.items():
            data = npy(array)
            if key == name and what < 0.6:
                data = of_npy(rng, array)
            if key != name or not 0.6 < what < 0.7:
                entry = f"../{key}.npy" if key == name and what > 0.95 else f"{key}.npy"
                archive.writestr(entry, data)
    return of_bytes(rng, file.getvalue()) if 0.7 < what < 0.95 else file.getvalue()


# Images


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, bits: int, colours: int, *more: bytes) -> bytes:
    """A PNG that says its size, with as many black pixels as fit into a short file."""
    head = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0)
    row = 1 + -(-width * bits * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colours] // 8)
    pixels = zlib.compress(bytes(min(row * height, 2**22)))
    parts = (chunk(b"IHDR", head), *more, chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def of_png(rng: Random) -> bytes:
    """A PNG of an extreme size, or with a chunk that unpacks to more than it should."""
    sides = (1, 2, 16, 64, 5000, 13_000, 60_000, 2**31 - 1)
    bomb = zlib.compress(bytes(2**24))
    more = rng.choice(
        (
            (),
            (chunk(b"tEXt", b"ldm_jax\0" + b"a" * 2**21),),
            (chunk(b"zTXt", b"ldm_jax\0\0" + bomb),),
            (chunk(b"iTXt", b"ldm_jax\0\1\0\0\0" + bomb),),
            (chunk(b"iCCP", b"p\0\0" + bomb),),
            (chunk(b"PLTE", bytes(rng.choice((0, 2, 3, 900)))), chunk(b"tRNS", bytes(300))),
            (chunk(b"eXIf", b"MM\0*\0\0\0\x08\xff\xff" + bytes(64)),),
            (chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0)),),
        )
    )
    colours = rng.choice((0, 2, 3, 4, 6))
    return png(rng.choice(sides), rng.choice(sides), rng.choice((1, 8, 16)), colours, *more)


# Folders


def _nested(folder: Path) -> None:
    place = folder
    for _ in range(60):
        place = place / "deeper"
    place.mkdir(parents=True)


def _folder_for(file: Path) -> None:
    """A folder where a file is expected."""
    file.unlink(missing_ok=True)
    file.mkdir()


ENTRIES: tuple[Callable[[Path], Any], ...] = (
    lambda folder: os.mkfifo(folder / "pipe.png"),
    lambda folder: os.mkfifo(folder / "00.txt") if not (folder / "00.txt").exists() else None,
    lambda folder: (folder / "folder.png").mkdir(),
    lambda folder: (folder / "loop.png").symlink_to("loop.png"),
    lambda folder: (folder / "loop").symlink_to("."),
    lambda folder: (folder / "up").symlink_to(".."),
    lambda folder: (folder / "dangling.png").symlink_to("nowhere.png"),
    lambda folder: (folder / "dangling.txt").symlink_to("nowhere.txt"),
    lambda folder: (folder / "empty.png").touch(),
    lambda folder: _folder_for(folder / "metadata.jsonl"),
    lambda folder: (folder / "latents.json").touch(),
    lambda folder: Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.png")).touch(),
    lambda folder: Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9")).mkdir(),
    lambda folder: (folder / "a\nb.png").touch(),
    lambda folder: (folder / ("a" * 251 + ".png")).touch(),
    lambda folder: (folder / "\u202egnp.exe.png").touch(),
    lambda folder: (folder / "device.png").symlink_to("/dev/zero"),
    lambda folder: (folder / "device.txt").symlink_to("/dev/zero"),
    _nested,
)


def of_folder(rng: Random, folder: Path) -> None:
    """Puts something into a folder that does not belong there."""
    for make in rng.sample(ENTRIES, rng.choice((1, 1, 2))):
        make(folder)


def of_tree(rng: Random, folder: Path, ends: str = "") -> Path:
    """Changes a file in a folder, or what is in its place; which one.

    Args:
        ends: how its name ends.
    """
    files = sorted(file for file in folder.rglob(f"*{ends}") if file.is_file())
    file, what = rng.choice(files), rng.random()
    if what < 0.1:
        file.unlink()
    elif what < 0.13:
        file.unlink()
        file.mkdir()
    elif what < 0.16:
        file.unlink()
        file.symlink_to(file.name)
    elif file.suffix in (".json", "") and what < 0.6 and _is_json(file):
        file.write_bytes(of_json(rng, file.read_text("utf-8")))
    else:
        file.write_bytes(of_bytes(rng, file.read_bytes()))
    return file


def _is_json(file: Path) -> bool:
    try:
        return isinstance(json.loads(file.read_text("utf-8")), dict | list)
    except (ValueError, RecursionError):
        return False
