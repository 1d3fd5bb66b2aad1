"""DNS messages."""

from __future__ import annotations

from pcaptool.tables.definition import Column, Table

__all__ = ["DNS"]

DNS = Table(
    name="dns",
    version=1,
    row="DNS message",
    doc=(
        "DNS messages (RFC 1035) on the ports of DNS, mDNS and LLMNR, over UDP and TCP. A response names the query"
        " that it answers. Resource records of all sections stand in the `resp_` lists, one element a record, in"
        " wire order: the counts tell the sections apart."
    ),
    columns=(
        Column("n", "u32", "packet that completed the message", "frame.number"),
        Column("flow", "u32", "row of `flows`"),
        Column("transport", "text", "udp or tcp"),
        Column("id", "u16", "transaction ID", "dns.id"),
        Column("flags", "u16", "the 16 bits behind the ID", "dns.flags"),
        Column("response", "bool", "a response, not a query", "dns.flags.response"),
        Column("opcode", "u8", "0 query, 4 notify, 5 update, ...", "dns.flags.opcode"),
        Column("rcode", "u8", "0 no error, 2 server failure, 3 no such name, ..."),
        Column("count_queries", "u16", "questions", "dns.count.queries"),
        Column("count_answers", "u16", "answer records", "dns.count.answers"),
        Column("count_auth_rr", "u16", "authority records", "dns.count.auth_rr"),
        Column("count_add_rr", "u16", "additional records", "dns.count.add_rr"),
        Column("qry_name", "text", "name in the first question", "dns.qry.name", nullable=True),
        Column("qry_type", "u16", "its type", "dns.qry.type", nullable=True),
        Column("qry_class", "u16", "its class", "dns.qry.class", nullable=True),
        Column("resp_name", "text_list", "owner of each record", "dns.resp.name"),
        Column("resp_type", "u32_list", "type of each record", "dns.resp.type"),
        Column("resp_ttl", "u32_list", "time to live of each record in seconds (of OPT: its flags)"),
        Column(
            "resp_data",
            "text_list",
            "address, name or text of each record; of MX, SRV and SOA the name; empty for all other types",
        ),
        Column("response_to", "u32", "packet with the query", "dns.response_to", nullable=True),
        Column("time_ns", "i64", "from the query to this response", "dns.time", nullable=True),
        Column(
            "retransmission",
            "bool",
            "a query again within 5 s while it was not answered, or a response again",
        ),
        Column("len_bytes", "u32", "message"),
        Column(
            "trouble",
            "text",
            "why it could not be read to its end; null where it could",
            nullable=True,
        ),
    ),
)
