"""Columns of each table from what the kernels left.

Knows: which array is which column, and which rows are null. Must not know: header layouts.
Every array is fresh: columns are handed on without copying.
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
from pcaptool.tables.columns import Columns, Lists, Masked, Texts

__all__ = [
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
]

_MAX_OPTIONS = 40  # bytes of TCP options: at most one option a byte
_MAX_SACK_BLOCKS = 4
_MAX_SUBTYPES = 13  # of MPTCP: three bytes each at least
_MAX_EXTENSIONS = 17  # as many as the walk takes, and a fragment's

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


def records(step: Step) -> Columns:
    """Of the packet list what the file says of each packet: nothing was walked for it."""
    run, part = step.run, slice(step.first, step.end)
    return {
        "n": _numbers(step),
        "ts": run.ts_ns[part],
        "interface": run.interface[part],
        "linktype": run.linktype[part],
        "cap_len": run.cap_len[part],
        "len": run.orig_len[part],
        "flags": _optional(run.flags[part], "u4"),
        "comment": _comments(step),
    }


def packets(step: Step) -> Columns:
    """The packet list."""
    path, src, dst, srcport, dstport, payload_offset, payload, layer, kind, need, have = step.packets
    protocols = step.paths.refresh()
    words = step.names.words
    last = [word.rpartition(":")[2] for word in protocols]
    failed = layer > 0
    return records(step) | {
        "protocol": _innermost(path, last),
        "protocols": Texts(path, protocols),
        "src": Texts(src, words),
        "dst": Texts(dst, words),
        "srcport": _optional(srcport, "u2"),
        "dstport": _optional(dstport, "u2"),
        "payload_offset": payload_offset,
        "payload_bytes": payload,
        "err_layer": Texts(_codes(layer), _LAYERS),
        "err_kind": Texts(_codes(kind), _KINDS),
        "err_need_bytes": Masked(need, failed),
        "err_have_bytes": Masked(have, failed),
    }


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
    tagged = vlan >= 0
    words = step.names.words
    return {
        "n": _numbers(step),
        "kind": Texts(_codes(kind), _LAYERS),
        "src": Texts(src, words),
        "dst": Texts(dst, words),
        "type": _optional(type_, "u2"),
        "vlan_id": Masked((vlan & 0xFFF).astype(np.uint16), tagged),
        "vlan_priority": Masked(((vlan >> 13) & 7).astype(np.uint8), tagged),
        "hdr_bytes": hdr_bytes,
        "padding_bytes": padding,
    }


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
    return {"n": n, "hw_type": hw_type, "proto_type": proto_type, "opcode": opcode, **texts}


def ip(step: Step) -> Columns:
    """The ip table."""
    count = step.sizes[T_IP]
    columns = _arrays(count, "u4 u1 u1 i4 i4 u2 u1 u4 u2 u1 u4 u1 u1 u2 u1 u4 u4 ?")
    options_at, extensions_at = (np.empty(count + 1, np.int32) for _ in range(2))
    options = np.empty(_MAX_OPTIONS * count, np.uint8)
    extensions = np.empty(_MAX_EXTENSIONS * count, np.uint8)
    lists = (options_at, options, extensions_at, extensions)
    step.kernels["ip_fields"](step.run.data, step.run.first_n, count, step.rows[T_IP], columns, lists)
    (n, depth, version, src, dst, hdr_len, dsfield, length, ident, flags, *rest) = columns
    frag_offset, ttl, proto, checksum, status, flow_label, payload, quoted = rest
    four = version == 4
    return {
        "n": n,
        "depth": depth,
        "version": version,
        "src": Texts(src, step.names.words),
        "dst": Texts(dst, step.names.words),
        "hdr_len": hdr_len,
        "dsfield": dsfield,
        "len": length,
        "id": Masked(ident, four),
        "flags": Masked(flags, four),
        "frag_offset": frag_offset,
        "ttl": ttl,
        "proto": proto,
        "checksum": Masked(checksum, four),
        "checksum_status": Masked(status, four),
        "flow_label": Masked(flow_label, ~four),
        "payload_bytes": payload,
        "option_types": Lists(options_at, options[: int(options_at[count])].copy()),
        "extension_headers": Lists(extensions_at, extensions[: int(extensions_at[count])].copy()),
        "quoted": quoted,
    }


def icmp(step: Step) -> Columns:
    """The icmp table."""
    count = step.sizes[T_ICMP]
    columns = _arrays(count, "u4 u1 u1 u1 u1 u2 u1 i4 i4 ?")
    step.kernels["icmp_fields"](
        step.run.data, step.run.first_n, count, step.rows[T_ICMP], step.rows[T_IP], columns
    )
    n, depth, version, kind, code, checksum, status, ident, seq, quoted = columns
    return {
        "n": n,
        "depth": depth,
        "version": version,
        "type": kind,
        "code": code,
        "checksum": checksum,
        "checksum_status": status,
        "ident": _optional(ident, "u2"),
        "seq": _optional(seq, "u2"),
        "quoted": quoted,
    }


def igmp(step: Step) -> Columns:
    """The igmp table."""
    count = step.sizes[T_IGMP]
    columns = _arrays(count, "u4 u1 u1 u2 i4")
    step.kernels["igmp_fields"](
        step.run.data, step.run.first_n, count, step.rows[T_IGMP], step.names.table, columns
    )
    n, kind, max_resp, checksum, group = columns
    return {
        "n": n,
        "type": kind,
        "max_resp": max_resp,
        "checksum": checksum,
        "maddr": Texts(group, step.names.words),
    }


def tcp(step: Step) -> Columns:
    """The tcp table, without what needs the conversation."""
    count = step.sizes[T_TCP]
    columns = _arrays(count, "u4 u1 u2 u2 u4 u4 u1 u2 u2 u2 u1 ? u2 i8 u4 ?")
    options = _arrays(count, "u1 u2 u1 u4 u4 u1 u1 u1")
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
        int(step.sums),
        columns,
        options,
        (kinds_at, kinds, sack_at, left, right, subtypes_at, subtypes),
    )
    has, mss, wscale, tsval, tsecr, cookie, key, next_key = options
    names = (
        *("n", "depth", "srcport", "dstport", "seq_raw", "ack_raw", "hdr_len", "flags"),
        *("window_size_value", "checksum", "checksum_status", "checksum_partial", "urgent_pointer"),
    )
    out: Columns = dict(zip(names, columns, strict=False))
    length, payload_offset, quoted = columns[-3:]
    out["len"] = _optional(length, "u4")
    out["payload_offset"] = payload_offset
    stamps = (has & HAS_STAMPS) != 0
    blocks = int(sack_at[count])
    out["option_kinds"] = Lists(kinds_at, kinds[: int(kinds_at[count])].copy())
    out["options_mss_val"] = Masked(mss, (has & HAS_MSS) != 0)
    out["options_wscale_shift"] = Masked(wscale, (has & HAS_WSCALE) != 0)
    out["options_sack_perm"] = (has & HAS_SACK_PERM) != 0
    out["options_timestamp_tsval"] = Masked(tsval, stamps)
    out["options_timestamp_tsecr"] = Masked(tsecr, stamps)
    out["options_sack_le"] = Lists(sack_at, left[:blocks].copy())
    out["options_mptcp_subtypes"] = Lists(subtypes_at, subtypes[: int(subtypes_at[count])].copy())
    out["options_tfo_cookie_bytes"] = Masked(cookie, (has & HAS_FAST_OPEN) != 0)
    authenticated = (has & HAS_AUTHENTICATION) != 0
    out["options_ao_keyid"] = Masked(key, authenticated)
    out["options_ao_rnextkeyid"] = Masked(next_key, authenticated)
    out["quoted"] = quoted
    out["options_sack_re"] = Lists(sack_at, right[:blocks].copy())
    return _with_sums(step, out)


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
        int(step.sums),
        columns,
    )
    names = (
        *("n", "depth", "srcport", "dstport", "length", "checksum", "checksum_status"),
        *("checksum_partial", "payload_offset", "payload_bytes", "quoted"),
    )
    return _with_sums(step, dict(zip(names, columns, strict=True)))


def _with_sums(step: Step, columns: Columns) -> Columns:
    """The columns of checksums' status only where checksums were computed."""
    if not step.sums:
        del columns["checksum_status"], columns["checksum_partial"]
    return columns
