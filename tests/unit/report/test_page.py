"""The page: what stands in it, in which order, how large it grows, and that nothing captured becomes markup."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64decode, b64encode
from html.parser import HTMLParser

import dpkt
import polars as pl
import pytest

from pcaptool.analyze.pipeline import analyze
from pcaptool.cli.report import write_page
from pcaptool.errors import UsageError
from pcaptool.report.page import Limits, data_block, html_page
from pcaptool.report.page.segments import MARKS, _kept
from pcaptool.report.page.values import rows_within
from pcaptool.tables import TCP

EVIL = "</script><img src=x onerror=alert(1)>@@SCRIPT@@"


@pytest.fixture(scope="module")
def demo(fixtures, tmp_path_factory):
    """The report of the demo's real capture."""
    return analyze(fixtures / "demo" / "real.server.pcap", tmp_path_factory.mktemp("page") / "r")


class Page(HTMLParser):
    """The elements of a page, and the text of its scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.policy = [], [], ""
        self._inside = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if dict(attrs).get("http-equiv") == "Content-Security-Policy":
            self.policy = dict(attrs)["content"]
        if tag == "script":
            self.scripts.append("")
            self._inside = True

    def handle_endtag(self, tag):
        if tag == "script":
            self._inside = False

    def handle_data(self, data):
        if self._inside:
            self.scripts[-1] += data


def content_of(text):
    return json.loads(Page(text).scripts[0])


def test_a_page_holds_the_exchanges_flows_and_tables(demo):
    found = content_of(html_page(demo))
    assert found["exchanges"]["columns"]["target"] == [
        "/bytes/0", "/bytes/1", "/bytes/1000", "/bytes/10240", "/bytes/102400",
    ]  # fmt: skip
    assert [flow["total"] for flow in found["flows"]] == [29]
    counts = {table["name"]: table["total"] for table in found["tables"]}
    assert counts["packets"] == 31
    assert counts["http"] == 5


def test_segments_stand_in_the_order_of_the_capture(demo):
    flow = content_of(html_page(demo))["flows"][0]
    assert flow["n"] == sorted(flow["n"])
    assert flow["t"] == sorted(flow["t"])
    assert flow["n"][0] == 3  # the SYN, after two ARP packets


def test_a_sample_keeps_the_beginning_and_what_is_marked(fixtures, tmp_path):
    report = analyze(fixtures / "captures/lab/loss-mid-cubic.server.pcap", tmp_path / "r")
    whole = content_of(html_page(report))["flows"][0]
    some = content_of(html_page(report, limits=Limits(segments=60)))["flows"][0]
    assert len(some["n"]) < len(whole["n"]) == whole["total"] == some["total"]
    assert some["n"] == sorted(some["n"])
    assert some["n"][:20] == whole["n"][:20]
    marked = [n for n, mark in zip(whole["n"], whole["mark"], strict=True) if mark]
    assert marked
    assert set(marked[:20]) <= set(some["n"])


def test_every_mark_is_a_column():
    assert set(MARKS) <= {column.name for column in TCP.columns}


def test_captured_text_never_becomes_markup(tmp_path, fixtures):
    real = (fixtures / "demo" / "real.server.pcap").read_bytes()
    assert len("/</script><") == len("/bytes/1000")
    capture = tmp_path / "evil.pcap"
    capture.write_bytes(real.replace(b"GET /bytes/1000 ", b"GET /</script>< "))
    report = analyze(capture, tmp_path / "r")
    page = html_page(report, title=EVIL)
    plain = Page(html_page(analyze(fixtures / "demo" / "real.server.pcap", tmp_path / "plain")))
    evil = Page(page)
    assert [tag for tag, _ in evil.tags] == [tag for tag, _ in plain.tags]
    assert evil.scripts[1:] == plain.scripts[1:]
    found = content_of(page)
    assert "/</script><" in found["exchanges"]["columns"]["target"]
    assert found["title"] == EVIL


def test_the_policy_names_exactly_the_scripts(demo):
    page = Page(html_page(demo))
    allowed = re.findall(r"'sha256-([^']+)'", page.policy)
    digests = [b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in page.scripts[1:]]
    assert sorted(allowed) == sorted(digests)
    assert page.policy.startswith("default-src 'none'")
    assert not [tag for tag, attrs in page.tags if "src" in attrs or "href" in attrs]


def test_data_in_a_block_reads_back():
    value = {"a": "</script><!--", "b": [1, None, "ü\u2028"]}
    assert "<" not in data_block(value)
    assert json.loads(data_block(value)) == value


@pytest.mark.parametrize("period", [2, 3, 142])
def test_a_sample_of_periodic_traffic_keeps_each_kind(period):
    total, most = 141_148, 3000
    frame = pl.DataFrame({"position": range(total)}).with_columns(
        pl.lit(total).cast(pl.UInt32).alias("total"), pl.lit(0).alias("mark"), pl.lit(0).alias("marked")
    )
    kept = frame.filter(_kept(most))["position"]
    assert most // 2 < len(kept) <= most
    late = kept.filter(kept > total * 9 // 10)
    assert (late % period).n_unique() >= min(period, len(late) // 2)


def test_rows_are_counted_as_they_are_escaped():
    frame = pl.DataFrame({"a": ["<" * 200] * 1000})
    rows = rows_within(frame, 20_000)
    assert 0 < len(data_block(rows)) <= 20_000


def test_a_notebook_shows_a_report_and_no_markup_of_a_capture(fixtures, tmp_path):
    path = tmp_path / "<img src=x onerror=alert(1)>.pcap"
    path.write_bytes((fixtures / "demo" / "real.server.pcap").read_bytes())
    shown = analyze(path, tmp_path / "r")._repr_html_()
    assert "<img" not in shown
    assert "&lt;img src=x" in shown
    assert re.search(r"<td>http</td><td>5</td>", shown)


def test_a_page_holds_the_bytes_of_packets_where_the_capture_is_at_hand(fixtures, tmp_path):
    capture = fixtures / "demo" / "real.server.pcap"
    report = analyze(capture, tmp_path / "r")
    assert content_of(html_page(report))["frames"] is None
    write_page(report, tmp_path / "p.html", captures=[capture])
    found = content_of((tmp_path / "p.html").read_text())["frames"]
    with capture.open("rb") as file:
        packets = [raw for _, raw in dpkt.pcap.Reader(file)]
    assert [int(n) for n in found["frames"]] == list(range(1, len(packets) + 1))
    for n, (captured, text) in found["frames"].items():
        assert captured == len(packets[int(n) - 1])
        assert b64decode(text) == packets[int(n) - 1][: found["cut"]]


def test_a_page_of_many_packets_holds_bytes_of_some(fixtures, tmp_path):
    capture = fixtures / "captures/lab/loss-mid-cubic.server.pcap"
    report = analyze(capture, tmp_path / "r")
    asked = []
    page = html_page(report, limits=Limits(frames=20), frames=lambda wanted: asked.append(wanted) or {})
    assert content_of(page)["frames"]["frames"] == {}
    (wanted,) = asked
    assert len(wanted) == 20
    assert 35 in wanted  # the repetition


def test_bytes_are_those_of_the_packets_that_a_filter_let_through(fixtures, tmp_path):
    capture = fixtures / "demo" / "real.server.pcap"
    report = analyze(capture, tmp_path / "r", packet_filter="tcp")
    write_page(report, tmp_path / "p.html", captures=[capture])
    first = b64decode(content_of((tmp_path / "p.html").read_text())["frames"]["frames"]["1"][1])
    assert dpkt.ethernet.Ethernet(first).type == dpkt.ethernet.ETH_TYPE_IP


def test_another_capture_than_the_reports_is_refused(fixtures, tmp_path):
    report = analyze(fixtures / "demo" / "real.server.pcap", tmp_path / "r")
    with pytest.raises(UsageError, match="is not the capture of this report"):
        write_page(report, tmp_path / "p.html", captures=[fixtures / "captures/lab/size-1.server.pcap"])
    assert not (tmp_path / "p.html").exists()
