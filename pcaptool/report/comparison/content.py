"""What the page of a comparison shows, as plain values.

Knows: which parts of a `Diff` people look at, and how much of each.
Must not know: HTML.
All text that may stem from captures or file names is escaped (`errors.printable`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pcaptool.errors import printable

if TYPE_CHECKING:
    from pcaptool.diff.result import Diff, PacketBytes

__all__ = ["content"]

_DIFFERENCES, _POINTS = 500, 4000


def content(diff: Diff) -> dict[str, Any]:
    """The page's data."""
    value, deltas = _deltas(diff)
    return {
        "a": printable(diff.name_a),
        "b": printable(diff.name_b),
        "relation": diff.relation,
        "same": diff.same,
        "verdict": printable(diff.verdict),
        "differing": diff.differing,
        "notes": [printable(note) for note in diff.notes],
        "layers": [
            {
                "name": layer.name,
                **{w: layer.total(w) for w in ("compared", "equal", "normalised", "differing")},
                "fields": [[f.name, f.differing] for f in layer.fields if f.differing],
            }
            for layer in diff.layers
        ],
        "rules": [[r.name, r.count, r.what] for r in diff.rules if r.count],
        "differences": [
            {k: printable(v) if isinstance(v, str) else v for k, v in row.items() if k != "weight"}
            for row in diff.differences.head(_DIFFERENCES).iter_rows(named=True)
        ],
        "aligned": diff.aligned,
        "packets": [_row(row) for row in diff.listing.iter_rows(named=True)],
        "bytes": [_bytes(one) for one in diff.bytes_view()],
        "behaviour": diff.behaviour.to_dicts(),
        "distributions": [
            {"what": printable(d.what), "distance": d.distance, "probability": d.probability,
             "a": list(d.curve_a), "b": list(d.curve_b), "count_a": d.count_a, "count_b": d.count_b}
            for d in diff.distributions
        ],
        "one_way": value == "delay_ns",
        "deltas": deltas,
    }  # fmt: skip


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "flow": row["flow"],
        "way": {"client to server": 0, "server to client": 1}.get(row["direction"], -1),
        "n": [row["n_a"], row["n_b"]],
        "t": [row["time_a_ns"], row["time_b_ns"]],
        "text": [
            printable(
                f"{row[f'packet_{s}']} <{row[f'options_{s}']}>" if row[f"options_{s}"] else row[f"packet_{s}"]
            )
            for s in "ab"
        ],
        "how": row["how"],
        "fields": row["fields"],
    }


def _bytes(one: PacketBytes) -> dict[str, Any]:
    return {
        "n": [one.n_a, one.n_b],
        "fields": list(one.fields),
        "hex": [one.a.hex(), one.b.hex()],
        "headers": [list(one.headers_a), list(one.headers_b)],
    }


def _deltas(diff: Diff) -> tuple[str, dict[str, list[list[int]]]]:
    """Time in A and how much later in B (on a path the one-way delay), of some packets, evenly chosen."""
    out: dict[str, list[list[int]]] = {}
    table = diff.rows(min(diff.aligned, 50 * _POINTS))
    value = "delay_ns" if table["delay_ns"].count() else "delta_ns"
    table = table.drop_nulls(value)
    for way in ("client to server", "server to client"):
        some = table.filter(table["direction"] == way)
        if some.height:
            some = some.gather_every(max(1, some.height // (_POINTS // 2)))
            out[way] = [some[c].to_list() for c in ("time_a_ns", value, "n_a", "n_b")]
    return value, out
