"""Kernels as machine code: from the cache folder where it is there, else compiled and kept.

Knows: the file of a kernel's machine code, how llvmlite brings it into memory. numba is imported only when
something must be compiled: it takes half a second, llvmlite a twentieth.
Must not know: how kernels are compiled (`engine.compiled`), what they compute.

A file holds the digest of what follows, the name of its function and an object file. Its own name says for which
arguments and which processor it was made. It defines all that it needs (`engine.compiled` keeps no other), and a
file that is not whole is not used: LLVM would end the process over either.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm

from pcaptool.engine import sources
from pcaptool.engine.calls import caller, flatten

__all__ = ["Kernel", "kernel"]

_log = logging.getLogger(__name__)

# Folders older than this are removed when a new one is made; one still in use is compiled again.
_KEPT_DAYS = 60


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

    def __call__(self, *args: Any) -> int:
        """Run it: integers and arrays in, an integer out (0 if it returns nothing)."""
        kinds, values = flatten(args)
        made = self._made.get(kinds)
        if made is None:
            made = self._made[kinds] = self._make(kinds, len(values), args)
        return made(values)

    def _make(self, kinds: str, count: int, args: tuple[Any, ...]) -> Callable[[list[int]], int]:
        place = self._place(kinds)
        kept = None if place is None else _read(place)
        if kept is not None:
            symbol, code = kept
            owner = _load(code)
            return caller(owner.get_function_address(symbol), count, owner)
        from pcaptool.engine.compiled import compile_kernel  # noqa: PLC0415 - numba only when needed

        fresh = compile_kernel(self._module, self._name, args)
        if place is not None and fresh.code is not None:
            _write_whole(place, fresh.symbol.encode() + b"\n" + fresh.code)
        return caller(fresh.address, count, fresh.owner)

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
    return f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"


@cache
def _target() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple()


def _load(code: bytes) -> Any:
    """An execution engine that holds an object file."""
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target().create_target_machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine


def _forget_old(base: Path) -> None:
    """Machine code of sources that have changed since is never asked for again."""
    oldest = time.time() - _KEPT_DAYS * 86_400
    for folder in base.glob("kernels-*"):
        if folder.stat().st_mtime < oldest:
            shutil.rmtree(folder, ignore_errors=True)


def _read(place: Path) -> tuple[str, bytes] | None:
    """Name and object file; None where there is no whole one."""
    try:
        content = place.read_bytes()
    except OSError:
        return None
    digest, body = content[:32], content[32:]
    if hashlib.sha256(body).digest() != digest:
        return None
    symbol, _, code = body.partition(b"\n")
    return symbol.decode("ascii"), code


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
