"""How packets are changed before they are sent: words of a user to rules of the kernels.

Knows: the words of `--map`, `--mac`, `--port`, `--vlan`, `--ttl`, and the flat arrays that `frame_kernel` reads.
Must not know: packets, interfaces, arguments.
The first rule that fits counts, and each rule sees the recorded value: A=B with B=A exchanges two hosts.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pcaptool.errors import UsageError, printable
from pcaptool.replay.frame_kernel import MAC_ANY, MAC_DESTINATION, MAC_SOURCE, TTL_ADD, TTL_KEEP, TTL_SET
from pcaptool.replay.plan_kernel import VLAN_ADD, VLAN_KEEP, VLAN_STRIP

__all__ = ["Rewriting", "parse_mac"]

Ints = npt.NDArray[np.int64]
_SIDES = ("client", "server")
_MAC = re.compile(r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}")


@dataclass(frozen=True, slots=True)
class Rewriting:
    """What is changed in the packets.

    Parameters
    ----------
    addresses : tuple of str
        OLD=NEW: addresses, or networks of the same prefix length (10.0.0.0/8=172.16.0.0/8 keeps the host part).
        In IP headers, ARP, and targets of neighbour discovery; also inside tunnels and what ICMP errors quote.
    macs : tuple of str
        OLD=NEW, or src=NEW, dst=NEW for all frames; client:OLD=NEW, server:dst=NEW ... for what leaves by that side's
        interface only.
    ports : tuple of str
        OLD=NEW, of TCP and UDP.
    vlan : str
        add:ID, strip, or empty.
    ttl : str
        N, +N, -N, or empty.
    fix_checksums : bool
        Recompute all checksums, also wrong ones of the capture. Without, a checksum is as right or wrong afterwards
        as it was; those that a device was still to fill in are always completed.
    pad : bool
        Packets of which the capture holds only the beginning are filled up with zeros; else they are refused.
    segment : bool
        TCP super-packets are cut to the MTU; else they are refused.

    Examples
    --------
    >>> Rewriting(ports=("80=8080",)).rules()[3].tolist()
    [80, 8080]
    >>> Rewriting(addresses=("10.0.0.0/8=::1",)).rules()
    Traceback (most recent call last):
    ...
    pcaptool.errors.UsageError: --map '10.0.0.0/8=::1': both must be IPv4, or both IPv6
    """

    addresses: tuple[str, ...] = ()
    macs: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    vlan: str = ""
    ttl: str = ""
    fix_checksums: bool = False
    pad: bool = False
    segment: bool = True

    def rules(self, interfaces: int = 1) -> tuple[Ints, Ints, Ints, Ints, Ints]:
        """Arrays for `plan_kernel`: ttl, macs, addresses, ports, macs of the second interface.

        Raises
        ------
        UsageError
            A word that is no rule, or a side's where there is one interface.
        """
        if interfaces < 2 and any(_side(text)[0] for text in self.macs):
            raise UsageError(
                "--mac client:... and server:... are for two interfaces", hint="-i client=NAME -i server=NAME"
            )
        macs = []
        for number in range(2):
            rules = [_mac_rule(rule) for rule in self._macs_of(number)]
            # Rules for single addresses count before those for all.
            rules.sort(key=lambda rule: rule[0] != MAC_ANY)
            macs.append(_array([word for rule in rules for word in rule]))
        return (
            _array(_ttl(self.ttl)),
            macs[0],
            _array([word for text in self.addresses for word in _address_rule(text)]),
            _array([word for text in self.ports for word in _port_rule(text)]),
            macs[1],
        )

    def settings(self, *, digest: bool) -> Ints:
        """Settings for `plan_kernel`."""
        mode, number = _vlan(self.vlan)
        return _array([int(self.segment), int(self.pad), int(self.fix_checksums), mode, number, int(digest)])

    def destination(self, number: int) -> int:
        """Where frames without Ethernet header go that leave by an interface; -1: nothing says.

        Examples
        --------
        >>> hex(Rewriting(macs=("server:dst=02:00:00:00:00:01",)).destination(1))
        '0x20000000001'
        """
        found = (parse_mac(rule[4:], "--mac") for rule in self._macs_of(number) if rule.startswith("dst="))
        return next(found, -1)

    def _macs_of(self, number: int) -> list[str]:
        """Rules of the first or the second interface, its own ones first."""
        pairs = sorted((_side(text) for text in self.macs), key=lambda pair: not pair[0])
        return [rule for side, rule in pairs if side in ("", _SIDES[number])]


def parse_mac(text: str, option: str) -> int:
    """A MAC address as a number.

    Examples
    --------
    >>> hex(parse_mac("02:00:00:00:00:01", "--mac"))
    '0x20000000001'
    """
    if not _MAC.fullmatch(text):
        raise UsageError(f"{option}: {printable(text)!r} is not a MAC address such as 02:00:00:00:00:01")
    return int(re.sub("[:-]", "", text), 16)


def _side(text: str) -> tuple[str, str]:
    """The side that a rule is for, and the rule."""
    side, colon, rest = text.partition(":")
    return (side, rest) if colon and side in _SIDES else ("", text)


def _array(values: list[int]) -> Ints:
    return np.array(values, np.int64)


def _halves(text: str, option: str) -> tuple[str, str]:
    old, equals, new = text.partition("=")
    if not (old and equals and new):
        raise UsageError(f"{option} {printable(text)!r} is not OLD=NEW")
    return old, new


def _mac_rule(text: str) -> tuple[int, int, int]:
    old, new = _halves(text, "--mac")
    kinds = {"src": MAC_SOURCE, "dst": MAC_DESTINATION}
    if old in kinds:
        return kinds[old], 0, parse_mac(new, "--mac")
    return MAC_ANY, parse_mac(old, "--mac"), parse_mac(new, "--mac")


def _address_rule(text: str) -> list[int]:
    nets: list[Any] = []
    for half in _halves(text, "--map"):
        try:
            nets.append(ipaddress.ip_network(half.strip("[]"), strict=True))
        except ValueError as error:
            raise UsageError(
                f"--map {printable(text)!r}: {printable(half)!r} is no address and no network: {error}"
            ) from error
    old, new = nets
    if old.version != new.version:
        raise UsageError(f"--map {printable(text)!r}: both must be IPv4, or both IPv6")
    if old.prefixlen != new.prefixlen:
        raise UsageError(f"--map {printable(text)!r}: both networks must have the same prefix length")
    words = 1 if old.version == 4 else 4
    rule = [words]
    for value in (old.network_address, old.netmask, new.network_address):
        packed = value.packed
        rule += [int.from_bytes(packed[4 * w : 4 * w + 4], "big") for w in range(words)] + [0] * (4 - words)
    return rule


def _port_rule(text: str) -> list[int]:
    ports = []
    for half in _halves(text, "--port"):
        if not half.isascii() or not half.isdigit() or not 0 <= int(half) <= 65535:
            raise UsageError(f"--port {printable(text)!r}: {printable(half)!r} is no port")
        ports.append(int(half))
    return ports


def _vlan(text: str) -> tuple[int, int]:
    if not text:
        return VLAN_KEEP, 0
    if text == "strip":
        return VLAN_STRIP, 0
    word, _, number = text.partition(":")
    if word != "add" or not number.isdigit() or not 0 <= int(number) <= 4094:
        raise UsageError(f"--vlan {printable(text)!r} is neither add:ID, with an ID of 0 to 4094, nor strip")
    return VLAN_ADD, int(number)


def _ttl(text: str) -> list[int]:
    if not text:
        return [TTL_KEEP, 0]
    if not re.fullmatch(r"[+-]?\d{1,3}", text) or abs(int(text)) > 255:
        raise UsageError(f"--ttl {printable(text)!r} is not a number of 0 to 255, or a change such as -1")
    return [TTL_ADD if text[0] in "+-" else TTL_SET, int(text)]
