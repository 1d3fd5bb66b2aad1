"""How long buffers took from one stage of the egress path to the next, on both sides.

Knows: the `stages` table (`tables.stages`) and the order in which the kernel's egress path passes them; a clone or a
cut goes on where its origin was.
Must not know: packets, or where the table came from (`load`).
Leaves out: stages that only one side has (a trace has tracepoints, a model all functions): a step leads from one
common stage to the next. Ingress hooks. A buffer's address that the kernel uses again begins anew.
"""

from __future__ import annotations

import polars as pl

from pcaptool.diff.distributions import STAGE_PREFIX, Distribution, distribution_of

__all__ = ["COLUMNS", "stage_distributions", "stage_steps"]

COLUMNS = frozenset({"skb", "origin", "host", "stage", "ts"})  # that are read

# Linux 6.12: tcp_sendmsg() to the driver; __dev_queue_xmit() runs the egress hook before its tracepoint.
_PATH = (
    "sys_enter_sendto", "tcp_sendmsg_locked", "udp_sendmsg", "udp_send_skb", "tcp_write_xmit", "__tcp_transmit_skb",
    "__ip_queue_xmit", "nf_inet_local_out", "ip_output", "nf_inet_post_routing", "neigh_output", "sch_handle_egress",
    "net_dev_queue", "qdisc_enqueue", "qdisc_dequeue", "net_dev_start_xmit", "net_dev_xmit", "wire", "kfree_skb",
)  # fmt: skip
_RANKS = {name: rank for rank, name in enumerate(_PATH)}


def stage_distributions(a: pl.DataFrame | None, b: pl.DataFrame | None) -> list[Distribution]:
    """Each step's times on both sides, in the order of the path; nothing where a side has no stages.

    Parameters
    ----------
    a, b : polars.DataFrame or None
        `stages` tables.

    Examples
    --------
    >>> ts = pl.Series([0, 700, 1500]).cast(pl.Datetime("ns"))
    >>> a = pl.DataFrame({"skb": [1, 1, 1], "origin": [1, 1, 1], "host": "server", "ts": ts,
    ...                   "stage": ["ip_output", "net_dev_queue", "wire"]})
    >>> [(d.what, d.quantiles_a[2], d.quantiles_b[2]) for d in stage_distributions(a, a[[0, 2]])]
    [('stage server: ip_output to wire', 1500, 1500)]
    """
    if a is None or b is None:
        return []
    common = set(a["stage"].unique().to_list()) & set(b["stage"].unique().to_list())
    x, y = (
        stage_steps(side.filter(pl.col("stage").cast(pl.String).is_in(sorted(common)))) for side in (a, b)
    )
    out = []
    keys = ["host", "rank_before", "rank", "before", "stage"]
    for host, _, _, before, stage in x.select(keys).unique().sort(keys[:3]).iter_rows():
        mine = (pl.col("host") == host) & (pl.col("before") == before) & (pl.col("stage") == stage)
        samples = [side.filter(mine)["took_ns"].to_numpy() for side in (x, y)]
        found = distribution_of(f"{STAGE_PREFIX}{host}: {before} to {stage}", samples[0], samples[1])
        out += [found] if found is not None else []
    return out


def stage_steps(stages: pl.DataFrame) -> pl.DataFrame:
    """A row each time a buffer passed a stage behind another one: host, before, stage, their ranks, took_ns."""
    texts = [pl.col(name).cast(pl.String) for name in ("host", "stage")]
    rows = stages.select("skb", "origin", *texts, ts=pl.col("ts").cast(pl.Int64)).with_columns(
        rank=pl.col("stage").replace_strict(_RANKS, default=None, return_dtype=pl.Int64)
    )
    rows = rows.drop_nulls("rank").sort("ts", "rank", maintain_order=True)
    own = ["host", "skb"]
    rows = rows.with_columns(
        before=pl.col("stage").shift(1).over(own), rank_before=pl.col("rank").shift(1).over(own),
        ts_before=pl.col("ts").shift(1).over(own),
    )  # fmt: skip
    first = pl.col("before").is_null() & (pl.col("origin") != pl.col("skb"))
    begun = rows.filter(first).drop("before", "rank_before", "ts_before")
    passed = rows.select("host", "ts", origin="skb", before="stage", rank_before="rank", ts_before="ts")
    cloned = begun.join_asof(passed, on="ts", by=["host", "origin"], check_sortedness=False)
    columns = ["host", "before", "stage", "rank_before", "rank"]
    every = pl.concat([
        part.select(*columns, took_ns=pl.col("ts") - pl.col("ts_before"))
        for part in (rows.filter(~first.fill_null(value=False)), cloned)
    ])  # fmt: skip
    return every.filter(pl.col("rank") > pl.col("rank_before"))
