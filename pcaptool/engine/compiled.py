"""Compiling kernels: the loads of `engine.loads` as numba intrinsics, and whole modules.

Knows: numba. Imported only when something is to be compiled. Must not know: where machine code is kept.
A kernel module is executed a second time under another name; its functions are compiled, and names that it
imported from other kernel modules are replaced by their compiled forms.
Functions get no wrappers for Python: these cost half the time of compiling. What calls them from outside, as
`engine.calls` does, is made by `engine.compiled_entry`.
"""

from __future__ import annotations

import sys
import types as python_types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.compiler_lock import global_compiler_lock
from numba.extending import intrinsic
from numba.np import arrayobj

from pcaptool.engine import loads, sources
from pcaptool.engine.compiled_entry import entry
from pcaptool.engine.compiled_system import C_FUNCTIONS
from pcaptool.engine.compiled_system import PRIMITIVES as _SYSTEM
from pcaptool.engine.undisturbed import nothing_collected, signals_kept

__all__ = ["MachineCode", "compile_kernel", "compiled_module"]


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


@intrinsic
def prefetch(_context: Any, array: Any, _at: Any) -> Any:
    """llvm.prefetch, for reading, into all caches."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        byte = builder.gep(builder.bitcast(data, ir.IntType(8).as_pointer()), [args[1]])
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte.type, number, number, number])
        find: Any = cgutils.get_or_insert_function
        function = find(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [byte, number(0), number(3), number(1)])
        return context.get_constant(types.int64, 0)

    return types.int64(array, types.int64), codegen


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
    loads.prefetch: prefetch,
    loads.sum16: numba.njit(nogil=True)(_sum16),
    loads.remainder: numba.njit(nogil=True)(_remainder),
    **_SYSTEM,
}


_numba: Any = types  # numba declares its types in part only

# Options that numba's signature does not show. Kernels allocate nothing, so arrays need no reference counts:
# without them kernels ran twice as fast.
_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "_nrt": False,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}


@dataclass(frozen=True, slots=True)
class MachineCode:
    """A kernel function for certain argument types.

    Parameters
    ----------
    symbol : str
        Name of the function in `code`.
    code : bytes or None
        Object file; None where it needs something that it does not define, and so cannot be kept.
    address : int
        Where the function is in this process.
    owner : object
        Holds it there.
    """

    symbol: str
    code: bytes | None
    address: int
    owner: Any


@cache
def compiled_module(name: str) -> python_types.SimpleNamespace:
    """A kernel module whose functions are numba dispatchers for other kernels.

    Parameters
    ----------
    name : str
        Full name of a kernel module.
    """
    path = sources.source_path(name)
    module = python_types.ModuleType(f"{name}:compiled")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # numba finds a function's globals by its module's name
    space = module.__dict__
    code = compile(path.read_bytes(), f"{path}:compiled", "exec", dont_inherit=True)
    exec(code, space)  # noqa: S102 - the package's own source, a second time
    for key, value in list(space.items()):
        if not isinstance(value, python_types.FunctionType) or value is loads.hot:
            continue
        if value in _PRIMITIVES:
            space[key] = _PRIMITIVES[value]
        elif value.__code__.co_filename == code.co_filename:
            space[key] = _function(value)
        elif value.__module__ in sources.closure(name):
            space[key] = getattr(compiled_module(value.__module__), key)
    return python_types.SimpleNamespace(**{k: v for k, v in space.items() if not k.startswith("__")})


def _function(plain: Any) -> Any:
    """A function that is compiled once for all integers.

    By itself numba compiles it again for each constant that it is called with: that was half of the time.
    """
    function = numba.njit(**_OPTIONS, forceinline=loads.is_hot(plain))(plain)
    asked = function.get_call_template

    def asked_for_any(args: tuple[Any, ...], kws: dict[str, Any]) -> Any:
        return asked(tuple(map(_numba.unliteral, args)), {k: _numba.unliteral(v) for k, v in kws.items()})

    function.get_call_template = asked_for_any
    return function


def compile_kernel(module: str, name: str, args: tuple[Any, ...]) -> MachineCode:
    """Compile a kernel function for arguments like these.

    Raises
    ------
    TypeError
        It returns something else than an integer or nothing.
    """
    dispatcher = numba.njit(**_OPTIONS)(entry(getattr(compiled_module(module), name), args))
    kinds = (types.int64,)
    with _indices_from_the_front(), nothing_collected(), signals_kept():
        dispatcher.compile(kinds)
    made = dispatcher.overloads[kinds]
    if made.signature.return_type not in (types.none, types.boolean, types.int64):
        raise TypeError(f"{module}.{name} returns {made.signature.return_type}")
    symbol = made.fndesc.llvm_func_name
    address = made.library.get_pointer_to_function(symbol)
    return MachineCode(symbol, _object(made.library), address, made)


@contextmanager
def _indices_from_the_front() -> Iterator[None]:
    """Indices are taken as they are: Python's counting from the end cost the decoder a sixth of its time.

    Kernels have no negative index (`tests/unit/engine/test_indices.py`). numba has no option for it, so its function is
    exchanged while its compiler is ours alone: other users' code is compiled as ever. A numba that has no such
    function compiles as it did.
    """

    def plain(context: Any, builder: Any, kind: Any, index: Any, _size: Any) -> Any:
        return context.cast(builder, index, kind, types.intp)

    module: Any = arrayobj
    with global_compiler_lock:
        before = getattr(module, "fix_integer_index", None)
        module.fix_integer_index = plain
        try:
            yield
        finally:
            if before is None:
                del module.fix_integer_index
            else:
                module.fix_integer_index = before


def _object(library: Any) -> bytes | None:
    """The object file of a compiled library, if it needs nothing but the C library: nothing of numba's own."""
    module = library._final_module  # noqa: SLF001 - numba keeps object files for its cache, and shows no way to them
    functions = (f.name for f in module.functions if f.is_declaration)
    variables = (g.name for g in module.global_variables if g.is_declaration)
    if any(not name.startswith("llvm.") and name not in C_FUNCTIONS for name in (*functions, *variables)):
        return None
    code: bytes = library._get_compiled_object()  # noqa: SLF001 - as above
    return code
