"""Run a scenario and write its captures, its stages and the scenario as it was run.

Knows: names of the files of a run, how a tap's frames become records.
Must not know: the stack's inside, arguments, printing.
With one tap the capture has the name that was asked for; with several, each has the tap's name in it
(x.server.pcapng, x.wire.pcapng). Stages lie beside it as x.stages.parquet, the scenario as x.scenario.toml.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pcaptool.engine import Engine
from pcaptool.errors import UsageError
from pcaptool.file import Interface, open_writer
from pcaptool.generate.records import KERNEL, write_frames
from pcaptool.scenario import Costs, Scenario, check_scenario, load_costs, load_scenario, parse_scenario
from pcaptool.stack.run import TAPS, RunResult, run_scenario
from pcaptool.wire.linktype import LinkType

__all__ = ["Run", "checked_taps", "format_of", "generate", "settled_plan", "stem_of"]

COMPILE_AFTER = 500_000  # segments: compiling takes some seconds, which is what machine code saves in so many


@dataclass(frozen=True, slots=True)
class Run:
    """What `generate` made.

    Parameters
    ----------
    captures : dict
        Tap name to the capture file.
    stages : Path
        Parquet file of the `stages` table.
    scenario_path : Path
        The scenario as it was run: every key that differs from its default, with the seed.
    scenario : Scenario
    packets : dict
        Tap name to the packets in its capture.
    duration_ns : int
        Virtual time from the start to the last packet.
    notices : tuple of str
        What the run has to say.
    """

    captures: dict[str, Path]
    stages: Path
    scenario_path: Path
    scenario: Scenario
    packets: dict[str, int]
    duration_ns: int
    notices: tuple[str, ...]

    @property
    def capture(self) -> Path:
        """The first tap's capture."""
        return next(iter(self.captures.values()))


def generate(
    scenario: Scenario | str | Path,
    out: str | Path,
    *,
    taps: Sequence[str] = ("server",),
    seed: int | None = None,
    costs: Costs | str | Path | None = None,
    format: Literal["pcap", "pcapng"] | None = None,  # noqa: A002 - the word people use
    progress: Callable[[str], None] | None = None,
    annotate: bool = False,
) -> Run:
    """Run a scenario through the modelled stack and write what its taps saw.

    Parameters
    ----------
    scenario : Scenario or path
        A scenario, or the TOML file that holds one.
    out : path
        The capture file; other files of the run get their names from it.
    taps : sequence of {"server", "client", "wire"}
        Where to capture.
    seed : int, optional
        Instead of the scenario's.
    costs : Costs or path, optional
        Instead of the scenario's; a file as `pcaptool lab calibrate` writes it.
    format : {"pcap", "pcapng"}, optional
        Without: by the name, pcapng unless it ends in .pcap.
    progress : callable, optional
        Told what happens now.
    annotate : bool
        A comment on each packet says what the stack did with it; pcapng only.

    Raises
    ------
    ScenarioError
        The scenario cannot be.
    OutputError
        A file cannot be written.
    UsageError
        No tap, or an unknown one; comments in a pcap file.

    Examples
    --------
    >>> import tempfile
    >>> run = generate(Scenario(), Path(tempfile.mkdtemp()) / "x.pcapng")
    >>> run.capture.name, run.packets, run.stages.name
    ('x.pcapng', {'server': 12}, 'x.stages.parquet')
    """
    taps = checked_taps(taps, annotate=annotate, format=format or format_of(Path(out)))
    plan = settled_plan(scenario, seed=seed, costs=costs)
    say = progress or (lambda _text: None)
    say("running the model")
    with _no_collector():
        # Nobody here keeps the result: it is gone before the collector comes back.
        result = [run_scenario(plan, taps, annotate=annotate)]
        return _write(plan, result.pop(), Path(out), format, say)


def checked_taps(taps: Sequence[str], *, annotate: bool, format: str) -> tuple[str, ...]:  # noqa: A002 - as above
    """The taps, each once.

    Raises
    ------
    UsageError
        There is none, or one is unknown; or the format has no room for what is wanted.
    """
    if not taps or (unknown := [tap for tap in taps if tap not in TAPS]):
        what = f"unknown tap {unknown[0]!r}" if taps else "no tap is given"
        raise UsageError(what, hint=f"taps are {', '.join(TAPS)}")
    if annotate and format == "pcap":
        raise UsageError("a pcap file holds no comments", hint="write pcapng")
    return tuple(dict.fromkeys(taps))


def settled_plan(
    scenario: Scenario | str | Path,
    *,
    seed: int | None = None,
    costs: Costs | str | Path | None = None,
    text: bool = False,
) -> Scenario:
    """A scenario as it will be run; with `text` it is what a file would hold.

    Raises
    ------
    ScenarioError
        It cannot be.
    """
    if text:
        plan = parse_scenario(str(scenario))
    else:
        plan = scenario if isinstance(scenario, Scenario) else load_scenario(scenario)
    if seed is not None:
        plan = replace(plan, seed=seed)
    if costs is not None:
        plan = replace(plan, costs=costs if isinstance(costs, Costs) else load_costs(costs))
    if isinstance(scenario, Scenario):
        check_scenario(plan)
    return plan


@contextmanager
def _no_collector() -> Iterator[None]:
    """Without the cycle collector: a run makes hundreds of thousands of rows that all stay, and it walks them all."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _write(
    plan: Scenario,
    result: RunResult,
    out: Path,
    format: Literal["pcap", "pcapng"] | None,  # noqa: A002 - as above
    say: Callable[[str], None],
) -> Run:
    from pcaptool.generate.files import write_scenario, write_stages  # noqa: PLC0415 - loads Arrow

    engine = Engine("auto", witness=KERNEL, compile_after=COMPILE_AFTER)
    captures: dict[str, Path] = {}
    packets: dict[str, int] = {}
    stem = stem_of(out)
    say("writing")
    for tap, frames in result.frames.items():
        path = out if len(result.frames) == 1 else out.with_name(f"{stem}.{tap}{out.name[len(stem) :]}")
        chosen = format or format_of(path)
        device = (plan.host.client if tap == "client" else plan.host.server).device
        interface = Interface(LinkType.ETHERNET, name=device if tap != "wire" else "wire")
        with open_writer(path, chosen, [interface]) as writer:
            write_frames(writer, frames, engine)
        captures[tap], packets[tap] = path, writer.packets
    stages = out.with_name(f"{stem}.stages.parquet")
    write_stages(stages, result, plan)
    scenario_path = out.with_name(f"{stem}.scenario.toml")
    write_scenario(scenario_path, plan)
    last_ns = max((frames.last_ns for frames in result.frames.values()), default=0)
    return Run(
        captures=captures,
        stages=stages,
        scenario_path=scenario_path,
        scenario=plan,
        packets=packets,
        duration_ns=max(0, last_ns - plan.start_time_ns),
        notices=result.notices,
    )


def format_of(path: Path) -> Literal["pcap", "pcapng"]:
    """What a name asks for."""
    return "pcap" if ".pcap" in path.suffixes else "pcapng"


def stem_of(out: Path) -> str:
    """The name without .pcap, .pcapng and a compression's ending."""
    name = out.name
    for ending in (".gz", ".zst", ".lz4"):
        name = name.removesuffix(ending)
    return name.removesuffix(".pcapng").removesuffix(".pcap") or out.name
