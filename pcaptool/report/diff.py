"""A comparison on the terminal: verdict, packets side by side, layers, rules, timing, differences.

Knows: how a `diff.Diff` reads best at 100 columns.
Must not know: how anything in it was computed.
Captured text is escaped (`errors.printable`) and rich's markup is off: nothing captured can colour a
terminal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from pcaptool.errors import printable

if TYPE_CHECKING:
    from pcaptool.diff.result import Diff

__all__ = ["diff_renderable", "diff_text"]

_ARROWS = {"client to server": ">", "server to client": "<", "": " "}
_RELATIONS = {
    "model": "two runs of the same thing: what is random by nature is normalised",
    "path": "the same packets at two points: what happened between them",
    "exact": "the same packets and times expected",
}
_TIMES = {
    "packet": "packet times since the flow's start, B minus A",
    "server_time": "server's time to answer, B minus A",
    "transfer_time": "time to transfer a response, B minus A",
    "one_way_fwd": "way of the client's packets, one point to the other",
    "one_way_rev": "way of the server's packets, one point to the other",
}
_SAMPLES = {
    "server_time": "server's time to answer",
    "transfer_time": "time to transfer a response",
    "gap_fwd": "between the client's packets",
    "gap_rev": "between the server's packets",
}
_CONTEXT = 2
_ALIKE = 4
_OF_A_RUN = 3


def diff_renderable(diff: Diff, *, packets: int = 60, differences: int = 20) -> RenderableType:
    """Everything about a comparison, for a rich console.

    Parameters
    ----------
    diff : Diff
    packets : int
        Rows of the packet list; if there are more, those around differences are shown.
    differences : int
        Differences to list.
    """
    parts: list[RenderableType] = [_head(diff), Text()]
    parts += [Text(printable(diff.verdict), style="bold red" if diff.exit_code else "bold green"), Text()]
    if diff.listing.height:
        parts += [_packets(diff, packets), Text()]
    if any(layer.total("compared") for layer in diff.layers):
        parts += [_layers(diff), Text(), *_rules(diff)]
    if diff.timing:
        parts += [_timing(diff), Text()]
    if any(d.distance is not None and not d.stage for d in diff.distributions):
        parts += [_distributions(diff), Text()]
    if any(d.stage for d in diff.distributions):
        parts += [_stages(diff), Text()]
    if diff.behaviour.height and int(diff.behaviour["differing"].sum()):
        parts += [_behaviour(diff), Text()]
    if diff.differences.height:
        parts += [_differences(diff, differences), Text()]
    if diff.set_aside:
        parts.append(Text(f"{diff.set_aside} differences in the other hosts' packets do not count here."))
    parts += [Text(f"note: {printable(note)}", style="dim") for note in diff.notes]
    return Group(*parts)


def diff_text(diff: Diff, *, width: int = 100, packets: int = 60, differences: int = 20) -> str:
    """The same as plain text without colours."""
    console = Console(
        width=width, no_color=True, highlight=False, markup=False, emoji=False, force_terminal=False
    )
    with console.capture() as capture:
        console.print(diff_renderable(diff, packets=packets, differences=differences))
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def _grid(*columns: tuple[str, str], title: str = "") -> Table:
    """A table without lines; each column is a heading and how it is set (left, right, or wide)."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), title=title or None, title_justify="left",
                  title_style="bold", header_style="dim")  # fmt: skip
    for heading, kind in columns:
        table.add_column(
            Text(heading), justify="right" if kind == "right" else "left", no_wrap=kind != "wide",
            overflow="fold",
            ratio=1 if kind == "wide" else None,
        )  # fmt: skip
    table.expand = any(kind == "wide" for _, kind in columns)
    return table


def _head(diff: Diff) -> RenderableType:
    lines = [f"A  {printable(diff.name_a)}", f"B  {printable(diff.name_b)}"]
    return Text("\n".join([*lines, f"compared as {diff.relation}: {_RELATIONS[diff.relation]}"]))


def _milliseconds(ns: int | None) -> str:
    if ns is None:
        return ""
    micros = abs(ns) // 1000
    return f"{'-' if ns < 0 and micros else ''}{micros // 1000}.{micros % 1000:03d}"


def _packets(diff: Diff, limit: int) -> RenderableType:
    flows = diff.listing.filter(diff.listing["flow"] >= 0)["flow"].n_unique()
    title = "Packets (> from the client, < from the server; = same, ~ differs, - only in A, + only in B)"
    table = _grid(
        ("", "left"), ("n", "right"), ("ms", "right"), ("A", "wide"),
        ("", "left"), ("n", "right"), ("ms", "right"),
        ("B", "wide"), title=title,
    )  # fmt: skip
    shown: tuple[int | None, int | None] = (None, None)
    for row in _chosen(diff.listing.to_dicts(), limit):
        if isinstance(row, str):
            table.add_row("", "", "", Text(row), "", "", "", "", style="dim")
            continue
        mark, style = _mark(row)
        left, right = _both(row, mark, shown)
        shown = (row["n_a"], row["n_b"])
        arrow = _ARROWS[row["direction"]] + (str(row["flow"]) if flows > 1 and row["flow"] >= 0 else "")
        table.add_row(
            arrow, _number(row["n_a"]), _milliseconds(row["time_a_ns"]), Text(left), mark,
            _number(row["n_b"]), _milliseconds(row["time_b_ns"]), Text(right), style=style,
        )  # fmt: skip
    rest = diff.aligned - diff.listing.height
    return (
        Group(table, Text(f"... and {rest} more rows: the table `alignment` has them all", style="dim"))
        if rest > 0
        else table
    )


def _both(row: dict[str, Any], mark: str, shown: tuple[int | None, int | None]) -> tuple[str, str]:
    """Words for both sides: what is the same, or was just shown, is not repeated."""
    left, right = _packet(row["packet_a"], row["options_a"]), _packet(row["packet_b"], row["options_b"])
    if row["how"] == "segmentation":
        left = "(the same packet)" if row["n_a"] == shown[0] else left
        right = "(the same packet)" if row["n_b"] == shown[1] else right
    elif mark == "=":
        right = "the same"
    elif mark == "~" and left == right:
        right = f"differs in {', '.join(row['fields'])}"
    return left, right


def _number(n: int | None) -> str:
    return "" if n is None else str(n)


def _packet(text: str, options: str) -> str:
    """Options only where they are not the usual timestamps."""
    usual = options in ("", "nop,nop,ts") or options.startswith("nop,nop,ts,nop,nop,sack")
    return printable(text if usual else f"{text} <{options}>")


def _mark(row: dict[str, Any]) -> tuple[str, str]:
    if row["n_a"] is None:
        return "+", "red"
    if row["n_b"] is None:
        return "-", "red"
    if row["fields"] or row["how"] == "segmentation":
        return "~", "yellow"
    return "=", ""


def _chosen(rows: list[dict[str, Any]], limit: int) -> Iterator[dict[str, Any] | str]:
    """Rows to show, and in words what is left out between them.

    Of a long run of packets that one packet of the other side stands for, the first ones; if there are still
    more rows than the limit, those near a difference.
    """
    short: list[dict[str, Any] | int] = []
    run = 0
    for i, row in enumerate(rows):
        before = rows[i - 1] if i else None
        cut = row["how"] == "segmentation" and before is not None and before["how"] == "segmentation"
        run = (
            run + 1 if cut and before and (row["n_a"] == before["n_a"] or row["n_b"] == before["n_b"]) else 0
        )
        if run < _OF_A_RUN:
            short.append(row)
        elif isinstance(short[-1], int):
            short[-1] += 1
        else:
            short.append(1)
    near: set[int] = set()
    for i, item in enumerate(short):
        if isinstance(item, int) or _mark(item)[0] != "=":
            near.update(range(max(0, i - _CONTEXT), min(len(short), i + _CONTEXT + 1)))
    wanted = range(len(short)) if len(short) <= limit or not near else sorted(near)
    at = 0
    for i in list(wanted)[:limit]:
        if i > at:
            yield f"... {i - at} alike ..."
        item = short[i]
        yield f"... {item} more frames of it ..." if isinstance(item, int) else item
        at = i + 1
    if at < len(short):
        yield (
            f"... {len(short) - at} more rows ..."
            if near and max(near) >= at
            else f"... {len(short) - at} alike ..."
        )


def _layers(diff: Diff) -> RenderableType:
    table = _grid(
        ("layer", "left"), ("compared", "right"), ("equal", "right"), ("by a rule", "right"),
        ("differ", "right"),
        ("which", "wide"), title="Layers, field by field",
    )  # fmt: skip
    for layer in diff.layers:
        wrong = [
            f"{f.name} ({f.differing})"
            for f in sorted(layer.fields, key=lambda f: -f.differing)
            if f.differing
        ]
        counts = [str(layer.total(what)) for what in ("compared", "equal", "normalised", "differing")]
        style = "yellow" if wrong else ""
        table.add_row(layer.name, *counts, Text(", ".join(wrong) or "-"), style=style)
    return table


def _rules(diff: Diff) -> list[RenderableType]:
    used = [r for r in diff.rules if r.count]
    switched = [f"{r.name} {'on' if r.on else 'off'}" for r in diff.rules if r.switched]
    if not used and not switched:
        return []
    table = _grid(("rule", "left"), ("values", "right"), ("what it makes equal", "wide"), title="Rules used")
    for rule in used:
        table.add_row(rule.name, str(rule.count), Text(rule.what))
    parts: list[RenderableType] = [table] if used else []
    if switched:
        parts.append(Text(f"switched: {', '.join(switched)}", style="dim"))
    return [*parts, Text()]


def _timing(diff: Diff) -> RenderableType:
    table = _grid(
        ("what", "left"), ("count", "right"), ("min", "right"), ("median", "right"), ("95 %", "right"),
        ("max", "right"),
        title="Timing in ms",
    )  # fmt: skip
    for t in diff.timing:
        figures = [_milliseconds(v) for v in (t.min_ns, t.p50_ns, t.p95_ns, t.max_ns)]
        table.add_row(_TIMES.get(t.what, t.what), str(t.count), *figures)
    return table


def _distributions(diff: Diff) -> RenderableType:
    table = _grid(
        ("what", "left"), ("", "left"), ("count", "right"), ("5 %", "right"), ("25 %", "right"), ("median", "right"),
        ("75 %", "right"), ("95 %", "right"), ("distance", "right"), ("p", "right"),
        title="Times of each side in ms; distance and p: Kolmogorov-Smirnov",
    )  # fmt: skip
    for d in diff.distributions:
        if d.distance is None or d.probability is None or d.stage:
            continue
        told = [("", ""), (f"{d.distance:.2f}", f"{d.probability:.2g}")]
        sides = (("A", d.count_a, d.quantiles_a), ("B", d.count_b, d.quantiles_b))
        for (side, count, quantiles), test in zip(sides, told, strict=True):
            what = printable(_SAMPLES.get(d.what, d.what)) if side == "A" else ""
            table.add_row(Text(what), side, str(count), *[_milliseconds(q) for q in quantiles], *test)
    return table


def _stages(diff: Diff) -> RenderableType:
    table = _grid(
        ("stage", "left"), ("A count", "right"), ("median", "right"), ("95 %", "right"), ("B count", "right"),
        ("median", "right"), ("95 %", "right"), ("distance", "right"), ("p", "right"),
        title="Times from stage to stage in us; distance and p: Kolmogorov-Smirnov",
    )  # fmt: skip
    for d in (d for d in diff.distributions if d.stage):
        cells = []
        for count, quantiles in ((d.count_a, d.quantiles_a), (d.count_b, d.quantiles_b)):
            cells += [str(count), *(f"{quantiles[i] / 1000:.3f}" for i in (2, 4))]
        untold = d.distance is None or d.probability is None
        test = ("", "") if untold else (f"{d.distance:.2f}", f"{d.probability:.2g}")
        table.add_row(Text(printable(d.stage)), *cells, *test)
    return table


def _behaviour(diff: Diff) -> RenderableType:
    table = _grid(
        ("direction", "left"), ("measure", "left"), ("A", "right"), ("B", "right"), ("flows that differ", "right"),
        ("first", "right"), title="Behaviour that differs, over all flows",
    )  # fmt: skip
    for row in diff.behaviour.filter(diff.behaviour["differing"] > 0).iter_rows(named=True):
        table.add_row(
            row["direction"], row["measure"], str(row["a"]), str(row["b"]), f"{row['differing']} of {row['flows']}",
            f"flow {row['flow']}",
        )  # fmt: skip
    return table


def _differences(diff: Diff, limit: int) -> RenderableType:
    table = _grid(
        ("field", "left"), ("A n", "right"), ("B n", "right"), ("A", "wide"), ("B", "wide"),
        ("cause", "left"),
        title="Differences, most important first",
    )  # fmt: skip
    seen: Counter[str] = Counter()
    told = 0
    for row in diff.differences.iter_rows(named=True):
        seen[row["field"]] += 1
        if seen[row["field"]] > _ALIKE or told >= limit:
            continue
        told += 1
        table.add_row(
            row["field"], _number(row["n_a"]), _number(row["n_b"]), Text(printable(row["value_a"])),
            Text(printable(row["value_b"])), row["cause"],
        )  # fmt: skip
    rest = diff.differing - told
    if rest <= 0:
        return table
    return Group(
        table, Text(f"... and {rest} more of these fields: the table `differences` has them", style="dim")
    )
