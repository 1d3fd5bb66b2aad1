"""Why a segment is repeated, what flies and what a sender waits for: our estimates against the model, which knows.

The model's own functions are watched while it runs (what called `tcp_transmit_skb`, and with which window); the
estimates see the capture only.
"""

from __future__ import annotations

from collections import Counter

import polars as pl
import pytest

from pcaptool.analyze.pipeline import frames
from pcaptool.engine import Engine
from pcaptool.generate.run import generate
from pcaptool.stack.tcp import output, timers
from pcaptool.stack.tcp.sock import CaState

SCENARIO = """
[client]
requests = ["/bytes/{size}"]

[host.server.offload]
tso = false

[link]
delay_ms = {delay}

{drops}
"""


class Watch:
    """What the model does: sequence number and cause of each repetition, congestion window at each transmission."""

    def __init__(self, patch):
        self.causes, self.windows, self.running = [], {}, {}
        transmit = output.tcp_transmit_skb

        def watched(sk, skb):
            if sk.host.name == "server" and skb.length:
                after = "after_rto" if sk.ca_state is CaState.LOSS else "fast"
                mss = output.current_mss(sk)
                for at in range(0, skb.length, mss):  # a buffer leaves as several segments
                    seq = (skb.seq + at) & 0xFFFFFFFF
                    self.windows.setdefault(seq, []).append(sk.snd_cwnd * mss)
                    if skb.retransmitted:
                        self.causes.append((seq, self.running.get(id(sk)) or after))
            return (yield from transmit(sk, skb))

        patch.setattr(output, "tcp_transmit_skb", watched)
        self.mark(patch, "_send_loss_probe", "tlp")
        self.mark(patch, "_retransmit_timeout", "rto")

    def mark(self, patch, name, cause):
        before = getattr(timers, name)

        def marked(sk):
            self.running[id(sk)] = cause
            yield from before(sk)
            self.running[id(sk)] = None

        patch.setattr(timers, name, marked)


def run(monkeypatch, tmp_path, drops, size=100_000, delay=10, extra=""):
    watch = Watch(monkeypatch)
    path = tmp_path / "scenario.toml"
    path.write_text(SCENARIO.format(size=size, delay=delay, drops=drops) + extra)
    capture = tmp_path / "model.pcap"
    generate(path, capture)
    return watch, frames(capture, ["tcp", "flows", "packets"], engine=Engine("plain"))


def ours(tables):
    """Repeated data of the server."""
    rows = tables["tcp"].filter(
        ~pl.col("fwd") & pl.col("retransmission_cause").is_not_null() & (pl.col("len") > 0)
    )
    return list(rows.select("seq_raw", pl.col("retransmission_cause").cast(pl.String)).iter_rows())


def drop(*nth):
    return f"[[link.drop]]\nnth = {list(nth)}\n"


CASES = {
    "one in the middle": (5,),
    "a burst": (5, 6, 7, 8),
    "the same twice": (5, 71),
    "the tail": (70,),
    "two of the tail": (69, 70),
    "the whole of the first flight": tuple(range(1, 11)),
    "every seventh": tuple(range(4, 80, 7)),
    "the first": (1,),
    "many repetitions, too": (*range(20, 60, 2), 75, 76, 80),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("delay", [1, 10, 60])
def test_causes_are_the_models(monkeypatch, tmp_path, name, delay):
    watch, tables = run(monkeypatch, tmp_path, drop(*CASES[name]), delay=delay)
    assert watch.causes, "the case makes no repetition"
    assert ours(tables) == watch.causes
    counted = Counter(cause for _, cause in watch.causes)
    flow = tables["flows"].row(0, named=True)
    assert (flow["rtos_rev"], flow["fast_retransmissions_rev"], flow["tlps_rev"]) == (
        counted["rto"],
        counted["fast"],
        counted["tlp"],
    )


@pytest.mark.parametrize("name", ["one in the middle", "a burst", "the tail"])
def test_the_window_is_not_below_the_estimate(monkeypatch, tmp_path, name):
    watch, tables = run(monkeypatch, tmp_path, drop(*CASES[name]), size=400_000)
    sent = tables["tcp"].filter(~pl.col("fwd") & (pl.col("len") > 0))
    equal = 0
    for seq, estimate in sent.select("seq_raw", "cwnd_estimate_bytes").drop_nulls().iter_rows():
        windows = watch.windows[seq]
        if len(windows) == 1:  # not repeated
            assert estimate <= windows[0] + 1448, seq  # a loss probe may go beyond
            equal += estimate > 0.8 * windows[0]
    assert equal > 20  # and it is not far below where the window is what limits


def late(nth, extra_ms):
    return f"[[link.late]]\nnth = [{nth}]\nextra_ms = {extra_ms}\n"


@pytest.mark.parametrize(("nth", "extra_ms", "cause"), [(5, 12, "fast"), (70, 260, "tlp"), (1, 222, "rto")])
def test_what_was_only_late_is_shown_to_be_needless(monkeypatch, tmp_path, nth, extra_ms, cause):
    size = 1000 if nth == 1 else 100_000
    extra = "[host.server]\ntcp_sack = false\n" if cause == "rto" else ""
    watch, tables = run(monkeypatch, tmp_path, late(nth, extra_ms), size=size, extra=extra)
    assert cause in {found for _, found in watch.causes}
    repeated = (
        tables["tcp"].filter(pl.col("retransmission_cause").is_not_null() & ~pl.col("fwd"))["n"].to_list()
    )
    shown = tables["tcp"].filter(pl.col("fwd"))["needless_n"].drop_nulls().to_list()
    assert shown
    assert set(shown) <= set(repeated)
    assert tables["flows"]["needless_retransmissions_rev"][0] >= len(shown)


def test_what_was_lost_is_not_called_needless(monkeypatch, tmp_path):
    _, tables = run(monkeypatch, tmp_path, drop(5, 20, 70))
    assert tables["tcp"]["needless_n"].drop_nulls().to_list() == []


@pytest.mark.parametrize(
    ("extra", "limit"),
    [
        ("[host.client]\ntcp_rmem = [4096, 16384, 16385]\n", "rwnd"),
        ("", "cwnd"),
    ],
)
def test_who_limits_a_download(monkeypatch, tmp_path, extra, limit):
    _, tables = run(
        monkeypatch, tmp_path, "", size=1_000_000 if limit == "cwnd" else 100_000, delay=40, extra=extra
    )
    flow = tables["flows"].row(0, named=True)
    assert flow["limited_by_rev"] == limit
    lasted = tables["packets"]["ts"].cast(pl.Int64).max() - tables["packets"]["ts"].cast(pl.Int64).min()
    names = ("idle_ns", "application_limited_ns", "rwnd_limited_ns", "cwnd_limited_ns")
    assert 0 < sum(flow[f"{name}_rev"] for name in names) <= lasted


@pytest.mark.slow
def test_compiled_as_plain(monkeypatch, tmp_path):
    _, plain = run(monkeypatch, tmp_path, drop(5, 6, 7, 70) + late(40, 25))
    compiled = frames(tmp_path / "model.pcap", ["tcp", "flows", "packets"], engine=Engine("compiled"))
    for name, table in plain.items():
        texts = pl.col(pl.Categorical).cast(pl.String)
        assert compiled[name].with_columns(texts).equals(table.with_columns(texts))
