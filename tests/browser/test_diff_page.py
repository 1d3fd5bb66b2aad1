"""The page of a comparison in a real Chromium: it draws both sides, asks no network, hostile captures stay text."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from pcaptool.diff import diff
from pcaptool.report.comparison import comparison_page
from tests.chromium import PROGRAM, Chromium
from tests.proof.frames import read, write

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium; on Debian: apt-get install chromium"),
]

REPEAT = Path(__file__).resolve().parents[2] / "fixtures" / "captures" / "lab" / "repeat"
# Keeps screenshots there, for people to look at.
PICTURES = os.environ.get("PCAPTOOL_PICTURES")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Chromium(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


def opened(browser, tmp_path, found):
    page = tmp_path / "page.html"
    page.write_bytes(comparison_page(found).encode())
    browser.open(page)
    assert browser.complaints() == []


def test_both_ends_of_a_loss(browser, tmp_path):
    found = diff(REPEAT / "loss-tail.1.client.pcap", REPEAT / "loss-tail.1.server.pcap")
    opened(browser, tmp_path, found)
    assert browser.run("document.querySelector('.verdict').textContent") == found.verdict
    # Both ladders: an arrow for each packet of each side, the lost one on one side only.
    flows = found.listing.filter(found.listing["direction"] != "")
    sides = sum(flows[f"n_{side}"].drop_nulls().len() for side in "ab")
    assert browser.run("document.querySelectorAll('#ladder svg path').length") == sides
    assert browser.run("document.querySelectorAll('#ladder svg path.lone').length") == 1
    rows = "document.querySelectorAll('#packets tbody tr').length"
    assert browser.run(rows) == found.listing.height
    browser.click("#packets input")
    assert browser.run(rows) == 1
    assert browser.run("document.querySelectorAll('#timing .main-svg').length") > 0
    assert "lost-between" in browser.run("document.getElementById('differences').textContent")
    if PICTURES:
        browser.picture(Path(PICTURES) / "diff.png", whole=True)


def test_the_bytes_of_a_header_that_differs_are_marked(browser, tmp_path):
    source = REPEAT / "python-1k.1.server.pcap"
    head, packets = read(source)
    n = next(i for i, p in enumerate(packets) if p.is_tcp and p.payload_bytes)
    raw = bytearray(packets[n].raw)
    raw[22] ^= 1  # time to live
    packets[n] = replace(packets[n], raw=bytes(raw))
    write(tmp_path / "b.pcap", head, packets)
    opened(browser, tmp_path, diff(source, tmp_path / "b.pcap", relation="path"))
    marked = browser.run("[...document.querySelectorAll('#bytes .differs')].map((e) => e.title)")
    assert marked == ["byte 22, ip + 8"] * 2


def test_a_hostile_capture_stays_text(browser, tmp_path):
    a, b = (tmp_path / f"<img src=x onerror=alert({n})>.pcap" for n in (1, 2))
    head, packets = read(REPEAT / "python-1k.1.server.pcap")
    write(a, head, packets)
    n = next(i for i, p in enumerate(packets) if p.is_tcp and p.payload_bytes)
    script = b"</script><script>alert(1)</script>"
    raw = packets[n].raw
    packets[n] = replace(
        packets[n], raw=raw[: packets[n].data_at] + script + raw[packets[n].data_at + len(script) :]
    )
    write(b, head, packets)
    opened(browser, tmp_path, diff(a, b, relation="path"))
    assert browser.run("document.querySelectorAll('main img, main script').length") == 0
    assert "<img src=x onerror=alert(2)>" in browser.run("document.body.textContent")
