"""Which source files a kernel's machine code depends on, and which folder it is kept in.

Knows: import statements, digests, the user's cache folder. Must not know: numba (this is asked without it).
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

__all__ = ["CACHE_VARIABLE", "SUFFIX", "cache_folder", "cached", "closure", "compiler", "source_path"]

# Names a folder for compiled kernels; empty means: keep none.
CACHE_VARIABLE = "PCAPTOOL_CACHE_DIR"

# Of a file of machine code.
SUFFIX = ".kernel"

# Kernel modules import from this package in no other way; parsing them whole took a tenth of a second.
_IMPORTS = re.compile(rb"^from (pcaptool\.[\w.]+) import", re.MULTILINE)


@cache
def source_path(name: str) -> Path:
    """The file of a module of this package.

    Raises
    ------
    ModuleNotFoundError
        There is no such module.
    """
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(name)
    return Path(spec.origin)


@cache
def _content(path: Path) -> bytes:
    return path.read_bytes()


@cache
def _origins(name: str) -> tuple[str, ...]:
    return tuple(found.decode() for found in _IMPORTS.findall(_content(source_path(name))))


@cache
def closure(name: str) -> tuple[str, ...]:
    """A module and all modules of this package that it imports from, sorted.

    Examples
    --------
    >>> closure("pcaptool.wire.checksum")
    ('pcaptool.wire.checksum',)
    """
    found: set[str] = set()
    waiting = [name]
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += _origins(module)
    return tuple(sorted(found))


@cache
def compiler() -> str | None:
    """The versions that machine code depends on; None without numba.

    Their `_version.py` are read, not their metadata: importing `importlib.metadata` takes longer than the rest.
    """
    digest = hashlib.sha256(repr((sys.version_info[:2], object.__basicsize__)).encode())
    for package in ("numba", "llvmlite"):
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            return None
        try:
            digest.update((Path(spec.origin).parent / "_version.py").read_bytes())
        except OSError:
            return None
    return digest.hexdigest()


def cache_folder(name: str, versions: str) -> Path | None:
    """Folder for a kernel module's machine code, None where the user wants none or has no home."""
    base = os.environ.get(CACHE_VARIABLE)
    if base is None:
        home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - must not raise
        base = "" if home.startswith("~") else str(Path(home) / "pcaptool")
    if not base:
        return None
    digest = hashlib.sha256(versions.encode())
    names = ("calls", "compiled", "compiled_entry", "compiled_system", "image", "loads")
    engine = (f"pcaptool.engine.{name}" for name in names)
    for module in (*engine, *closure(name)):
        digest.update(b"\0" + _content(source_path(module)))
    return Path(base) / f"kernels-{digest.hexdigest()[:16]}"


def cached(name: str, function: str = "*") -> bool:
    """Whether machine code of a kernel module, or of one of its functions, is at hand: compiling takes no time."""
    versions = compiler()
    folder = None if versions is None else cache_folder(name, versions)
    return folder is not None and any(folder.glob(f"{name}.{function}.*{SUFFIX}"))
