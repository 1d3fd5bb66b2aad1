"""A host of a scenario in its namespace: addresses, sysctls, offloads, routes, queueing discipline.

Knows: which kernel setting each key of `[host.*]` stands for, and how it is read back.
Must not know: who makes the device (`link`), programs, captures.
What the kernel does not take is an error; what belongs to the whole machine (net.core.rmem_max, CONFIG_HZ) is left
alone and said in a note where it is not as the scenario wants it.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from pcaptool.errors import SystemRefusedError
from pcaptool.lab.namespaces import Namespace
from pcaptool.scenario import Host

__all__ = ["before_device", "facts", "kernel_hz", "set_up", "sysctls"]

_MACHINE_WIDE = ("net.core.rmem_max", "net.core.wmem_max")
_FEATURES = {
    "tso": "tcp-segmentation-offload",
    "gso": "generic-segmentation-offload",
    "gro": "generic-receive-offload",
    "tx": "tx-checksumming",
}


def sysctls(host: Host) -> dict[str, str]:
    """Sysctls of a host and their values.

    Examples
    --------
    >>> sysctls(Host(tcp_sack=False))["net.ipv4.tcp_sack"], sysctls(Host())["net.ipv4.tcp_rmem"]
    ('0', '4096 131072 33554432')
    """
    out = {"net.ipv4.ip_default_ttl": _text(host.ttl)}
    for item in fields(host):
        if item.name.startswith("tcp_"):
            out[f"net.ipv4.{item.name}"] = _text(getattr(host, item.name))
        elif item.name in ("rmem_max", "wmem_max"):
            out[f"net.core.{item.name}"] = _text(getattr(host, item.name))
    return out


def _text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(int(value))


def before_device(namespace: Namespace, host: Host, family: int) -> list[str]:
    """Set the namespace's sysctls, which devices inherit; returns notes.

    Raises
    ------
    SystemRefusedError
        The kernel does not know a sysctl or does not take a value.
    """
    namespace.run(
        "sysctl",
        "-qw",
        f"net.ipv6.conf.default.disable_ipv6={int(family == 4)}",
        "net.ipv6.conf.default.router_solicitations=0",
        f"net.ipv6.conf.default.hop_limit={host.ttl}",
    )
    wanted = sysctls(host)
    found = _read(namespace, wanted)
    differing = {name: value for name, value in wanted.items() if found.get(name) != value}
    notes = [
        f"{namespace.role}: {name} is {found.get(name, 'unknown')}, not {value}: it belongs to the whole machine"
        for name, value in differing.items()
        if name in _MACHINE_WIDE
    ]
    to_set = {name: value for name, value in differing.items() if name not in _MACHINE_WIDE}
    for name, value in list(to_set.items()):
        if name not in found and value == sysctls(Host())[name]:
            notes.append(f"{namespace.role}: this kernel has no {name}")
            del to_set[name]
    if to_set:
        namespace.run("sysctl", "-qw", *(f"{name}={value}" for name, value in to_set.items()))
        found = _read(namespace, to_set)
        for name, value in to_set.items():
            if found.get(name) != value:
                raise SystemRefusedError(
                    f"{name} = {value} was not taken; it is {found.get(name, 'unknown')}"
                )
    return notes


def _read(namespace: Namespace, names: dict[str, str]) -> dict[str, str]:
    out = {}
    for line in namespace.run("sysctl", "-e", *names, check=False).splitlines():
        name, _, value = line.partition(" = ")
        out[name] = " ".join(value.split())
    return out


def set_up(namespace: Namespace, host: Host, peer: Host, family: int) -> list[str]:
    """Configure the device that is there already, and bring it up; returns notes.

    Raises
    ------
    SystemRefusedError
        A command failed.
    """
    device = host.device
    if family == 6:
        # No link-local address, so no detection of its duplicates among the frames. (Below 1280 there is no IPv6.)
        namespace.ip("link", "set", device, "addrgenmode", "none")
    namespace.ip("link", "set", device, "address", host.mac, "mtu", str(host.mtu))
    notes = list(_offloads(namespace, host))
    if host.qdisc != "noqueue" or _qdisc(namespace, host) != "noqueue":
        namespace.run("tc", "qdisc", "replace", "dev", device, "root", *host.qdisc.split())
    namespace.ip("link", "set", device, "up")
    own, other, bits, net = (host.ipv4, peer.ipv4, 32, 24) if family == 4 else (host.ipv6, peer.ipv6, 128, 64)
    namespace.ip("addr", "add", f"{own}/{net}", "dev", device, *(["nodad"] if family == 6 else []))
    # A route to the peer alone: it sets the algorithm of every socket, accepted ones too, also where the sysctl
    # refuses algorithms that are restricted outside the first namespace.
    words = [f"{other}/{bits}", "dev", device, "src", own, "congctl", host.congestion]
    if host.initial_cwnd != Host().initial_cwnd:
        words += ["initcwnd", str(host.initial_cwnd)]
    namespace.ip(f"-{family}", "route", "replace", *words)
    return notes


def _offloads(namespace: Namespace, host: Host) -> Iterator[str]:
    wanted = {
        "tx": host.offload.tx_checksum,
        "tso": host.offload.tso and host.offload.tx_checksum,
        "gso": host.offload.gso,
        "gro": host.offload.gro,
    }
    found = _features(namespace, host)
    words = [
        word for name, on in wanted.items() if found.get(name) != on for word in (name, "on" if on else "off")
    ]
    if words:
        namespace.run("ethtool", "-K", host.device, *words, check=False)
        found = _features(namespace, host)
    for name, on in wanted.items():
        if found.get(name) != on:
            yield f"{namespace.role}: {_FEATURES[name]} stays {'off' if on else 'on'} on {host.device}"


def _features(namespace: Namespace, host: Host) -> dict[str, bool]:
    words = {long: short for short, long in _FEATURES.items()}
    out = {}
    for line in namespace.run("ethtool", "-k", host.device).splitlines():
        name, _, value = line.strip().partition(": ")
        if name in words:
            out[words[name]] = value.startswith("on")
    return out


def _qdisc(namespace: Namespace, host: Host) -> str:
    words = namespace.run("tc", "qdisc", "show", "dev", host.device).split()
    return words[1] if len(words) > 1 else "noqueue"


def facts(namespace: Namespace, host: Host) -> dict[str, Any]:
    """What the kernel says about a host that is set up."""
    route = namespace.ip("-4", "route", "show").splitlines()
    route += namespace.ip("-6", "route", "show").splitlines()
    return {
        "sysctl": _read(namespace, sysctls(host)),
        "offload": _features(namespace, host),
        "qdisc": namespace.run("tc", "-s", "qdisc", "show", "dev", host.device).strip(),
        "routes": [line.strip() for line in route],
        "device": namespace.ip("-s", "link", "show", "dev", host.device).strip().splitlines(),
    }


def kernel_hz() -> int | None:
    """CONFIG_HZ of the running kernel where it tells."""
    try:
        text = gzip.decompress(Path("/proc/config.gz").read_bytes()).decode()
    except OSError:
        return None
    match = re.search(r"^CONFIG_HZ=(\d+)$", text, re.MULTILINE)
    return int(match[1]) if match else None
