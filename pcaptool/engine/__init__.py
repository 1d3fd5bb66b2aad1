"""One kernel source, two ways to run it: as plain Python, or compiled by numba.

Knows: how a kernel module is loaded either way, and the few memory operations that both ways need.
Must not know: what any kernel computes.

A kernel is an ordinary module of ordinary functions over integers, bytes and flat arrays. It is imported as
it is for small captures (no numba, nothing to wait for) and compiled for large ones; `Engine` switches in
mid-capture, because both take the same arguments. Rules for kernel sources:

* integers are signed 64-bit when compiled: nothing may rely on larger ones;
* bytes are read by the loads of `engine.loads`, not checked when compiled: compare with the end first;
* no objects, no exceptions, no float; constants are module-level integers.
"""

from __future__ import annotations

from pcaptool.engine.engine import Engine, kernel_for

__all__ = ["Engine", "kernel_for"]
