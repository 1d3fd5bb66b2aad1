"""Every decoded column with a Wireshark name, in every packet, against tshark."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pcaptool.engine import Engine
from pcaptool.verify import compare, verify

pytestmark = pytest.mark.oracle

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "captures"
SAMPLE = ("size-10240", "off-1k", "half-close", "nosack", "mtu-9000-100k", "concurrent-4")
CORPUS = os.environ.get("PCAPTOOL_CORPUS")


def corpus():
    folder = Path(CORPUS) if CORPUS else FIXTURES
    return sorted(p for p in folder.glob("*.pcap*") if p.is_file()) if CORPUS else []


def no_mismatch(path, engine):
    verdict = verify(path, engine=engine)
    assert verdict.values or verdict.meant
    assert not verdict.mismatches, "\n".join(map(str, verdict.mismatches[:10]))


@pytest.mark.parametrize("name", SAMPLE)
def test_fixtures_equal_tshark(name):
    no_mismatch(FIXTURES / "lab" / f"{name}.server.pcap", Engine("plain"))


@pytest.mark.corpus
@pytest.mark.skipif(not CORPUS, reason="PCAPTOOL_CORPUS names no folder")
@pytest.mark.parametrize("path", corpus(), ids=lambda p: p.name)
def test_the_corpus_equals_tshark(path):
    no_mismatch(path, Engine("plain"))


def test_a_wrong_value_would_be_found():
    frames = compare.frames

    def twisted(*args, **kwargs):
        found = frames(*args, **kwargs)
        ip = found["ip"]
        return found | {"ip": ip.with_columns(ttl=ip["ttl"] + (ip["n"] == 5).cast(ip["ttl"].dtype))}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, "frames", twisted)
        verdict = verify(FIXTURES / "lab" / "size-1.server.pcap")
    assert [(m.n, m.table, m.column) for m in verdict.mismatches] == [(5, "ip", "ttl")]
