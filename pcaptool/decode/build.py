"""Columns of each table from what the kernels left: those that are wanted.

Knows: which array is which column, and which rows are null. Must not know: header layouts.
Every array is fresh: columns are handed on without copying.
What a kernel finds out in one go it fills whole; what takes time of its own (options, checksums, lists, nulls) is
made where it is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pcaptool.decode.kernels.codes import T_ARP, T_ICMP, T_IGMP, T_IP, T_TCP, T_UDP
from pcaptool.decode.kernels.fields_transport import (
    HAS_AUTHENTICATION,
    HAS_FAST_OPEN,
    HAS_MSS,
    HAS_SACK_PERM,
    HAS_STAMPS,
    HAS_WSCALE,
)
from pcaptool.decode.layers import ERROR_KINDS, LAYER_NAMES
from pcaptool.decode.step import Step
from pcaptool.engine import Engine
from pcaptool.tables.columns import ColumnData, Columns, Lists, Masked, Texts

__all__ = [
    "RECORDED",
    "arp",
    "icmp",
    "igmp",
    "ip",
    "kernels",
    "link",
    "link_arrays",
    "packet_arrays",
    "packets",
    "records",
    "tcp",
    "udp",
    "walked",
]

_MAX_OPTIONS = 40  # bytes of TCP options: at most one option a byte
_MAX_SACK_BLOCKS = 4
_MAX_SUBTYPES = 13  # of MPTCP: three bytes each at least
_MAX_EXTENSIONS = 17  # as many as the walk takes, and a fragment's

# Of the tables with options, columns that only reading them fills.
_IP_MORE = frozenset({"checksum_status", "option_types", "extension_headers"})
_SUMS = frozenset({"checksum_status", "checksum_partial"})

_Makers = Mapping[str, Callable[[], ColumnData]]

_KERNELS = {
    "ip_fields": "fields_ip",
    "tcp_fields": "fields_transport",
    "udp_fields": "fields_transport",
    "arp_fields": "fields_arp",
    "icmp_fields": "fields_icmp",
    "igmp_fields": "fields_icmp",
}


def kernels(engine: Engine) -> Mapping[str, Callable[..., Any]]:
    """The kernels that fill columns."""
    return {name: engine.flat(f"pcaptool.decode.kernels.{file}", name) for name, file in _KERNELS.items()}


def _arrays(size: int, kinds: str) -> tuple[npt.NDArray[Any], ...]:
    """Arrays of some dtypes, e.g. "u4 u1"."""
    return tuple(np.empty(size, kind) for kind in kinds.split())


def packet_arrays(size: int) -> tuple[npt.NDArray[Any], ...]:
    """Columns of the packet list that the walk fills."""
    return _arrays(size, "i4 i4 i4 i4 i4 u4 u4 u1 u1 u4 u4")


def link_arrays(size: int) -> tuple[npt.NDArray[Any], ...]:
    """Columns of the link table that the walk fills."""
    return _arrays(size, "u1 i4 i4 i4 i4 u2 u4")


def _wanted(step: Step, table: str, plain: Columns, more: _Makers) -> Columns:
    """Of plain columns and of those yet to be made what is wanted."""
    names = step.wanted[table]
    out = {name: values for name, values in plain.items() if name in names}
    return out | {name: make() for name, make in more.items() if name in names}


def _optional(values: npt.NDArray[Any], kind: str) -> Masked:
    """Numbers of which -1 is null."""
    return Masked(values.astype(kind), values >= 0)


def _numbers(step: Step) -> npt.NDArray[np.uint32]:
    first_n = step.run.first_n + step.first
    return np.arange(first_n, first_n + step.count, dtype=np.uint32)


def _codes(values: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """Numbers from 1; 0 is null."""
    return values.astype(np.int32) - np.int32(1)


_LAYERS = LAYER_NAMES[1:]
_KINDS = ERROR_KINDS[1:]


# Of the packet list, what the file says of each packet, and what every table has.
RECORDED = frozenset({"n", "ts", "interface", "linktype", "cap_len", "len", "flags", "comment"})
_ALWAYS = frozenset({"n", "depth", "quoted"})


def walked(wanted: Mapping[str, frozenset[str]]) -> bool:
    """Whether columns of the packet list are wanted for which its headers are read.

    Examples
    --------
    >>> walked({"packets": frozenset({"n", "ts"})}), walked({"packets": frozenset({"protocol"})})
    (False, True)
    """
    return not wanted.get("packets", frozenset()) <= RECORDED | _ALWAYS


def records(step: Step) -> Columns:
    """Of the packet list what the file says of each packet: nothing was walked for it."""
    run, part = step.run, slice(step.first, step.end)
    plain: Columns = {
        "ts": run.ts_ns[part],
        "interface": run.interface[part],
        "linktype": run.linktype[part],
        "cap_len": run.cap_len[part],
        "len": run.orig_len[part],
    }
    more: _Makers = {
        "n": lambda: _numbers(step),
        "flags": lambda: _optional(run.flags[part], "u4"),
        "comment": lambda: _comments(step),
    }
    return _wanted(step, "packets", plain, more)


def packets(step: Step) -> Columns:
    """The packet list."""
    if not walked(step.wanted):
        return records(step)
    path, src, dst, srcport, dstport, payload_offset, payload, layer, kind, need, have = step.packets
    protocols = step.paths.refresh()
    words = step.names.words
    last = [word.rpartition(":")[2] for word in protocols]
    plain: Columns = {
        "protocols": Texts(path, protocols),
        "src": Texts(src, words),
        "dst": Texts(dst, words),
        "payload_offset": payload_offset,
        "payload_bytes": payload,
    }
    more: _Makers = {
        "protocol": lambda: _innermost(path, last),
        "srcport": lambda: _optional(srcport, "u2"),
        "dstport": lambda: _optional(dstport, "u2"),
        "err_layer": lambda: Texts(_codes(layer), _LAYERS),
        "err_kind": lambda: Texts(_codes(kind), _KINDS),
        "err_need_bytes": lambda: Masked(need, layer > 0),
        "err_have_bytes": lambda: Masked(have, layer > 0),
    }
    return records(step) | _wanted(step, "packets", plain, more)


def _innermost(path: npt.NDArray[np.int32], last: Sequence[str]) -> Texts:
    """Path numbers to the name of the last layer."""
    number = {name: i for i, name in enumerate(LAYER_NAMES)}
    table = np.array([number[name] for name in last], np.int32)
    return Texts(table[path], LAYER_NAMES)


def _comments(step: Step) -> list[str | None] | Texts:
    if not step.run.comments:
        return Texts(np.full(step.count, -1, np.int32), ())
    found = step.run.comments
    rows = range(step.first, step.end)
    return ["\n".join(found[i]) if i in found else None for i in rows]


def link(step: Step) -> Columns:
    """The link table."""
    kind, src, dst, type_, vlan, hdr_bytes, padding = step.links
    words = step.names.words
    plain: Columns = {
        "src": Texts(src, words),
        "dst": Texts(dst, words),
        "hdr_bytes": hdr_bytes,
        "padding_bytes": padding,
    }
    more: _Makers = {
        "n": lambda: _numbers(step),
        "kind": lambda: Texts(_codes(kind), _LAYERS),
        "type": lambda: _optional(type_, "u2"),
        "vlan_id": lambda: Masked((vlan & 0xFFF).astype(np.uint16), vlan >= 0),
        "vlan_priority": lambda: Masked(((vlan >> 13) & 7).astype(np.uint8), vlan >= 0),
    }
    return _wanted(step, "link", plain, more)


def arp(step: Step) -> Columns:
    """The arp table."""
    count = step.sizes[T_ARP]
    columns = _arrays(count, "u4 u2 u2 u2 i4 i4 i4 i4")
    step.kernels["arp_fields"](
        step.run.data, step.run.first_n, count, step.rows[T_ARP], step.names.table, columns
    )
    n, hw_type, proto_type, opcode, *addresses = columns
    names = ("src_hw_mac", "src_proto_ipv4", "dst_hw_mac", "dst_proto_ipv4")
    texts = {name: Texts(codes, step.names.words) for name, codes in zip(names, addresses, strict=True)}
    plain: Columns = {"n": n, "hw_type": hw_type, "proto_type": proto_type, "opcode": opcode, **texts}
    return _wanted(step, "arp", plain, {})


def ip(step: Step) -> Columns:
    """The ip table."""
    count = step.sizes[T_IP]
    columns = _arrays(count, "u4 u1 u1 i4 i4 u2 u1 u4 u2 u1 u4 u1 u1 u2 u1 u4 u4 ?")
    fully = not step.wanted["ip"].isdisjoint(_IP_MORE)
    options_at, extensions_at = (np.empty(count + 1, np.int32) for _ in range(2))
    options = np.empty(_MAX_OPTIONS * count, np.uint8)
    extensions = np.empty(_MAX_EXTENSIONS * count, np.uint8)
    lists = (options_at, options, extensions_at, extensions)
    step.kernels["ip_fields"](
        step.run.data, step.run.first_n, count, step.rows[T_IP], int(fully), columns, lists
    )
    (n, depth, version, src, dst, hdr_len, dsfield, length, ident, flags, *rest) = columns
    frag_offset, ttl, proto, checksum, status, flow_label, payload, quoted = rest
    plain: Columns = {
        "n": n,
        "depth": depth,
        "version": version,
        "src": Texts(src, step.names.words),
        "dst": Texts(dst, step.names.words),
        "hdr_len": hdr_len,
        "dsfield": dsfield,
        "len": length,
        "frag_offset": frag_offset,
        "ttl": ttl,
        "proto": proto,
        "payload_bytes": payload,
        "quoted": quoted,
    }
    more: _Makers = {
        "id": lambda: Masked(ident, version == 4),
        "flags": lambda: Masked(flags, version == 4),
        "checksum": lambda: Masked(checksum, version == 4),
        "checksum_status": lambda: Masked(status, version == 4),
        "flow_label": lambda: Masked(flow_label, version != 4),
        "option_types": lambda: _lists(options_at, options),
        "extension_headers": lambda: _lists(extensions_at, extensions),
    }
    return _wanted(step, "ip", plain, more)


def _lists(offsets: npt.NDArray[np.int32], values: npt.NDArray[Any]) -> Lists:
    """Of room for the most values that there could be those that there are."""
    return Lists(offsets, values[: int(offsets[-1])].copy())


def icmp(step: Step) -> Columns:
    """The icmp table."""
    count = step.sizes[T_ICMP]
    columns = _arrays(count, "u4 u1 u1 u1 u1 u2 u1 i4 i4 ?")
    step.kernels["icmp_fields"](
        step.run.data, step.run.first_n, count, step.rows[T_ICMP], step.rows[T_IP], columns
    )
    n, depth, version, kind, code, checksum, status, ident, seq, quoted = columns
    plain: Columns = {
        "n": n,
        "depth": depth,
        "version": version,
        "type": kind,
        "code": code,
        "checksum": checksum,
        "checksum_status": status,
        "quoted": quoted,
    }
    more: _Makers = {"ident": lambda: _optional(ident, "u2"), "seq": lambda: _optional(seq, "u2")}
    return _wanted(step, "icmp", plain, more)


def igmp(step: Step) -> Columns:
    """The igmp table."""
    count = step.sizes[T_IGMP]
    columns = _arrays(count, "u4 u1 u1 u2 i4")
    step.kernels["igmp_fields"](
        step.run.data, step.run.first_n, count, step.rows[T_IGMP], step.names.table, columns
    )
    n, kind, max_resp, checksum, group = columns
    plain: Columns = {
        "n": n,
        "type": kind,
        "max_resp": max_resp,
        "checksum": checksum,
        "maddr": Texts(group, step.names.words),
    }
    return _wanted(step, "igmp", plain, {})


def tcp(step: Step) -> Columns:
    """The tcp table, without what needs the conversation."""
    count = step.sizes[T_TCP]
    wanted = step.wanted["tcp"]
    with_options = any(name.startswith("option") for name in wanted)
    columns = _arrays(count, "u4 u1 u2 u2 u4 u4 u1 u2 u2 u2 u1 ? u2 i8 u4 ?")
    options = _arrays(count if with_options else 0, "u1 u2 u1 u4 u4 u1 u1 u1")
    kinds = np.empty(_MAX_OPTIONS * count, np.uint8)
    left, right = (np.empty(_MAX_SACK_BLOCKS * count, np.uint32) for _ in range(2))
    subtypes = np.empty(_MAX_SUBTYPES * count, np.uint8)
    kinds_at, sack_at, subtypes_at = (np.empty(count + 1, np.int32) for _ in range(3))
    step.kernels["tcp_fields"](
        step.run.data,
        step.run.first_n,
        step.run.offsets,
        count,
        step.rows[T_TCP],
        step.rows[T_IP],
        _with_sums(step, "tcp"),
        int(with_options),
        columns,
        options,
        (kinds_at, kinds, sack_at, left, right, subtypes_at, subtypes),
    )
    has, mss, wscale, tsval, tsecr, cookie, key, next_key = options
    names = (
        *("n", "depth", "srcport", "dstport", "seq_raw", "ack_raw", "hdr_len", "flags"),
        *("window_size_value", "checksum", "checksum_status", "checksum_partial", "urgent_pointer"),
    )
    plain: Columns = dict(zip(names, columns, strict=False))
    length, plain["payload_offset"], plain["quoted"] = columns[-3:]

    def option(values: npt.NDArray[Any], flag: int) -> Masked:
        return Masked(values, (has & flag) != 0)

    more: _Makers = {
        "len": lambda: _optional(length, "u4"),
        "option_kinds": lambda: _lists(kinds_at, kinds),
        "options_mss_val": lambda: option(mss, HAS_MSS),
        "options_wscale_shift": lambda: option(wscale, HAS_WSCALE),
        "options_sack_perm": lambda: (has & HAS_SACK_PERM) != 0,
        "options_timestamp_tsval": lambda: option(tsval, HAS_STAMPS),
        "options_timestamp_tsecr": lambda: option(tsecr, HAS_STAMPS),
        "options_sack_le": lambda: _lists(sack_at, left),
        "options_sack_re": lambda: _lists(sack_at, right),
        "options_mptcp_subtypes": lambda: _lists(subtypes_at, subtypes),
        "options_tfo_cookie_bytes": lambda: option(cookie, HAS_FAST_OPEN),
        "options_ao_keyid": lambda: option(key, HAS_AUTHENTICATION),
        "options_ao_rnextkeyid": lambda: option(next_key, HAS_AUTHENTICATION),
    }
    return _wanted(step, "tcp", plain, more)


def udp(step: Step) -> Columns:
    """The udp table."""
    count = step.sizes[T_UDP]
    columns = _arrays(count, "u4 u1 u2 u2 u2 u2 u1 ? u4 u4 ?")
    step.kernels["udp_fields"](
        step.run.data,
        step.run.first_n,
        step.run.offsets,
        count,
        step.rows[T_UDP],
        step.rows[T_IP],
        _with_sums(step, "udp"),
        columns,
    )
    names = (
        *("n", "depth", "srcport", "dstport", "length", "checksum", "checksum_status"),
        *("checksum_partial", "payload_offset", "payload_bytes", "quoted"),
    )
    return _wanted(step, "udp", dict(zip(names, columns, strict=True)), {})


def _with_sums(step: Step, table: str) -> int:
    """Whether transport checksums are to be computed: that reads every byte."""
    return int(not step.wanted[table].isdisjoint(_SUMS))
