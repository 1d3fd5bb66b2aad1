"""A link of the kernel's own: a bridge in a third namespace, netem on both of its ports (tc-netem(8)).

Knows: tc's words for a link; which links netem can be; the commands that build it.
Must not know: what runs on the hosts.

The hosts' devices keep their own queueing disciplines, and their tcpdumps see frames before the delay, as with the
relay in user space; frames that shall be lost are lost where they come in from the sender. Super-packets and partial
checksums pass as they are. Frames that are late one by one, a spacing, and a queue of so many frames are not netem's:
its `limit` counts what is delayed, too. The relay does those, and everything where this kernel has no netem.
"""

from __future__ import annotations

from pcaptool.lab.drops import ruleset
from pcaptool.lab.namespaces import Namespace
from pcaptool.scenario import Link, Scenario

__all__ = ["LINK_DEVICES", "build_between", "can_be_netem", "has_netem", "netem_words"]

LINK_DEVICES = ("to-server", "to-client")
_BRIDGE = "between"
_LIMIT = 100_000  # frames under way: more than a run has
_MTU = 65535


def can_be_netem(link: Link) -> bool:
    """Whether netem can be this link.

    Examples
    --------
    >>> can_be_netem(Link(delay_ns=1000)), can_be_netem(Link(rate_bps=10**6, queue_packets=5)), can_be_netem(Link())
    (True, False, False)
    """
    asked = bool(link.delay_ns or link.rate_bps or link.loss_ppm)
    return asked and not (link.late or link.spacing_ns or link.queue_packets)


def netem_words(link: Link) -> list[str]:
    """What tc is told of a link.

    Examples
    --------
    >>> " ".join(netem_words(Link(delay_ns=20_500_000, rate_bps=10_000_000, loss_ppm=1500)))
    'netem limit 100000 delay 20500us loss random 0.15% rate 10000000bit'
    """
    words = ["netem", "limit", str(_LIMIT)]
    if link.delay_ns:
        words += ["delay", f"{link.delay_ns / 1000:.12g}us"]
    if link.loss_ppm:
        words += ["loss", "random", f"{link.loss_ppm / 10_000:.12g}%"]
    if link.rate_bps:
        words += ["rate", f"{link.rate_bps}bit"]
    return words


def has_netem(namespace: Namespace) -> bool:
    """Whether this kernel takes netem, tried on the loopback of a namespace of ours."""
    namespace.run("tc", "qdisc", "replace", "dev", "lo", "root", "netem", "limit", "1", check=False)
    found = namespace.run("tc", "qdisc", "show", "dev", "lo")
    namespace.run("tc", "qdisc", "del", "dev", "lo", "root", check=False)
    return "netem" in found


def build_between(
    plan: Scenario, middle: Namespace, server: Namespace, client: Namespace, words: list[str]
) -> None:
    """Make the devices of both hosts, and what lies between them.

    Parameters
    ----------
    plan : Scenario
    middle : Namespace
        Is added here; who made it removes it.
    server, client : Namespace
    words : list of str
        The queueing discipline of both ports (`netem_words`).

    Raises
    ------
    SystemRefusedError
        The kernel has no bridge, or refused a step.
    """
    middle.add()
    middle.run("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
    middle.ip("link", "add", _BRIDGE, "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
    settings = ((server, plan.host.server), (client, plan.host.client))
    for port, (namespace, host) in zip(LINK_DEVICES, settings, strict=True):
        middle.ip(
            *("link", "add", port, "mtu", str(_MTU), "type", "veth"),
            *("peer", "name", host.device, "netns", namespace.name),
        )
        middle.ip("link", "set", port, "master", _BRIDGE, "up")
        middle.run("tc", "qdisc", "add", "dev", port, "root", *words)
    middle.ip("link", "set", _BRIDGE, "mtu", str(_MTU), "up")
    for port, direction in zip(LINK_DEVICES, ("server-to-client", "client-to-server"), strict=True):
        drops = [drop for drop in plan.link.drops if drop.direction == direction]
        if drops:
            # A table for each device: nft's names are the namespace's.
            text = ruleset(drops, port, plan.family)
            middle.run(
                "nft", "-f", "-", given=text.replace("table netdev pcaptool", f"table netdev {direction}")
            )
