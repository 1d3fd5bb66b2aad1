"""The page in a real Chromium: it draws, clicks lead somewhere, hostile captures stay text."""

from __future__ import annotations

import os
import re
from pathlib import Path

import dpkt
import pytest

import pcaptool
from pcaptool.analyze.pipeline import analyze
from pcaptool.cli.report import write_page
from tests.chromium import PROGRAM, Chromium

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium; on Debian: apt-get install chromium"),
]

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>"
ESCAPE = "\x1b[2J\x1b]0;owned\x07"
# Keeps screenshots there, for people to look at.
PICTURES = os.environ.get("PCAPTOOL_PICTURES")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Chromium(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture(scope="module")
def staged_page(fixtures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    capture = folder / "m.pcapng"
    pcaptool.generate(fixtures / "demo" / "scenario.toml", capture)
    report = analyze(capture, folder / "r", stages=folder / "m.stages.parquet")
    write_page(report, folder / "page.html", captures=[capture])
    return folder / "page.html"


def frame(sport, dport, seq, data, *, ack=1, udp=False):
    if udp:
        inner = dpkt.udp.UDP(sport=sport, dport=dport, data=data, ulen=8 + len(data))
    else:
        inner = dpkt.tcp.TCP(sport=sport, dport=dport, seq=seq, ack=ack, flags=24, data=data)
    back = sport < dport and not udp
    ends = (b"\x0a\0\0\2", b"\x0a\0\0\1") if back else (b"\x0a\0\0\1", b"\x0a\0\0\2")
    ip = dpkt.ip.IP(src=ends[0], dst=ends[1], p=17 if udp else 6, data=inner)
    ip.len = len(ip)
    return bytes(dpkt.ethernet.Ethernet(dst=b"\2" * 6, src=b"\4" * 6, type=0x800, data=ip))


def client_hello(name):
    """A ClientHello that asks for a server by this name (RFC 8446 section 4.1.2, RFC 6066 section 3)."""
    server = b"\0" + len(name).to_bytes(2, "big") + name.encode()
    extension = b"\0\0" + (len(server) + 2).to_bytes(2, "big") + len(server).to_bytes(2, "big") + server
    hello = b"\3\3" + bytes(32) + b"\0" + b"\0\2\x13\1" + b"\1\0"
    hello += len(extension).to_bytes(2, "big") + extension
    message = b"\1" + len(hello).to_bytes(3, "big") + hello
    return b"\x16\3\1" + len(message).to_bytes(2, "big") + message


def hostile_capture(path):
    """Markup and terminal escapes wherever captured text reaches a page: HTTP, DNS, TLS, the file's own name."""
    evil = (SCRIPT + ESCAPE).encode()
    request = (
        b"GET /"
        + SCRIPT.replace(" ", "%20").encode()
        + b" HTTP/1.1\r\nHost: "
        + evil
        + b"\r\nX-Evil: "
        + evil
    )
    answer = b"HTTP/1.1 200 " + evil + b"\r\nContent-Type: " + evil + b"\r\nContent-Length: 2\r\n\r\nok"
    label = bytes((len(SCRIPT[:60]),)) + SCRIPT[:60].encode()
    query = b"\0\1\1\0\0\1\0\0\0\0\0\0" + label + bytes((len(ESCAPE),)) + ESCAPE.encode() + b"\0\0\1\0\1"
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        for k, raw in enumerate(
            [
                frame(4000, 80, 1, request),
                frame(80, 4000, 1, answer, ack=1 + len(request)),
                frame(5000, 53, 0, query, udp=True),
                frame(4001, 443, 1, client_hello(SCRIPT[:40])),
            ]
        ):
            writer.writepkt_time(raw, 1_700_000_000 + k / 100)


def test_the_page_draws_and_complains_of_nothing(browser, staged_page):
    browser.open(staged_page)
    assert browser.complaints() == []
    for plot in ("waterfall", "parts", "sequence", "trips"):
        assert browser.run(f"document.querySelectorAll('#{plot} .main-svg').length") > 0, plot
    assert browser.run("document.querySelectorAll('#ladder svg path').length") == 29


def test_a_click_in_the_ladder_shows_the_packets_bytes(browser, staged_page):
    browser.open(staged_page)
    browser.click('#ladder rect[data-n="8"]')
    assert browser.run("document.getElementById('packet-n').value") == "8"
    shown = browser.run("document.getElementById('bytes').textContent")
    assert shown.startswith("0000  ")
    assert "HTTP/1.1 200" in re.sub(r"\n.{4}  .{50} ", "", shown)
    fields = browser.run("document.getElementById('fields').textContent")
    assert "tcp" in fields
    assert "srcport80" in fields
    browser.click("#packet-next")
    assert browser.run("document.getElementById('packet-n').value") == "9"
    if PICTURES:
        browser.run("document.getElementById('packet').scrollIntoView()")
        browser.picture(Path(PICTURES) / "packet.png")


def test_stages_of_a_chosen_frame(browser, staged_page):
    browser.open(staged_page)
    browser.run(
        "(() => { const e = document.getElementById('stage-frame'); e.value = '8';"
        " e.dispatchEvent(new Event('change')); })()"
    )
    rows = browser.run("[...document.querySelectorAll('#way tbody tr')].map((r) => r.cells[0].textContent)")
    assert rows[:3] == ["sys_enter_sendto", "tcp_sendmsg_locked", "tcp_write_xmit"]
    assert rows[-1] == "wire"


def test_tables_are_searched_and_sorted_by_clicks(browser, staged_page):
    browser.open(staged_page)
    browser.click("#table-http")
    assert browser.run("document.querySelectorAll('#tables tbody tr').length") == 5
    browser.type("#search", "/bytes/1024")
    shown = browser.run("[...document.querySelectorAll('#tables tbody tr')].map((r) => r.textContent)")
    assert len(shown) == 2  # 1024 begins 10240 and 102400
    assert all("/bytes/1024" in row for row in shown)
    browser.click("#tables th")
    assert "▲" in browser.run("document.querySelector('#tables th').textContent")


def test_a_hostile_capture_stays_text(browser, tmp_path):
    capture = tmp_path / "<img src=x onerror=alert(3)>.pcap"
    hostile_capture(capture)
    report = analyze(capture, tmp_path / "r", command="pcaptool " + SCRIPT)
    assert report.counts["http"] == report.counts["dns"] == report.counts["tls"] == 1
    write_page(report, tmp_path / "page.html", title="", captures=[capture])
    page = (tmp_path / "page.html").read_bytes()
    assert b"\x1b[2J" not in page
    browser.open(tmp_path / "page.html")
    for table in ("http", "dns", "tls", "packets"):
        browser.click(f"#table-{table}")
        shown = browser.run("document.getElementById('tables').textContent")
        assert "\x1b" not in shown
        if table != "packets":
            assert "<script>alert(1)" in shown, table
    for n in (1, 2, 3, 4):
        browser.run(f"page.onPacket({n})")
        assert "\x1b" not in browser.run("document.getElementById('packet').textContent")
    assert browser.run("document.querySelectorAll('img, iframe, object, embed').length") == 0
    assert browser.run("document.querySelectorAll('script').length") == 3
    assert browser.run("document.querySelectorAll('main script').length") == 0
    assert browser.complaints() == []
    assert "<img src=x onerror=alert(3)>" in browser.run("document.title")
