"""Which source files a kernel's machine code depends on, and where it is kept.

Knows: import statements, digests, the user's cache folder. Must not know: numba (this is asked without it).
"""

from __future__ import annotations

import ast
import hashlib
import os
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

__all__ = ["CACHE_VARIABLE", "cache_folder", "cached", "closure", "source_path"]

# Names a folder for compiled kernels; empty means: keep none.
CACHE_VARIABLE = "PCAPTOOL_CACHE_DIR"


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
        if module in found:
            continue
        found.add(module)
        nodes = ast.walk(ast.parse(source_path(module).read_bytes()))
        origins = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
        waiting += [origin for origin in origins if origin.startswith("pcaptool.")]
    return tuple(sorted(found))


def cache_folder(name: str, numba_version: str) -> Path | None:
    """Folder for a kernel module's machine code, None where the user wants none or has no home."""
    base = os.environ.get(CACHE_VARIABLE)
    if base is None:
        home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - must not raise
        base = "" if home.startswith("~") else str(Path(home) / "pcaptool")
    if not base:
        return None
    digest = hashlib.sha256(f"numba {numba_version} python {sys.version_info[:2]}".encode())
    engine = ("pcaptool.engine.compiled", "pcaptool.engine.loads")
    for module in (*engine, *closure(name)):
        digest.update(b"\0" + source_path(module).read_bytes())
    return Path(base) / f"kernels-{digest.hexdigest()[:16]}"


def cached(name: str) -> bool:
    """Whether machine code of a kernel module is at hand, so that compiling takes no time."""
    try:
        folder = cache_folder(name, version("numba"))
    except PackageNotFoundError:
        return False
    place = os.environ.get("NUMBA_CACHE_DIR")
    if place:  # numba's own setting wins over the folder beside the source
        return any(Path(place).glob(f"{folder.name if folder else ''}*/**/*.nbi"))
    return folder is not None and any((folder / "__pycache__").glob("*.nbi"))
