"""What a replay did: frames that were sent, requests that were asked again."""

from __future__ import annotations

from pcaptool.tables.definition import Column, Table

__all__ = ["REPLAY", "REPLAY_HTTP"]

REPLAY = Table(
    name="replay",
    version=1,
    row="frame to send",
    doc=(
        "What `pcaptool replay` planned and what became of it: one row for each frame, so several for a super-packet"
        " that was cut to the MTU, and one for a packet that was refused. Times are nanoseconds since the first"
        " deadline."
    ),
    columns=(
        Column("n", "u32", "packet of the capture"),
        Column("round", "u32", "which time the capture is sent, 0-based"),
        Column("part", "u16", "segment of that packet, 0-based"),
        Column("bytes", "u32", "bytes of the frame as sent, 0 for a refused packet"),
        Column("interface", "text", "where it leaves"),
        Column("planned_ns", "i64", "deadline"),
        Column(
            "sent_ns",
            "i64",
            "handed to the kernel: when the call began; frames that went in one call share its time evenly",
            nullable=True,
        ),
        Column("error", "text", "why it was not sent", nullable=True),
        Column("seen_ns", "i64", "arrival on the far side, by the kernel's time stamp there", nullable=True),
    ),
)

REPLAY_HTTP = Table(
    name="replay_http",
    version=1,
    row="request that was asked again",
    doc=(
        "What `pcaptool replay --http` asked a live server, and how its answers compare with the recorded ones. Times"
        " are nanoseconds since the start; bodies are compared without transfer coding, by SHA-256."
    ),
    columns=(
        Column("flow", "u32", "conversation of the capture"),
        Column("exchange", "u32", "number on its connection, 0-based"),
        Column("method", "text", "request method"),
        Column("target", "string", "request target"),
        Column("planned_ns", "i64", "when it was due: its recorded time, scaled"),
        Column("sent_ns", "i64", "when it was written", nullable=True),
        Column("recorded_status", "u16", "status in the capture", nullable=True),
        Column("status", "u16", "status of the live answer", nullable=True),
        Column("recorded_body_bytes", "u64", "response body in the capture", nullable=True),
        Column("body_bytes", "u64", "response body of the live answer", nullable=True),
        Column(
            "recorded_sha256",
            "string",
            "digest of that body, null where the capture lacks some",
            nullable=True,
        ),
        Column("sha256", "string", "digest of the live body", nullable=True),
        Column(
            "recorded_server_time_ns", "i64", "request complete to first byte, in the capture", nullable=True
        ),
        Column("server_time_ns", "i64", "request written to first byte, live", nullable=True),
        Column("recorded_transfer_time_ns", "i64", "first to last byte, in the capture", nullable=True),
        Column("transfer_time_ns", "i64", "first to last byte, live", nullable=True),
        Column(
            "differs", "text", "what differs (status, length, body), or why there is no answer", nullable=True
        ),
    ),
)
