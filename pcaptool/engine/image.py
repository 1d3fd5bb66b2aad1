"""Machine code as a block of memory that is ready but for addresses: LLVM's object file, linked once, when it is made.

Knows: as much of ELF (the generic ABI, chapters 4 and 5, and x86-64's) as an object file of one compiled kernel has:
sections that are loaded, and places that want an absolute address of 64 bits, which is all that LLVM's large code
model asks for.
Must not know: where images are kept, what they compute.
Leaves out: every other kind of place, writable sections, other processors; an object file that has them makes no
image, and is left to LLVM, whose library takes a tenth of a second to load where an image takes a tenth of a
millisecond.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import struct
from functools import cache
from typing import Any, NamedTuple

__all__ = ["MAGIC", "Image", "Loaded", "load", "make", "pack", "unpack"]

MAGIC = b"pcaptool image 1\n"

_X86_64, _RELOCATABLE = 62, 1
_SYMBOLS, _RELOCATIONS, _NO_BITS = 2, 4, 8  # kinds of sections
_WRITABLE, _LOADED = 1, 2  # flags of sections
_ABSOLUTE_64 = 1  # R_X86_64_64
_UNDEFINED, _RESERVED = 0, 0xFF00
_UNWIND = b".eh_frame"  # kernels raise nothing


class Image(NamedTuple):
    """Linked machine code.

    Attributes
    ----------
    code : bytes
    entry : int
        Offset of the function.
    own : list of (int, int)
        Offsets that want the address of another offset.
    named : list of (int, str)
        Offsets that want the address of a function of the C library.
    """

    code: bytes
    entry: int
    own: list[tuple[int, int]]
    named: list[tuple[int, str]]


class Loaded(NamedTuple):
    """An image in this process; the code stays as long as `owner`."""

    address: int
    owner: Any


class _Section(NamedTuple):
    name: int
    kind: int
    flags: int
    at: int
    size: int
    link: int
    info: int
    align: int


def make(code: bytes, symbol: str) -> Image | None:
    """Link an object file.

    Parameters
    ----------
    code : bytes
        ELF object file.
    symbol : str
        Name of its function.

    Returns
    -------
    Image or None
        None where it has what this module leaves out.
    """
    if (
        len(code) < 64
        or code[:6] != b"\x7fELF\x02\x01"
        or struct.unpack_from("<HH", code, 16)
        != (
            _RELOCATABLE,
            _X86_64,
        )
    ):
        return None
    sections = _sections(code)
    places, image = _laid_out(code, sections)
    if image is None:
        return None
    own: list[tuple[int, int]] = []
    named: list[tuple[int, str]] = []
    symbols = [(s, sections[s.link]) for s in sections if s.kind == _SYMBOLS]
    if len(symbols) != 1:
        return None
    table, words = symbols[0]
    entry = None
    for at in range(table.at, table.at + table.size, 24):
        name, _, _, section, value, _ = struct.unpack_from("<IBBHQQ", code, at)
        if section in places and _text(code, words.at + name) == symbol.encode():
            entry = places[section] + value
    for relocations in sections:
        if relocations.kind != _RELOCATIONS or relocations.info not in places:
            continue
        for at in range(relocations.at, relocations.at + relocations.size, 24):
            offset, what, addend = struct.unpack_from("<QQq", code, at)
            name, _, _, section, value, _ = struct.unpack_from("<IBBHQQ", code, table.at + 24 * (what >> 32))
            place = places[relocations.info] + offset
            if what & 0xFFFFFFFF != _ABSOLUTE_64:
                return None
            if section in places:
                own.append((place, places[section] + value + addend))
            elif section == _UNDEFINED and addend == 0:
                named.append((place, _text(code, words.at + name).decode("ascii")))
            else:
                return None
    return None if entry is None else Image(bytes(image), entry, own, named)


def _sections(code: bytes) -> list[_Section]:
    table, size, count = *struct.unpack_from("<Q", code, 40), *struct.unpack_from("<HH", code, 58)
    found = []
    for k in range(count):
        name, kind, flags, _, at, length, link, info, align, _ = struct.unpack_from(
            "<IIQQQQIIQQ", code, table + k * size
        )
        found.append(_Section(name, kind, flags, at, length, link, info, align))
    return found


def _laid_out(code: bytes, sections: list[_Section]) -> tuple[dict[int, int], bytearray | None]:
    """Where each loaded section begins, and their bytes; None where one may be written."""
    words = sections[struct.unpack_from("<H", code, 62)[0]]
    places: dict[int, int] = {}
    image = bytearray()
    for number, section in enumerate(sections):
        if not section.flags & _LOADED or not section.size or _text(code, words.at + section.name) == _UNWIND:
            continue
        if section.flags & _WRITABLE or section.kind == _NO_BITS:
            return places, None
        image += bytes(-len(image) % max(section.align, 1))
        places[number] = len(image)
        image += code[section.at : section.at + section.size]
    return places, image


def _text(code: bytes, at: int) -> bytes:
    return code[at : code.index(b"\0", at)]


def pack(image: Image) -> bytes:
    """As kept in a file.

    Examples
    --------
    >>> image = Image(b"code", 0, [(0, 2)], [])
    >>> unpack(pack(image)) == image
    True
    """
    about = {"entry": image.entry, "own": image.own, "named": image.named}
    return MAGIC + json.dumps(about).encode() + b"\n" + image.code


def unpack(kept: bytes) -> Image | None:
    """The opposite of `pack`; None where it is something else."""
    if not kept.startswith(MAGIC):
        return None
    about, _, code = kept[len(MAGIC) :].partition(b"\n")
    found = json.loads(about)
    own = [(place, target) for place, target in found["own"]]
    return Image(code, found["entry"], own, [(place, name) for place, name in found["named"]])


def load(image: Image) -> Loaded:
    """Bring an image into memory.

    Raises
    ------
    OSError
        The system grants no memory that holds machine code.
    """
    memory = mmap.mmap(-1, len(image.code))
    here = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    memory[:] = image.code
    for place, target in image.own:
        struct.pack_into("<Q", memory, place, here + target)
    for place, name in image.named:
        struct.pack_into("<Q", memory, place, _c_function(name))
    if _libc().mprotect(ctypes.c_void_p(here), ctypes.c_size_t(len(memory)), mmap.PROT_READ | mmap.PROT_EXEC):
        raise OSError(ctypes.get_errno(), "no memory for machine code")
    return Loaded(here + image.entry, memory)


@cache
def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


@cache
def _c_function(name: str) -> int:
    return ctypes.cast(getattr(_libc(), name), ctypes.c_void_p).value or 0
