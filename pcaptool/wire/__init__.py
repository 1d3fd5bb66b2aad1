"""Header layouts, link types and checksums: one small table for each header.

Knows: where the fields of a header lie and how its checksum is computed.
Must not know: files, sockets, time, or what the fields mean to a protocol.
Used by `stack` (to build) and `decode` (to read): each is the other's test, this is what they share.
"""
