"""A comparison as one HTML page that asks no network: verdict, ladder, packets, bytes, timing.

Knows: what the page is made of. Must not know: how anything was found.
Captured text reaches the page as JSON in a data block in which no `<` occurs, passed through `errors.printable`; the
script writes it as text, never as markup, and a content security policy allows the page's own two scripts only, as
in `report.page`, whose style it shares.
"""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import TYPE_CHECKING

from pcaptool._version import __version__
from pcaptool.report.comparison.content import content
from pcaptool.report.page import data_block

if TYPE_CHECKING:
    from pcaptool.diff.result import Diff

__all__ = ["comparison_page"]


def comparison_page(diff: Diff) -> str:
    """A comparison as a self-contained HTML page, to be written as UTF-8.

    Parameters
    ----------
    diff : Diff

    Examples
    --------
    >>> from pcaptool.diff import diff
    >>> capture = "fixtures/captures/lab/size-1.server.pcap"
    >>> page = comparison_page(diff(capture, capture))
    >>> page[:15], len(page) < 10_000_000
    ('<!doctype html>', True)
    """
    from plotly.offline import get_plotlyjs  # noqa: PLC0415 - five megabytes of text, only for a page

    script, plots = _part(__package__, "page.js"), str(get_plotlyjs())
    digests = (base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in (script, plots))
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    parts = {
        "POLICY": f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:",
        "STYLE": _part("pcaptool.report.page", "page.css") + _part(__package__, "page.css"),
        "CONTENT": data_block({**content(diff), "version": __version__}),
        "PLOTS": plots,
        "SCRIPT": script,
    }
    # Names and text take turns; what is put in is not read again.
    return "".join(parts.get(piece, piece) for piece in _part(__package__, "page.html").split("@@"))


def _part(package: str, name: str) -> str:
    return resources.files(package).joinpath(name).read_text("utf-8")
