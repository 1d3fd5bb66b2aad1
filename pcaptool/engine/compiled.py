"""Kernels as machine code: the loads of `engine.loads` as numba intrinsics, and the loading of modules.

Knows: numba. Imported only when something is to be compiled.
A kernel module is executed a second time under another name; its functions are compiled, and names that it
imported from other kernel modules are replaced by their compiled forms.

Cache: numba keeps machine code beside the source file and looks only at that file, so an edit in a module
that it calls would go unseen. Therefore each module's source is written to a folder whose name is a digest of
all sources involved and of numba's version, and is compiled under that file name; what is executed is always
the package's own text. A folder that cannot be written means compiling again in each process.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
import tempfile
import types as python_types
from functools import cache, partial
from pathlib import Path
from typing import Any

import numba
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from pcaptool.engine import loads, sources

__all__ = ["compiled_module", "entry"]

_log = logging.getLogger(__name__)


def _load(bits: int, *, big_endian: bool) -> Any:
    """An unchecked, unaligned load, widened to int64."""

    @intrinsic
    def load(_context: Any, array: Any, _at: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            data = context.make_array(signature.args[0])(context, builder, args[0]).data
            byte = builder.gep(builder.bitcast(data, ir.IntType(8).as_pointer()), [args[1]])
            value = builder.load(builder.bitcast(byte, ir.IntType(bits).as_pointer()), align=1)
            if big_endian:
                value = builder.bswap(value)
            return value if bits == 64 else builder.zext(value, ir.IntType(64))

        return types.int64(array, types.int64), codegen

    return load


be16, be32, be64 = (_load(bits, big_endian=True) for bits in (16, 32, 64))
le16, le32 = (_load(bits, big_endian=False) for bits in (16, 32))


def _sum16(data: Any, at: int, end: int, start: int) -> int:
    # Little-endian words of 32 bits: the ones' complement sum does not depend on byte order (RFC 1071 2(B)),
    # so the bytes of the folded sum are swapped once at the end.
    total = 0
    words = (end - at) >> 2
    for k in range(words):
        total += le32(data, at + (k << 2))
    rest = at + (words << 2)
    if end - rest >= 2:
        total += le16(data, rest)
        rest += 2
    if end > rest:
        total += data[rest]
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    total = ((total & 0xFF) << 8) + (total >> 8) + start
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


_HIGH, _LOW = loads.PRIME_HIGH, loads.PRIME_LOW
_LOW_INVERSE = pow(_LOW, -1, _HIGH)


def _remainder(data: Any, at: int, end: int) -> int:
    # Modulo each prime, four bytes at a time; the Chinese remainder theorem joins both.
    high = low = 0
    words = (end - at) >> 2
    for k in range(words):
        word = be32(data, at + (k << 2))
        high = ((high << 32) + word) % _HIGH
        low = ((low << 32) + word) % _LOW
    for k in range(at + (words << 2), end):
        byte = data[k]
        high = ((high << 8) + byte) % _HIGH
        low = ((low << 8) + byte) % _LOW
    return low + _LOW * ((high - low) * _LOW_INVERSE % _HIGH)


_PRIMITIVES: dict[Any, Any] = {
    loads.be16: be16,
    loads.be32: be32,
    loads.be64: be64,
    loads.le16: le16,
    loads.le32: le32,
    loads.sum16: numba.njit(nogil=True)(_sum16),
    loads.remainder: numba.njit(nogil=True)(_remainder),
}


# Two options that numba's signature does not show. Kernels allocate nothing, so arrays need no reference counts:
# without them kernels ran twice as fast.
_jit: Any = partial(numba.njit, nogil=True, _nrt=False)
# Kernels call each other without Python's calling convention; leaving it out halves the time of compiling.
_jit_inner: Any = partial(_jit, no_cpython_wrapper=True, no_cfunc_wrapper=True)


@cache
def compiled_module(name: str) -> python_types.SimpleNamespace:
    """A kernel module whose functions are numba dispatchers for other kernels.

    Parameters
    ----------
    name : str
        Full name of a kernel module.
    """
    path = sources.source_path(name)
    place = _cache_file(name)
    module = python_types.ModuleType(f"{name}:compiled")
    module.__file__ = str(place or path)
    sys.modules[module.__name__] = module  # numba's cache finds a function's globals by its module's name
    space = module.__dict__
    code = compile(path.read_bytes(), module.__file__, "exec", dont_inherit=True)
    exec(code, space)  # noqa: S102 - the package's own source, a second time
    for key, value in list(space.items()):
        if not isinstance(value, python_types.FunctionType):
            continue
        if value in _PRIMITIVES:
            space[key] = _PRIMITIVES[value]
        elif value.__code__.co_filename == module.__file__:
            space[key] = _jit_inner(cache=place is not None)(value)
        elif value.__module__ in sources.closure(name):
            space[key] = getattr(compiled_module(value.__module__), key)
    return python_types.SimpleNamespace(**{k: v for k, v in space.items() if not k.startswith("__")})


@cache
def entry(module: str, name: str) -> Any:
    """A kernel function that Python may call: the same with a wrapper around it."""
    place = _cache_file(module)
    inner = getattr(compiled_module(module), name)
    return _jit(cache=place is not None)(inner.py_func)


def _cache_file(name: str) -> Path | None:
    """Where a module's source and machine code are kept, None where nothing can be written."""
    if importlib.util.find_spec("numba") is None:  # pragma: no cover - this module imports it
        return None
    path = sources.source_path(name)
    folder = sources.cache_folder(name, numba.__version__)
    if folder is None:
        return None
    place = folder / f"{name.removeprefix('pcaptool.')}.py"
    text = path.read_bytes()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not place.exists() or place.read_bytes() != text:
            _write_whole(place, text)
        (folder / "__pycache__").mkdir(exist_ok=True)
        if not os.access(folder / "__pycache__", os.W_OK):
            return None
    except OSError as error:
        _log.info("kernels are compiled in each process: %s", error)
        return None
    return place


def _write_whole(place: Path, text: bytes) -> None:
    """Another process may do the same at the same time; each file appears whole."""
    handle, aside = tempfile.mkstemp(dir=place.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text)
        Path(aside).replace(place)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise
