"""The page of a comparison: what stands in its data block, and that nothing captured can become markup."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

from pcaptool.diff import diff
from pcaptool.report.comparison import comparison_page
from tests.proof.frames import edit, read, write

LAB = Path(__file__).resolve().parents[3] / "fixtures" / "captures" / "lab"


def block(page):
    found = re.search(r'<script type="application/json" id="content">(.*?)</script>', page, re.DOTALL)
    return json.loads(found[1])


def test_a_lost_packet_is_in_the_list_and_in_the_byte_view():
    name = LAB / "repeat" / "loss-mid-cubic"
    found = diff(f"{name}.client.pcap", f"{name}.server.pcap", relation="path")
    data = block(comparison_page(found))
    lone = [row for row in data["packets"] if row["n"][0] is None]
    assert [row["n"] for row in lone] == [[None, 12]]
    assert lone[0]["text"][1].startswith(". 5793:7241 (1448)")
    one = data["bytes"][0]
    _, packets = read(Path(f"{name}.server.pcap"))
    assert one["n"] == [None, 12]
    assert bytes.fromhex(one["hex"][1]) == packets[11].raw[:512]
    assert one["headers"][1][:3] == [["link", 0, 14], ["ip", 14, 34], ["tcp", 34, 66]]
    assert data["one_way"]
    assert len(data["deltas"]["server to client"][0]) == sum(
        row["way"] == 1 and None not in row["n"] for row in data["packets"]
    )


def test_the_byte_that_differs_differs_in_the_view(tmp_path):
    source = LAB / "size-10240.server.pcap"
    head, packets = read(source)
    at = next(i for i, p in enumerate(packets) if p.is_tcp and p.payload_bytes)
    changed = edit(packets[at], 22, b"\x05")
    write(tmp_path / "b.pcap", head, [*packets[:at], changed, *packets[at + 1 :]])
    data = block(comparison_page(diff(source, tmp_path / "b.pcap", relation="exact")))
    [one] = data["bytes"]
    x, y = (bytes.fromhex(h) for h in one["hex"])
    assert (one["n"], one["fields"]) == ([at + 1, at + 1], ["ip.ttl"])
    assert [i for i in range(len(x)) if x[i] != y[i]] == [22, 24]  # TTL, and its byte of the sum


def test_names_cannot_become_markup_and_no_request_leaves(tmp_path):
    source = LAB / "size-10240.server.pcap"
    found = replace(diff(source, source), name_a="</script><script>alert(1)</script>\x1b[31m")
    page = comparison_page(found)
    assert "<script>alert" not in page
    assert block(page)["a"].startswith("</script>")
    assert "\x1b" not in page
    assert "default-src 'none'" in page
    data = block(page)
    assert data["same"]
    assert data["differences"] == data["bytes"] == []


def test_answers_without_comparison_have_a_page():
    empty = diff(LAB / "size-10240.server.pcap", LAB / "size-10240.server.pcap", relation="exact")
    data = block(
        comparison_page(replace(empty, layers=(), rules=(), aligned=0, listing=empty.listing.head(0)))
    )
    assert data["packets"] == []
