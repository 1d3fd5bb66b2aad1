"""The layers that are decoded: number, name. The one list that kernels, columns and docs share.

Knows: names as Wireshark's frame.protocols has them, for the layers below the application.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ERROR_KINDS", "LAYER_BITS", "LAYER_NAMES", "MAX_LAYERS", "Layer"]

# A packet's layers are kept as numbers of LAYER_BITS in two 64-bit integers.
LAYER_BITS = 6
MAX_LAYERS = 20


class Layer(IntEnum):
    """Numbers used by the kernels; 0 stands for none."""

    NONE = 0
    ETH = 1
    VLAN = 2
    ARP = 3
    IP = 4
    IPV6 = 5
    TCP = 6
    UDP = 7
    ICMP = 8
    ICMPV6 = 9
    IGMP = 10
    SLL = 11
    SLL2 = 12
    NULL = 13
    RAW = 14
    PPP = 15
    PPPOE = 16
    CHDLC = 17
    MPLS = 18
    GRE = 19
    VXLAN = 20
    GENEVE = 21
    GTP = 22
    TEREDO = 23
    LLC = 24
    ERSPAN = 25
    AH = 26
    ESP = 27
    SCTP = 28
    NFLOG = 29
    PKTAP = 30
    LOOP = 31
    L2TP = 32
    RADIOTAP = 33
    WLAN = 34


LAYER_NAMES: tuple[str, ...] = ("", *(layer.name.lower() for layer in list(Layer)[1:]))

# Values of err_kind.
ERROR_KINDS: tuple[str, ...] = ("", "truncated", "length", "version", "limit", "options")
