"""Packet bytes to columns of each layer.

Knows: how headers follow each other, and the tables of the layers.
Must not know: conversations, streams, anything that needs more than one packet (that is `analyze`).
"""
