"""The modelled stack against real captures of the same scenarios: a row each, and the page made of them.

`python tests/model/fidelity.py` runs every scenario of fixtures/ that has a real capture, compares what the model's
server sent with what the real one did, and writes reports/fidelity.md.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pcaptool.diff import Diff, diff
from pcaptool.errors import CaptureError
from pcaptool.generate import generate
from pcaptool.lab.matrix import frame_counts
from pcaptool.predict import Prediction, predict
from pcaptool.predict.schedule import MOST_RUNS
from pcaptool.scenario import load_scenario

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = ROOT / "fixtures" / "scenarios" / "lab"
CAPTURES = ROOT / "fixtures" / "captures" / "lab"
DEMO = ROOT / "fixtures" / "demo"

# Scenarios whose real runs differ from each other, so that no single capture is the truth, and why: above about
# 15 kB it matters which ACK was processed before the next cut, and when the client read.
_READS = "the client program read at other times, so that its ACKs and windows came otherwise"
_CPUS = "two processors: the client's softirq ran beside the server's system call"
_PACE = "the program's own pace between its writes: TCP stamps a segment when it is built, not when tbf lets it out"
_CONNECTS = "how soon the client's program writes behind connect(), and which connection is accepted first"
_STAMPS = "the relay's own delay: repetitions carry the stamp of what was refused, which is as old as the answer's way"
# Fragments and ICMP errors have no direction to count frames of: tests/model/test_datagrams.py compares these.
DATAGRAMS = {"udp-v4", "udp-v6", "udp-closed-v4", "udp-closed-v6"}
_RELAY = "the relay of this capture held ACKs back and let them go in groups"
RACY = {
    "pmtu-v4": _STAMPS,
    "pmtu-v6": _STAMPS,
    "autocork-tbf": _PACE,
    "delay20-2m-cubic": _RELAY,
    "delay20-bbr-300k": _RELAY,
    "delay20-cubic-300k": _RELAY,
    "delay20-offload-bbr-300k": _RELAY,
    "delay20-reno-300k": _RELAY,
    "gro-100k": _CPUS,
    "live-backlog-abort": _CONNECTS,
    "live-backlog1": _CONNECTS,
    "live-cookies": "the stamp of a cookie's SYN-ACK depends on the clock modulo 64 ms",
    "live-nodelay-chunks": _PACE,
    "live-sndbuf-delay": _READS,
    "live-stall": _READS,
    "loss-acks": _READS,
    "loss-mid-bbr": _RELAY,
    "loss-mid-cubic": "the server closed before, not after, the client's last ACK: who acknowledges the client's FIN",
    "loss-mid-nosack": _READS,
    "loss-mid-reno": _READS,
    "loss-rexmit": _RELAY,
    "loss-veth-mid": _READS,
    "loss-veth-off": _READS,
    "mtu-9000-100k": "the client read while the server went on to close()",
    "off-100k": _READS,
    "off-tso-100k": "who goes on first, the reading client or the closing server: 24 and 22 of 50 runs, others 4",
    "qdisc-pfifo-100k": "the client acknowledged the server's FIN before its own: who acknowledges the client's FIN",
    "raw-100k-tbf": _PACE,
    "reorder-small": _RELAY,
    "size-100k": "the client acknowledged the server's FIN before its own: who acknowledges the client's FIN",
    "size-10m": _READS,
    "size-1m": _READS,
    "v6-off-100k": "the client read while the server went on to close()",
    "zero-window": _READS,
}


@dataclass(frozen=True)
class Row:
    """One scenario."""

    name: str
    frames: int
    equal: int
    client_frames: int
    client_equal: int
    first: str
    gap_p50_us: float
    gap_p95_us: float
    driven: (
        tuple[int, int, int, int] | None
    )  # equal, frames, equal with the usual orders of work, orders chosen


def names() -> list[str]:
    """Scenarios with a real capture."""
    found = [
        p.stem for p in sorted(SCENARIOS.glob("*.toml")) if (CAPTURES / f"{p.stem}.server.pcap").exists()
    ]
    return [*(name for name in found if name not in DATAGRAMS), "demo"]


def compare(name: str, side: str, folder: Path) -> Diff:
    """The model's capture of a scenario against the real one; `side` counts."""
    model = folder / f"{name}.pcapng"
    if not model.exists():
        generate(load_scenario(scenario_file(name)), model)
    return diff(model, real_capture(name), side=side)


def scenario_file(name: str) -> Path:
    """Where a scenario lies."""
    return DEMO / "scenario.toml" if name == "demo" else SCENARIOS / f"{name}.toml"


def real_capture(name: str) -> Path:
    """Where its real capture lies."""
    return DEMO / "real.server.pcap" if name == "demo" else CAPTURES / f"{name}.server.pcap"


def counts(found: Diff, direction: str) -> tuple[int, int]:
    """(frames of the real host, those equal in every field)."""
    return frame_counts(found, direction)


def row(name: str, folder: Path) -> Row:
    """Both directions of one scenario."""
    server, client = compare(name, "server", folder), compare(name, "client", folder)
    frames, equal = counts(server, "server to client")
    client_frames, client_equal = counts(client, "client to server")
    p50, p95 = gap_errors(server)
    first = "" if server.same else server.verdict.split(". ")[1 if ". " in server.verdict else 0]
    why = RACY.get(name, first)
    return Row(name, frames, equal, client_frames, client_equal, why, p50, p95, driven(name, folder))


def driven(name: str, folder: Path) -> tuple[int, int, int, int] | None:
    """A driven run: equal frames, frames of the server, equal ones by the usual orders of work, orders chosen."""
    try:
        made, found = compare_driven(name, folder)
    except CaptureError:
        return None
    frames, equal = counts(found, "server to client")
    usual = equal if not made.chosen else counts(compare_driven(name, folder, 1)[1], "server to client")[1]
    return equal, frames, usual, len(made.chosen)


def compare_driven(name: str, folder: Path, most_runs: int = MOST_RUNS) -> tuple[Prediction, Diff]:
    """The driven run of a scenario's real capture against that capture; the server counts."""
    real, congestion = real_capture(name), load_scenario(scenario_file(name)).host.server.congestion
    out = folder / f"{name}.driven.pcapng"
    made = predict(real, out, settings=lambda host: replace(host, congestion=congestion), most_runs=most_runs)
    return made, diff(made.capture, real, relation="model", side="server")


def gap_errors(found: Diff) -> tuple[float, float]:
    """Median and 95th percentile of |model's gap - real gap| between neighbouring aligned server frames, in us."""
    rows = found.alignment.filter(
        (found.alignment["direction"] == "server to client")
        & found.alignment["n_a"].is_not_null()
        & found.alignment["n_b"].is_not_null()
    ).sort("flow", "n_b")
    errors = []
    for (_flow,), flow in rows.group_by("flow", maintain_order=True):
        gaps_a, gaps_b = flow["time_a_ns"].diff().drop_nulls(), flow["time_b_ns"].diff().drop_nulls()
        errors += (gaps_a - gaps_b).abs().to_list()
    errors.sort()
    if not errors:
        return 0.0, 0.0
    return errors[len(errors) // 2] / 1000, errors[int(len(errors) * 0.95)] / 1000


def repeats() -> dict[str, str]:
    """What reports/repeats.csv says of each scenario."""
    with (ROOT / "reports" / "repeats.csv").open(newline="") as file:
        return {
            line["scenario"]: f"{line['alike']} of {line['runs']}, model {line['model_equals']}"
            for line in csv.DictReader(file)
            if line["runs"] != "0"
        }


def steady(again: dict[str, str]) -> Iterator[str]:
    """Scenarios whose repeated runs are alike without the model, though a recording may be another one."""
    differing = []
    for name, words in again.items():
        alike, runs, model = (int(word.strip(",")) for word in words.replace("model", "of").split(" of "))
        if alike == runs and not model:
            differing.append(name)
    if differing:
        yield f"Run again, {' and '.join(differing)} came out alike each time, and never as the model:"
        yield "docs/limitations.md says what is known of that."


def page(rows: list[Row]) -> Iterator[str]:
    """reports/fidelity.md."""
    total, equal = sum(r.frames for r in rows), sum(r.equal for r in rows)
    yield "# Fidelity: the model against the real kernel\n"
    yield "Made by `make fidelity`: each scenario of `fixtures/` with a real capture (Linux 6.18, two namespaces on"
    yield "veth or a relay), run through the modelled stack and compared by `pcaptool diff --side server` (and"
    yield "`client`). A frame is equal if it was cut alike and every field of every layer and its payload are equal,"
    yield "after the rules of docs/diff.md. (The diff itself says once that a run of frames was cut otherwise.)\n"
    yield f"**{equal} of {total} frames of the server ({100 * equal / total:.1f} %) are equal in every field;"
    whole = sum(r.equal == r.frames for r in rows)
    driven_rows = [r.driven for r in rows if r.driven is not None]
    sure = [r for r in rows if r.name not in RACY]
    yield f"{whole} of {len(rows)} scenarios have no difference at all. Of those that the last column says nothing of,"
    yield f"{sum(r.equal for r in sure)} of {sum(r.frames for r in sure)} frames are equal; of the others it says"
    yield "what the real machine did by chance."
    yield from steady(repeats())
    driven_equal, driven_frames = sum(d[0] for d in driven_rows), sum(d[1] for d in driven_rows)
    yield f"Driven runs: {driven_equal} of {driven_frames} frames ({100 * driven_equal / driven_frames:.2f} %);"
    whole, chosen = sum(d[0] == d[1] for d in driven_rows), sum(d[3] for d in driven_rows)
    yield f"{whole} of {len(driven_rows)} scenarios without a difference. {chosen} orders of work on the two processors"
    yield "were chosen so that what follows fits; with the usual ones alone"
    usual = sum(d[2] for d in driven_rows)
    yield f"{usual} frames ({100 * usual / driven_frames:.1f} %) would be equal.**\n"
    yield "Gap error: how far the time between two neighbouring frames of the server is from the real one; programs'"
    yield "own times (Python's start of a thread: milliseconds) are most of it, and vary as much from run to run.\n"
    yield "Driven: the same capture's client packets played to the modelled server (`pcaptool predict`), and what the"
    yield "model then sent. When a byte may leave is taken from the capture, too (docs/stack.md); what leaves is not."
    yield "+n: so many orders of work were chosen."
    yield "The last column says why a closed run differs.\n"
    yield "Alike: the scenario was run again on a kernel (`tests/model/repeats.py`): how many of the runs are equal"
    yield "to each other in every frame of the server, and how many of them the model equals. Where not all are"
    yield "alike, no closed run can equal them all.\n"
    again = repeats()
    yield (
        "| scenario | server frames | equal | client frames | equal | gap error p50 | p95 | driven | alike"
        " | why not |"
    )
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- | --- |"
    for r in rows:
        played = "no handshake" if r.driven is None else f"{r.driven[0]} of {r.driven[1]}"
        if r.driven is not None and r.driven[3]:
            played += f", +{r.driven[3]}"
        yield (
            f"| {r.name} | {r.frames} | {r.equal} | {r.client_frames} | {r.client_equal} |"
            f" {r.gap_p50_us:.0f} us | {r.gap_p95_us:.0f} us | {played} | {again.get(r.name, '')} | {r.first} |"
        )


def main() -> None:
    """Write the page."""
    with tempfile.TemporaryDirectory() as folder:
        rows = [row(name, Path(folder)) for name in names()]
    (ROOT / "reports" / "fidelity.md").write_text("\n".join(page(rows)) + "\n")
    for r in rows:
        print(f"{r.name:28} {r.equal:4} of {r.frames:4}  {r.first}")  # noqa: T201 - a script's output


if __name__ == "__main__":
    main()
