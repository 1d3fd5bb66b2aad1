"""Columns to conversations, streams, exchanges; and the line from a capture to a report.

Knows: what needs more than one packet. Must not know: how bytes become columns (`decode`), files of captures
(`file`), Parquet (`tables`).
"""
