"""Numbers that the kernels share: layers, errors, fields of the cursor and of rows.

Plain integers, because compiled code takes module constants as they are when it is compiled.
"""

from __future__ import annotations

# Layers: `decode.layers.Layer`, held equal by a test.
NONE, ETH, VLAN, ARP, IP, IPV6, TCP, UDP, ICMP, ICMPV6, IGMP = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
SLL, SLL2, NULL, RAW, PPP, PPPOE, CHDLC, MPLS, GRE, VXLAN = 11, 12, 13, 14, 15, 16, 17, 18, 19, 20
GENEVE, GTP, TEREDO, LLC, ERSPAN, AH, ESP, SCTP = 21, 22, 23, 24, 25, 26, 27, 28
NFLOG, PKTAP, LOOP, L2TP, RADIOTAP, WLAN = 29, 30, 31, 32, 33, 34
LAYER_BITS, MAX_LAYERS = 6, 20

# Errors: index into `decode.layers.ERROR_KINDS`.
E_TRUNCATED, E_LENGTH, E_VERSION, E_LIMIT, E_OPTIONS = 1, 2, 3, 4, 5

# The cursor: where the walk through one packet stands, and what it found.
AT, END, WIRE = 0, 1, 2  # next header; end of the captured bytes that belong to it; end it had on the wire
NEXT, STEPS, PATH_HIGH, PATH_LOW = 3, 4, 5, 6
ERR_LAYER, ERR_KIND, ERR_NEED, ERR_HAVE = 7, 8, 9, 10
SRC, DST, SRCPORT, DSTPORT = 11, 12, 13, 14  # innermost; -1 where there is none
LINK_SRC, LINK_DST, LINK_TYPE, LINK_VLAN, LINK_END, NET_END = 15, 16, 17, 18, 19, 20
IP_ROW, IP_DEPTH, TCP_DEPTH, UDP_DEPTH, ICMP_DEPTH = 21, 22, 23, 24, 25
FRAGMENT, PACKET, QUOTED = 26, 27, 28  # inside a fragment; number in the run; inside an ICMP error
PADDED = 29  # the 802.11 header is followed by padding to four bytes
CURSOR_SIZE = 32
MEMO_SIZE = 64 * 4  # pairs of addresses seen last (`kernels.common`)

# Rows that the chain writes for each header; the fields' kernels read them.
R_PACKET, R_DEPTH, R_AT, R_END, R_WIRE, R_IP, R_QUOTED = 0, 1, 2, 3, 4, 5, 6  # R_QUOTED: inside an ICMP error
R_A, R_B, R_C, R_D, R_FINAL = (
    7,
    8,
    9,
    10,
    11,
)  # not of TCP and UDP; R_FINAL: position of the final destination address

# Tables of rows: index into `sizes`.
T_IP, T_TCP, T_UDP, T_ARP, T_ICMP, T_IGMP, T_FRAGMENT = 0, 1, 2, 3, 4, 5, 6
TABLE_COUNT = 7
ROW_SIZES = (12, 8, 8, 12, 12, 12, 12)  # a row of TCP or UDP is a line of the cache

# Families of names.
F_IPV4, F_IPV6, F_MAC, F_PATH = 4, 6, 48, 1
