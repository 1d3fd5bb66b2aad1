"""`pcaptool replay`: a capture's packets sent again, its requests asked again, or both given to the model."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from pcaptool.cli.terminal import answer, command_line, console, status
from pcaptool.errors import CaptureError, UsageError, printable

if TYPE_CHECKING:
    from pcaptool.replay import Options, Outcome, Pace

__all__ = ["replay"]

_INTERRUPTED = 130


def replay(
    capture: Annotated[str, typer.Argument(help="pcap or pcapng; `-` is standard input.")],
    interface: Annotated[
        list[str] | None,
        typer.Option(
            "-i",
            "--interface",
            help="Where to send; or client=NAME and server=NAME: packets leave by their side's interface.",
            metavar="NAME",
        ),
    ] = None,
    speed: Annotated[str | None, typer.Option(help="Times the recorded speed: 2, 0.5, 1/3.")] = None,
    pps: Annotated[str | None, typer.Option(help="Packets a second instead of recorded times.")] = None,
    mbps: Annotated[str | None, typer.Option(help="10^6 bits a second instead of recorded times.")] = None,
    topspeed: Annotated[bool, typer.Option("--topspeed", help="As fast as it goes.")] = False,
    loop: Annotated[int, typer.Option(min=1, help="Send the capture so many times.")] = 1,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many packets, all rounds together.")
    ] = None,
    only: Annotated[
        str, typer.Option("--filter", help="Only these packets: tcpdump's filter language.")
    ] = "",
    addresses: Annotated[
        list[str] | None, typer.Option("--map", help="Addresses or networks: OLD=NEW. Several times.")
    ] = None,
    mac: Annotated[
        list[str] | None,
        typer.Option(
            help="MACs: OLD=NEW, or src=NEW, dst=NEW for all; client:... or server:... for one side. Several times."
        ),
    ] = None,
    port: Annotated[list[str] | None, typer.Option(help="TCP and UDP ports: OLD=NEW. Several times.")] = None,
    vlan: Annotated[str, typer.Option(help="add:ID or strip.")] = "",
    ttl: Annotated[str, typer.Option(help="Set it (64), or change it (-1, +1).")] = "",
    fix_checksums: Annotated[
        bool, typer.Option("--fix-checksums", help="Recompute all checksums, also those that were wrong.")
    ] = False,
    pad: Annotated[
        bool,
        typer.Option("--pad", help="Fill packets that the capture cut with zeros; else they are refused."),
    ] = False,
    no_segment: Annotated[
        bool, typer.Option("--no-segment", help="Refuse TCP super-packets; else they are cut to the MTU.")
    ] = False,
    verify: Annotated[
        list[str] | None,
        typer.Option(
            help="Capture on the far side and look for every frame: an interface, or NAMESPACE/INTERFACE; as -i.",
            metavar="NAME",
        ),
    ] = None,
    priority: Annotated[int, typer.Option(min=0, max=99, help="Real-time priority of the sender.")] = 0,
    cpu: Annotated[int | None, typer.Option(min=0, help="The processor that the sender runs on.")] = None,
    bypass: Annotated[
        bool,
        typer.Option("--bypass", help="Straight to the driver, past queueing; captures here do not see it."),
    ] = False,
    http: Annotated[
        str | None,
        typer.Option(
            help="Ask this server what clients asked; compare the answers.", metavar="http://HOST:PORT"
        ),
    ] = None,
    host: Annotated[
        list[str] | None,
        typer.Option(help="With --http: Host header to send: OLD=NEW, or NEW for all. Several times."),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.001, help="With --http: seconds to wait for each answer.")
    ] = 30,
    model: Annotated[
        bool,
        typer.Option(
            "--model", help="Give the requests to the modelled server; -o names the capture to write."
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Plan only; needs no permission.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Folder for the table; with --model a capture.", metavar="DIR"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON.")] = False,
) -> None:
    """Send a capture's packets again, at their recorded times; say what became of each.

    Exit code 0: everything planned was sent (with --verify: and arrived); 1: not everything; 2: trouble.
    With --http, real connections ask a server the capture's requests; 0: all answers are the recorded ones.
    With --model the modelled server answers them, as in predict: a capture to compare with this one.
    """
    from pcaptool.replay import Options, Pace, Rewriting, Thread

    pace = Pace.of(speed=speed, pps=pps, mbps=mbps, topspeed=topspeed)
    elsewhere = {
        "-i": interface, "--filter": only, "--map": addresses, "--mac": mac, "--port": port, "--vlan": vlan,
        "--ttl": ttl, "--fix-checksums": fix_checksums, "--pad": pad, "--no-segment": no_segment,
        "--verify": verify, "--priority": priority, "--cpu": cpu is not None, "--bypass": bypass,
        "--dry-run": dry_run, "--loop": loop > 1,
    }  # fmt: skip
    if model:
        timing = {"--http": http, "--speed": speed, "--pps": pps, "--mbps": mbps, "--topspeed": topspeed}
        _alone("--model", elsewhere | timing | {"--limit": limit, "--host": host})
        _model(capture, out, as_json=as_json)
        return
    if http is not None:
        _alone("--http", elsewhere)
        _ask(capture, http, host or [], pace, limit=limit, timeout=timeout, out=out, as_json=as_json)
    if host:
        raise UsageError("--host goes with --http only")
    if not interface:
        raise UsageError("where to? nothing is sent unless an interface is named", hint="-i NAME")
    options = Options(
        pace=pace,
        rewriting=Rewriting(
            addresses=tuple(addresses or ()),
            macs=tuple(mac or ()),
            ports=tuple(port or ()),
            vlan=vlan,
            ttl=ttl,
            fix_checksums=fix_checksums,
            pad=pad,
            segment=not no_segment,
        ),
        only=only,
        limit=limit,
        rounds=loop,
        verify=tuple(verify or ()),
        thread=Thread(priority, cpu),
        bypass=bypass,
        dry=dry_run,
    )
    _send(capture, interface, options, out, as_json=as_json)


def _alone(option: str, others: Mapping[str, object]) -> None:
    """Options that would silently do nothing are refused."""
    given = [name for name, value in others.items() if value]
    if given:
        raise UsageError(f"{given[0]} does not go with {option}")


def _model(capture: str, out: Path | None, *, as_json: bool) -> None:
    """What `pcaptool predict` makes, and a scenario that stands alone."""
    from pcaptool.cli.predict import as_dict, show
    from pcaptool.generate.files import write_scenario
    from pcaptool.predict import predict
    from pcaptool.replay.as_scenario import scenario_of
    from pcaptool.report.words import grid

    if out is None:
        raise UsageError("--model writes a capture", hint="-o OUT.pcapng")
    with status(f"{Path(capture).name}: playing it to the model"):
        made = predict(capture, out)
    path: Path | None = out.with_name(f"{out.name.split('.pcap')[0]}.scenario.toml")
    try:
        found = scenario_of(capture)
        write_scenario(out.with_name(f"{out.name.split('.pcap')[0]}.scenario.toml"), found.scenario)
        notes = found.notes
    except CaptureError as error:
        path, notes = None, (f"no scenario is written: {error.what}",)
    if as_json:
        scenario = {"scenario": path and str(path), "scenario_notes": list(notes)}
        answer(json.dumps(as_dict(made) | scenario, indent=1))
        return
    show(made, Path(capture))
    words = [("note", printable(note)) for note in notes]
    if path is not None:
        run_it = f"pcaptool generate {printable(str(path))} -o OUT.pcapng"
        words = [("scenario", printable(str(path))), *words, ("run it", run_it)]
    console().print(grid(words))


def _ask(
    capture: str,
    url: str,
    hosts: list[str],
    pace: Pace,
    *,
    limit: int | None,
    timeout: float,
    out: Path | None,
    as_json: bool,
) -> NoReturn:
    from pcaptool.replay.asked import ask
    from pcaptool.replay.asking import Server

    server = Server.of(url, hosts, timeout)
    with status(f"{Path(capture).name}: reading requests") as say:
        found = ask(capture, server, pace, limit=limit, out=out, say=say, command=command_line())
    if as_json:
        answer(json.dumps(found.as_dict(), indent=1))
    else:
        from pcaptool.report.asked import asked_renderable

        console().print(asked_renderable(found.as_dict()))
        if out is not None:
            console().print(f"written: {printable(str(out))}/replay_http.parquet", markup=False)
    raise typer.Exit(_INTERRUPTED if found.interrupted else found.exit_code)


def _send(capture: str, interface: list[str], options: Options, out: Path | None, *, as_json: bool) -> None:
    from pcaptool.replay import replay as run_replay

    with status(f"{Path(capture).name}: planning") as say, _counter(say) as progress:
        outcome = run_replay(
            capture, interface, options, out=out, progress=progress, say=say, command=command_line()
        )
    if as_json:
        answer(json.dumps(outcome.as_dict(), indent=1))
    else:
        _print(outcome, out)
    raise typer.Exit(_INTERRUPTED if outcome.ended_by == "interrupted" else outcome.exit_code)


@contextlib.contextmanager
def _counter(say: Callable[[str], None] | None) -> Iterator[Callable[[int, int], None] | None]:
    """Tells the status line how many were sent; None where nobody looks."""
    if say is None or not sys.stderr.isatty():
        yield None
        return
    yield lambda tried, packets: typer.echo(
        f"{tried:,} frames sent; {packets:,} packets planned; Ctrl-C ends it"
    )


def _print(outcome: Outcome, out: Path | None) -> None:
    from pcaptool.report.replay import replay_renderable

    console().print(replay_renderable(outcome.as_dict()))
    if out is not None:
        console().print(f"written: {printable(str(out))}/replay.parquet", markup=False)
