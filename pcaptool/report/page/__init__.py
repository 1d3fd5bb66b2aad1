"""The page to look at: one HTML file that holds a report, its script and its plots, and asks no network.

Knows: what a page is made of and how its parts are kept from each other. Must not know: how a value was found.

Captured text reaches the page as JSON in a data block in which no `<` occurs, passed through
`errors.printable`; the script writes it as text, never as markup. Beyond that, a content security policy
allows the page's own two scripts by their digests and nothing else: no other script runs, no request leaves.
Plots are drawn by plotly.js, which the package `plotly` brings along.
"""

from __future__ import annotations

import base64
import hashlib
import json
from importlib import resources

from pcaptool._version import __version__
from pcaptool.report.page.content import Limits, content
from pcaptool.report.page.details import Frames
from pcaptool.tables.report import Report

__all__ = ["Frames", "Limits", "html_page"]


def html_page(
    report: Report, title: str = "", limits: Limits | None = None, frames: Frames | None = None
) -> str:
    r"""A report as a self-contained HTML page.

    Parameters
    ----------
    report : Report
        Any of its tables may be missing, or have some of its columns only; what needs them is left out.
    title : str
        By default the names of the captures it was made from.
    limits : Limits, optional
        What to show of large reports; the defaults keep the page of a million packets below 10 MB.
    frames : callable, optional
        Gives captured bytes of packets by their numbers; a page without it shows no bytes.

    Returns
    -------
    str
        The page, to be written as UTF-8.

    Examples
    --------
    >>> import tempfile
    >>> from pcaptool.analyze.pipeline import analyze
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = analyze("fixtures/captures/lab/size-1.server.pcap", folder + "/r")
    ...     page = html_page(report)
    >>> page[:15], len(page) < 10_000_000
    ('<!doctype html>', True)
    """
    from plotly.offline import get_plotlyjs  # noqa: PLC0415 - five megabytes of text, only for a page

    found = content(report.whole_tables(), limits or Limits(), frames)
    found["title"] = title or found["title"]
    found["version"] = __version__
    script, plots = _part("page.js") + _part("details.js"), str(get_plotlyjs())
    parts = {
        "POLICY": _policy(script, plots),
        "STYLE": _part("page.css"),
        "CONTENT": data_block(found),
        "PLOTS": plots,
        "SCRIPT": script,
    }
    # Names and text take turns; what is put in is not read again.
    return "".join(parts.get(piece, piece) for piece in _part("page.html").split("@@"))


def data_block(value: object) -> str:
    r"""JSON that cannot end the element that it stands in.

    Examples
    --------
    >>> data_block({"a": "</script><!--"})
    '{"a":"\\u003c/script>\\u003c!--"}'
    """
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _part(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def _policy(*scripts: str) -> str:
    digests = (base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:"
