"""Network interfaces: what one is, and packet sockets on it (packet(7), netdevice(7)).

Knows: ioctl requests, ARPHRD numbers, socket options; what a refusal means to a person.
Must not know: what is sent or received.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pcaptool.errors import SystemRefusedError, UsageError, printable

__all__ = ["InterfaceFacts", "in_namespace", "look_up", "open_receiver", "open_sender", "require_interface"]

_SIOCGIFFLAGS, _SIOCGIFMTU, _SIOCGIFHWADDR = 0x8913, 0x8921, 0x8927
_IFF_UP = 1
_ARPHRD_ETHER, _ARPHRD_LOOPBACK, _ARPHRD_NONE = 1, 772, 0xFFFE
_ETH_P_ALL = 3
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE, _SO_TIMESTAMPNS = 32, 33, 35
_SOL_PACKET, _PACKET_AUXDATA, _PACKET_QDISC_BYPASS = 263, 8, 20
_PACKET_ADD_MEMBERSHIP, _PACKET_MR_PROMISC = 1, 1
_CLONE_NEWNET = 0x40000000
_SEND_BUFFER_BYTES = 4 << 20
_RECEIVE_BUFFER_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class InterfaceFacts:
    """What an interface is.

    Parameters
    ----------
    name : str
    mtu : int
    ethernet : bool
        Frames begin with an Ethernet header; else they are IP packets.
    mac : int
    """

    name: str
    mtu: int
    ethernet: bool
    mac: int


def require_interface(name: str) -> None:
    """A name that an interface can have.

    Raises
    ------
    UsageError
        There is no such interface.
    """
    names = [known for _, known in socket.if_nameindex()]
    if name not in names:
        raise UsageError(
            f"there is no interface {printable(name)!r}",
            hint=f"there are {', '.join(sorted(names)) or 'none'}",
        )


def look_up(name: str) -> InterfaceFacts:
    """Facts of an interface that must be up.

    Raises
    ------
    UsageError
        There is none, or it cannot carry packets of a capture.
    SystemRefusedError
        It is down.
    """
    require_interface(name)
    request = struct.pack("16s240x", name.encode())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        flags, mtu, hardware = (
            fcntl.ioctl(handle, number, request)[16:]
            for number in (_SIOCGIFFLAGS, _SIOCGIFMTU, _SIOCGIFHWADDR)
        )
    if not struct.unpack_from("H", flags)[0] & _IFF_UP:
        raise SystemRefusedError(f"the interface {name} is down", hint=f"ip link set {name} up")
    kind = struct.unpack_from("H", hardware)[0]
    if kind not in (_ARPHRD_ETHER, _ARPHRD_LOOPBACK, _ARPHRD_NONE):
        raise UsageError(f"the interface {name} carries neither Ethernet nor bare IP (hardware type {kind})")
    return InterfaceFacts(
        name=name,
        mtu=struct.unpack_from("i", mtu)[0],
        ethernet=kind != _ARPHRD_NONE,
        mac=int.from_bytes(hardware[2:8], "big"),
    )


def open_sender(name: str, *, bypass: bool) -> socket.socket:
    """A packet socket that sends on an interface and receives nothing.

    Parameters
    ----------
    bypass : bool
        Frames go straight to the driver (PACKET_QDISC_BYPASS): faster, without queueing, unseen by captures here.

    Raises
    ------
    SystemRefusedError
        No permission.
    """
    handle = _packet_socket(0)
    try:
        _force_buffer(handle, _SO_SNDBUFFORCE, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        if bypass:
            handle.setsockopt(_SOL_PACKET, _PACKET_QDISC_BYPASS, 1)
        handle.bind((name, 0))
    except OSError as error:
        handle.close()
        raise SystemRefusedError(f"{name}: {(error.strerror or str(error)).lower()}") from error
    return handle


def open_receiver(name: str) -> socket.socket:
    """A packet socket that sees everything that arrives at an interface, with kernel time stamps.

    Raises
    ------
    SystemRefusedError
        No permission, or no such interface.
    """
    handle = _packet_socket(0)
    try:
        _force_buffer(handle, _SO_RCVBUFFORCE, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        handle.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        handle.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        index = socket.if_nametoindex(name)
        promiscuous = struct.pack("iHH8s", index, _PACKET_MR_PROMISC, 0, b"")
        handle.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, promiscuous)
        handle.bind((name, _ETH_P_ALL))
        handle.settimeout(0.05)
    except OSError as error:
        handle.close()
        raise SystemRefusedError(f"{printable(name)}: {(error.strerror or str(error)).lower()}") from error
    return handle


def _packet_socket(protocol: int) -> socket.socket:
    try:
        return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, protocol)
    except PermissionError as error:
        raise SystemRefusedError(
            "sending and capturing packets needs the capability CAP_NET_RAW",
            hint="run it with sudo; --dry-run needs no permission",
        ) from error
    except OSError as error:
        raise SystemRefusedError(f"no packet socket: {(error.strerror or str(error)).lower()}") from error


def _force_buffer(handle: socket.socket, forced: int, plain: int, size: int) -> None:
    """A large buffer: beyond the limit with CAP_NET_ADMIN, else what the limit allows."""
    try:
        handle.setsockopt(socket.SOL_SOCKET, forced, size)
    except OSError as error:
        if error.errno != errno.EPERM:
            raise
        handle.setsockopt(socket.SOL_SOCKET, plain, size)


def in_namespace(namespace: str, make: Callable[[], socket.socket]) -> socket.socket:
    """Open a socket in another network namespace (of `ip netns`); this process stays in its own.

    Raises
    ------
    SystemRefusedError
        There is no such namespace, or no permission to enter it.
    """
    found: list[socket.socket | BaseException] = []

    def enter() -> None:
        # A thread of its own: setns(2) concerns only the calling thread, which ends here.
        try:
            handle = os.open(Path("/run/netns") / namespace, os.O_RDONLY | os.O_CLOEXEC)
            try:
                library = ctypes.CDLL(None, use_errno=True)
                if library.setns(handle, _CLONE_NEWNET):
                    number = ctypes.get_errno()
                    raise OSError(number, os.strerror(number))
            finally:
                os.close(handle)
            found.append(make())
        except BaseException as error:  # noqa: BLE001 - raised again by who waits
            found.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    [result] = found
    if isinstance(result, OSError):
        said = (result.strerror or str(result)).lower()
        raise SystemRefusedError(
            f"the namespace {printable(namespace)!r} cannot be entered: {said}", hint="ip netns list"
        ) from result
    if isinstance(result, BaseException):
        raise result
    return result
