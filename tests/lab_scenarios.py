"""A lab run's scenario.json to a Scenario: how the bundled scenarios under fixtures/scenarios/lab were made.

    python tests/lab_scenarios.py LAB/NAME/scenario.json > fixtures/scenarios/lab/NAME.toml

The lab is the project's script that runs one HTTP scenario between two network namespaces on a real kernel.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from pcaptool.scenario import (
    Client,
    Drop,
    Host,
    Hosts,
    Late,
    Link,
    Nginx,
    Offload,
    Request,
    Route,
    Scenario,
    Server,
    dump_scenario,
)

_DIRECTIONS = {"s2c": "server-to-client", "c2s": "client-to-server"}
_WRITES = {"one": "one", "two": "head-then-body", "chunks": "chunks"}
_PROFILES = {name: name for name in ("python", "nginx", "node", "express")}
_PROFILES |= {"raw": "reference", "closed": "reference"}
_KEPT = {300: 298}  # a frame of the kernel's ring had no room for two of them
_FLAGS = {"tcp_sack", "tcp_dsack", "tcp_window_scaling", "tcp_autocorking"}


def from_lab(lab: dict[str, Any]) -> Scenario:
    """The scenario of a lab run.

    Parameters
    ----------
    lab : dict
        The `scenario` object of the run's scenario.json.

    Raises
    ------
    ValueError
        What a Scenario cannot say: an unknown server program, curl as the client.
    """
    if lab["server"]["kind"] not in _PROFILES or lab["client"].get("kind", "py") != "py":
        raise ValueError(f"{lab['name']}: server {lab['server']['kind']}, client {lab['client'].get('kind')}")
    hosts = Scenario().host
    return Scenario(
        name=lab["name"],
        note=lab["note"],
        family=lab["family"],
        snaplen=_KEPT.get(lab["snaplen"], lab["snaplen"]),
        server=_server(lab),
        client=_client(lab),
        host=Hosts(server=_host(lab, 0, hosts.server), client=_host(lab, 1, hosts.client)),
        link=_link(lab),
    )


def _server(lab: dict[str, Any]) -> Server:
    opt = lab["server"]
    if opt["kind"] in ("python", "nginx", "node", "express"):
        return _program(opt)
    route = Route(
        write=_WRITES[opt.get("write", "one")],
        chunk_bytes=opt.get("chunk", 4096),
        pause_ns=_ns(opt.get("pause_ms", 0)),
        nodelay=opt.get("nodelay", False),
        cork=opt.get("cork", False),
        more=opt.get("more", False),
    )
    after = opt.get("close_after", 0)
    return Server(
        listen=opt["kind"] != "closed",
        routes=(route,),
        close="rst" if opt.get("close") == "rst" else ("server" if after else "client"),
        close_after=after,
        shutdown=bool(opt.get("shutdown")),
        sndbuf=opt.get("sndbuf"),
        rcvbuf=opt.get("rcvbuf"),
    )


def _program(opt: dict[str, Any]) -> Server:
    """A server program; the lab's Python was 3.11.7, its nginx 1.22.1."""
    words = [line.split() for line in opt.get("conf", "").split(";") if line.split()]
    directives = dict(words)
    switches = {
        name: directives.get(name, "off") == "on" for name in ("sendfile", "tcp_nopush") if directives
    }
    idle = directives.get("keepalive_timeout")
    return Server(
        profile=opt["kind"],
        version="3.11.7" if opt["kind"] == "python" else "",
        keepalive_timeout_ns=_ns(float(idle) * 1000) if idle else None,
        nginx=Nginx(**switches),
    )


def _client(lab: dict[str, Any]) -> Client:
    opt = lab["client"]
    return Client(
        connections=lab["connections"],
        stagger_ns=_ns(lab["stagger_ms"]),
        requests=tuple(Request("GET", f"/bytes/{n}") for n in lab["sizes"]),
        keepalive=lab["keepalive"],
        pipeline=opt.get("pipeline", False),
        pause_ns=_ns(opt.get("pause_ms", 0)),
        close=opt.get("close", "auto"),
        rst_after_bytes=opt.get("rst_after", 0),
        half_close=opt.get("half_close", False),
        hold_ns=_ns(opt.get("hold_ms", 0)),
        rcvbuf=opt.get("rcvbuf"),
        read_chunk_bytes=opt.get("read_chunk", 1 << 18),
        read_pause_ns=_ns(opt.get("read_pause_ms", 0)),
        stall_ns=_ns(opt.get("stall_ms", 0)),
        nodelay=opt.get("nodelay", False),
        port=opt.get("port"),
    )


def _host(lab: dict[str, Any], side: int, standard: Host) -> Host:
    name = ("server", "client")[side]
    switches = {k: v == "on" for k, v in lab["offload"].get(name, {}).items()}
    plain = lab["link"] == "tap" and not lab["tap_offload"]  # a TAP without vnet header takes finished frames
    offload = Offload(
        tso=switches.get("tso", not plain),
        gso=switches.get("gso", True),
        gro=switches.get("gro", False),
        tx_checksum=switches.get("tx", not plain),
    )
    host = replace(
        standard,
        device=lab.get("dev", ["eth0", "eth0"])[side],
        mtu=lab["mtu"],
        offload=offload,
        qdisc=(lab["qdisc"] or "noqueue") if side == 0 else "noqueue",
        congestion=lab["cc"],
    )
    sysctls = {**lab["sysctl"], **lab[f"{name}_sysctl"]}
    return replace(host, **{k.rsplit(".", 1)[1]: _sysctl(k.rsplit(".", 1)[1], v) for k, v in sysctls.items()})


def _sysctl(name: str, value: Any) -> Any:
    if name in _FLAGS:
        return bool(value)
    return tuple(int(word) for word in value.split()) if isinstance(value, str) else value


def _link(lab: dict[str, Any]) -> Link:
    return Link(
        delay_ns=_ns(lab["delay_ms"]),
        spacing_ns=_ns(lab.get("spacing_ms", 0)),
        queue_packets=lab.get("queue", 0),
        drops=tuple(
            Drop(direction=_DIRECTIONS[d["dir"]], match=d["match"], nth=tuple(d["nth"])) for d in lab["drop"]
        ),
        late=tuple(
            Late(
                direction=_DIRECTIONS[d["dir"]],
                match=d["match"],
                nth=tuple(d["nth"]),
                extra_ns=_ns(d["extra_ms"]),
            )
            for d in lab["jitter_order"]
        ),
    )


def _ns(milliseconds: float) -> int:
    return round(milliseconds * 1_000_000)


if __name__ == "__main__":
    sys.stdout.write(dump_scenario(from_lab(json.loads(Path(sys.argv[1]).read_text())["scenario"])))
