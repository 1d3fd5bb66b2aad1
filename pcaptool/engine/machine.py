"""Kernels as machine code: from the cache folder where it is there, else compiled and kept.

Knows: the file of a kernel's machine code, how it is brought into memory. numba is imported only when something must
be compiled: it takes half a second. llvmlite (a tenth) is only where there is no image.
Must not know: how kernels are compiled (`engine.compiled`), what they compute.

A file holds the digest of what follows, and an image (`engine.image`); where none could be made the name of the
function and an object file. Its own name says for which arguments and which processor it was made. It defines all
that it needs (`engine.compiled` keeps no other), and a file that is not whole is not used: it would end the process.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from pcaptool.engine import image, sources
from pcaptool.engine.calls import arguments_like, caller, flatten, kinds_of

__all__ = ["Kernel", "kernel"]

_log = logging.getLogger(__name__)

# Folders older than this are removed when a new one is made; one still in use is compiled again.
_KEPT_DAYS = 60

# Lines of /proc/cpuinfo: of x86-64, of 64-bit ARM, of RISC-V.
_TELLING = (
    b"vendor_id",
    b"cpu family",
    b"model",
    b"stepping",
    b"flags",
    b"CPU ",
    b"Features",
    b"isa",
    b"uarch",
)


class Kernel:
    """One kernel function; each combination of argument types has machine code of its own.

    Parameters
    ----------
    module, name : str

    Examples
    --------
    >>> import numpy as np
    >>> walk = kernel("pcaptool.decode.kernels.links", "first_layer")
    >>> walk(1)  # Ethernet
    1
    """

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name
        self._made: dict[str, Callable[[list[int]], int]] = {}
        self._known: dict[tuple[Any, ...], Callable[[list[int]], int]] = {}
        self._making = threading.Lock()

    def __call__(self, *args: Any) -> int:
        """Run it: integers and arrays in, an integer out (0 if it returns nothing)."""
        key, words = flatten(args)
        made = self._known.get(key)
        if made is None:
            made = self._known[key] = self._ready(kinds_of(args), args)
        return made(words)

    def prepare(self, kinds: str) -> bool:
        """Have machine code for such arguments at hand.

        Returns
        -------
        bool
            Whether other processes have it now, too.
        """
        args = arguments_like(kinds)
        self._ready(kinds, args)
        place = self._place(kinds)
        return place is not None and place.is_file()

    def _ready(self, kinds: str, args: tuple[Any, ...]) -> Callable[[list[int]], int]:
        """Made once, also where two threads ask for it at the same time."""
        with self._making:
            made = self._made.get(kinds)
            if made is None:
                made = self._made[kinds] = self._make(kinds, args)
            return made

    def _make(self, kinds: str, args: tuple[Any, ...]) -> Callable[[list[int]], int]:
        place = self._place(kinds)
        kept = None if place is None else _read(place)
        if kept is not None:
            address, owner = _load(kept)
            return caller(address, owner)
        from pcaptool.engine.compiled import compile_kernel  # noqa: PLC0415 - numba only when needed

        fresh = compile_kernel(self._module, self._name, args)
        if place is not None and fresh.code is not None:
            linked = image.make(fresh.code, fresh.symbol)
            _write_whole(place, image.pack(linked) if linked else fresh.symbol.encode() + b"\n" + fresh.code)
        return caller(fresh.address, fresh.owner)

    def _place(self, kinds: str) -> Path | None:
        versions = sources.compiler()
        folder = None if versions is None else sources.cache_folder(self._module, versions)
        if folder is None:
            return None
        what = hashlib.sha256(f"{_processor()}\n{kinds}".encode()).hexdigest()[:16]
        return folder / f"{self._module}.{self._name}.{what}{sources.SUFFIX}"


@cache
def kernel(module: str, name: str) -> Kernel:
    """The one kernel of that name in this process."""
    return Kernel(module, name)


@cache
def _processor() -> str:
    """What tells processors apart that need other machine code: model and features, as the kernel lists them."""
    try:
        with Path("/proc/cpuinfo").open("rb") as file:
            first = file.read(1 << 16).partition(b"\n\n")[0]
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    lines = [line for line in first.splitlines() if line.startswith(_TELLING)]
    return f"{platform.machine()} {b' '.join(lines).decode('ascii', 'replace')}"


def _load(kept: bytes) -> tuple[int, Any]:
    """Address of a kept function, and what holds it in memory."""
    linked = image.unpack(kept)
    if linked is not None:
        return image.load(linked)
    import llvmlite.binding as llvm  # noqa: PLC0415 - a tenth of a second

    symbol, _, code = kept.partition(b"\n")
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine.get_function_address(symbol.decode("ascii")), engine


def _forget_old(base: Path) -> None:
    """Machine code of sources that have changed since is never asked for again."""
    oldest = time.time() - _KEPT_DAYS * 86_400
    for folder in base.glob("kernels-*"):
        if folder.stat().st_mtime < oldest:
            shutil.rmtree(folder, ignore_errors=True)


def _read(place: Path) -> bytes | None:
    """What was kept; None where there is no whole file."""
    try:
        content = place.read_bytes()
    except OSError:
        return None
    digest, body = content[:32], content[32:]
    return body if hashlib.sha256(body).digest() == digest else None


def _write_whole(place: Path, content: bytes) -> None:
    """Another process may do the same at the same time; a file appears whole. No harm where it cannot."""
    try:
        if not place.parent.is_dir():
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _forget_old(place.parent.parent)
        handle, aside = tempfile.mkstemp(dir=place.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(content).digest() + content)
            Path(aside).replace(place)
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise
    except OSError as error:
        _log.info("kernels are compiled in each process: %s", error)
