"""The kernel's tracepoints of a run, joined to its captures. Needs root."""

from __future__ import annotations

import os

import dpkt
import polars as pl
import pytest

from pcaptool.errors import SystemRefusedError
from pcaptool.lab import run as lab
from pcaptool.lab import session
from pcaptool.scenario import parse_scenario
from pcaptool.tables.stages import STAGE_NAMES

FUNCTION_STAGES = ("tcp_write_xmit", "__tcp_transmit_skb", "__ip_queue_xmit", "ip_output", "neigh_output")
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root and network namespaces"),
    pytest.mark.xdist_group("lab"),
]


@pytest.mark.parametrize(
    "more",
    [
        "",
        "link.delay_ms = 3",
        "host.server.offload.tso = false",
        'family = 6\nhost.server.qdisc = "pfifo_fast"',
    ],
)
def test_every_frame_that_was_sent_has_its_stages(tmp_path, more):
    plan = parse_scenario(f'{more}\nclient.requests = ["/bytes/0", "/bytes/30000"]')
    made = lab.lab_run(plan, tmp_path)
    assert made.notes == ()
    rows = pl.read_parquet(made.stages)
    assert set(rows["stage"].cast(pl.String)) <= set(STAGE_NAMES)
    for host, mac, path in (
        ("server", b"\x02\x00\x00\x00\x00\x01", made.server),
        ("client", b"\x02\x00\x00\x00\x00\x02", made.client),
    ):
        with path.open("rb") as file:
            frames = list(dpkt.pcap.Reader(file))
        own = rows.filter(pl.col("host") == host)
        for n, (time, data) in enumerate(frames, 1):
            if data[6:12] != mac or data[:2] == b"\x33\x33":
                continue  # multicast of the interface's coming up (MLD) may leave before tracing has begun
            way = own.filter(pl.col("n") == n)
            stages = way["stage"].to_list()
            assert "net_dev_start_xmit" in stages, (host, n, data.hex())
            started = way.filter(pl.col("stage") == "net_dev_start_xmit")
            assert started["len_bytes"].item() == len(data)
            # tcpdump has seen the frame just before; both clocks are CLOCK_REALTIME.
            assert -100_000 < started["ts"].cast(pl.Int64).item() - int(time * 10**9) < 5_000_000
    sends = rows.filter((pl.col("host") == "server") & (pl.col("stage") == "sys_enter_sendto"))
    assert sends["ts"].n_unique() == 2  # one call a response


@pytest.mark.parametrize(("program", "calls"), [("nginx", 3), ("node", 3), ("python", 5)])
def test_the_calls_of_real_programs_are_told(tmp_path, program, calls):
    """writev, sendfile and uncorking of nginx, writev of node, sendto of python: one stage for the call's entry."""
    plan = parse_scenario(
        f'server.profile = "{program}"\n[client]\nrequests = ["/bytes/0", "/bytes/500", "/bytes/900"]\npause_ms = 60'
    )
    made = lab.lab_run(plan, tmp_path)
    assert made.notes == ()
    rows = pl.read_parquet(made.stages).filter((pl.col("host") == "server") & (pl.col("payload_bytes") > 0))
    sent = rows.filter(pl.col("stage") == "net_dev_start_xmit")
    assert len(sent) == calls  # frames with payload
    entered = rows.filter(pl.col("stage") == "sys_enter_sendto")
    # Under Nagle an ACK may let a body go, in a softirq: then no call stands with it.
    assert entered["ts"].n_unique() >= (3 if program == "python" else calls)
    for n in entered["n"]:
        way = rows.filter(pl.col("n") == n)["ts"].cast(pl.Int64).to_list()
        assert way == sorted(way)
        assert way[-1] - way[0] < 5_000_000


def test_where_tracing_is_not_permitted_a_run_goes_on_without_stages(tmp_path, monkeypatch):
    class Refused:
        def __init__(self, _filters, _events):
            pass

        def __enter__(self):
            raise SystemRefusedError("the kernel cannot be traced: operation not permitted")

        def __exit__(self, *_exc):
            pass

    monkeypatch.setattr(session, "Tracer", Refused)
    made = lab.lab_run(parse_scenario(""), tmp_path)
    assert made.stages is None
    assert not (tmp_path / "stages.parquet").exists()
    assert made.notes == ("no stages: the kernel cannot be traced: operation not permitted",)


def test_function_probes_give_stages_or_a_reason(tmp_path):
    """Where bpftrace may probe functions, buffers pass them in the path's order; where not, a note says why."""
    made = lab.lab_run(parse_scenario('client.requests = ["/bytes/5000"]'), tmp_path, functions=True)
    assert made.stages is not None
    table = pl.read_parquet(made.stages).with_columns(pl.col("stage").cast(pl.String))
    table = table.filter(pl.col("host") == "server", pl.col("payload_bytes") > 0)
    found = set(table["stage"]) & set(FUNCTION_STAGES)
    refused = [note for note in made.notes if note.startswith("no function stages: ")]
    assert bool(found) != bool(refused)
    for _, rows in table.group_by("origin"):
        times = dict(zip(rows["stage"], rows["ts"], strict=True))
        order = [
            times[stage]
            for stage in ("tcp_sendmsg_locked", *FUNCTION_STAGES, "net_dev_queue")
            if stage in times
        ]
        assert order == sorted(order)
