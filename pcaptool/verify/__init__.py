"""Our columns against another decoder's, value by value.

Knows: Wireshark's names of columns (`tables`), how tshark is run, which differences are meant.
Must not know: how either decodes.
"""

from __future__ import annotations

from pcaptool.verify.compare import Mismatch, Verdict, verify

__all__ = ["Mismatch", "Verdict", "verify"]
