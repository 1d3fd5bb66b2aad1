"""A capture's requests asked again: from the capture to the comparison of answers.

Knows: the order of things; what makes two answers the same: status, length of the body, its digest.
Must not know: arguments, printing, how anything is read or asked.
Times are reported, not judged.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pcaptool.errors import SystemRefusedError, UsageError
from pcaptool.replay.asking import Live, Server, Session, ask_all
from pcaptool.replay.pace import Pace
from pcaptool.replay.recorded import recorded_conversations
from pcaptool.tables import REPLAY_HTTP
from pcaptool.tables.columns import Columns, Masked
from pcaptool.tables.definition import KINDS

__all__ = ["Asking", "ask"]


@dataclass(slots=True)
class Asking:
    """What asking again brought.

    Parameters
    ----------
    connections, reopened : int
        Recorded ones; further ones because the server had closed too early.
    rows : list of dict
        One a request, as in the table `replay_http`.
    interrupted : bool
    notes : list of str
    """

    connections: int
    reopened: int
    rows: list[dict[str, Any]]
    interrupted: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def same(self) -> int:
        """Requests whose answer is the recorded one."""
        return sum(row["differs"] is None for row in self.rows)

    @property
    def exit_code(self) -> int:
        """0 where every request has the recorded answer, else 1."""
        return 0 if self.same == len(self.rows) else 1

    def as_dict(self) -> dict[str, Any]:
        """For a program."""
        return {
            "connections": self.connections,
            "reopened": self.reopened,
            "requests": len(self.rows),
            "answered": sum(row["status"] is not None for row in self.rows),
            "same": self.same,
            "differs": dict(Counter(row["differs"] for row in self.rows if row["differs"])),
            "late_ns": _quantiles(
                [row["sent_ns"] - row["planned_ns"] for row in self.rows if row["sent_ns"] is not None]
            ),
            "recorded_server_time_ns": _of(self.rows, "recorded_server_time_ns"),
            "server_time_ns": _of(self.rows, "server_time_ns"),
            "recorded_transfer_time_ns": _of(self.rows, "recorded_transfer_time_ns"),
            "transfer_time_ns": _of(self.rows, "transfer_time_ns"),
            "interrupted": self.interrupted,
            "notes": self.notes,
            "rows": self.rows,
            "exit_code": self.exit_code,
        }


def _of(rows: Sequence[dict[str, Any]], name: str) -> dict[str, int] | None:
    return _quantiles([row[name] for row in rows if row[name] is not None])


def _quantiles(values: Sequence[int]) -> dict[str, int] | None:
    if not values:
        return None
    array = np.sort(np.array(values, np.int64))
    at = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {name: int(array[max(0, int(np.ceil(part * len(array))) - 1)]) for name, part in at.items()}


def ask(
    capture: str | Path,
    server: Server,
    pace: Pace | None = None,
    *,
    limit: int | None = None,
    out: str | Path | None = None,
    say: Callable[[str], None] | None = None,
    command: str = "",
) -> Asking:
    """Ask a live server what clients asked in a capture; compare its answers with the recorded ones.

    Parameters
    ----------
    capture : path
    server : Server
    pace : Pace, optional
        Recorded times, scaled, or topspeed.
    limit : int, optional
        Requests at most.
    out : path, optional
        Folder for the table `replay_http`.
    say : callable, optional
        Told what happens now.
    command : str
        Kept in the table's file.

    Raises
    ------
    CaptureError
        The capture cannot be read, or holds no request.
    SystemRefusedError
        The server cannot be reached at all.
    UsageError
        A pace in packets or bits.
    """
    chosen = pace or Pace()
    if chosen.kind not in ("recorded", "topspeed"):
        raise UsageError(
            "requests have no rate in packets or bits", hint="--speed X or --topspeed go with --http"
        )
    word = say or (lambda _text: None)
    word("reading requests")
    talks = recorded_conversations(capture)
    if limit is not None:
        left = limit
        for talk in talks:
            del talk.asked[max(0, left) :]
            left -= len(talk.asked)
        talks = [talk for talk in talks if talk.asked]
    word(f"asking {sum(len(talk.asked) for talk in talks):,} requests on {len(talks):,} connections")
    session = asyncio.run(ask_all(talks, server, chosen))
    _reached(session, server)
    found = Asking(len(talks), session.reopened, [_row(live) for live in session.lives], session.interrupted)
    if session.reopened:
        found.notes.append(
            f"the server closed {session.reopened} connections earlier than the recorded one did; new ones went on"
        )
    if out is not None:
        _write(found, out, command)
    return found


def _reached(session: Session, server: Server) -> None:
    troubles = {live.trouble for live in session.lives}
    if all(trouble.startswith("no connection: ") for trouble in troubles):
        raise SystemRefusedError(
            f"{server.host} port {server.port}: {min(troubles).removeprefix('no connection: ')}",
            hint="is the server running?",
        )


def _row(live: Live) -> dict[str, Any]:
    before, now = live.asked.answer, live.answer
    return {
        "flow": live.flow,
        "exchange": live.asked.number,
        "method": live.asked.method,
        "target": live.asked.target,
        "planned_ns": live.planned_ns,
        "sent_ns": live.sent_ns,
        "recorded_status": before.status if before else None,
        "status": now.status if now else None,
        "recorded_body_bytes": before.body_bytes if before else None,
        "body_bytes": now.body_bytes if now else None,
        "recorded_sha256": before.sha256 if before else None,
        "sha256": now.sha256 if now else None,
        "recorded_server_time_ns": before.first_ns - live.asked.last_ns if before else None,
        "server_time_ns": now.first_ns - live.sent_ns if now and live.sent_ns is not None else None,
        "recorded_transfer_time_ns": before.last_ns - before.first_ns if before and before.complete else None,
        "transfer_time_ns": now.last_ns - now.first_ns if now and now.complete else None,
        "differs": _differs(live),
    }


def _differs(live: Live) -> str | None:
    """What is not as recorded; None where nothing is."""
    before, now = live.asked.answer, live.answer
    if live.trouble:
        return live.trouble
    if now is None:
        return "no answer"
    if before is None:
        return "answered, and was not in the capture"
    parts = ["status"] if now.status != before.status else []
    if not before.complete:
        return ", ".join(parts) or None  # how long the recorded answer would have been is not known
    if now.body_bytes != before.body_bytes:
        parts.append("length")
    elif before.sha256 is not None and now.sha256 != before.sha256:
        parts.append("body")
    return ", ".join(parts) or None


def _write(found: Asking, out: str | Path, command: str) -> None:
    from pcaptool.tables.parquet import ReportWriter  # noqa: PLC0415 - loads Arrow

    columns: Columns = {}
    for column in REPLAY_HTTP.columns:
        values = [row[column.name] for row in found.rows]
        dtype = KINDS[column.kind][0]
        if dtype:
            valid = np.array([value is not None for value in values], np.bool_)
            columns[column.name] = Masked(
                np.array([0 if value is None else value for value in values], dtype), valid
            )
        else:
            columns[column.name] = values
    with ReportWriter(out, [REPLAY_HTTP]) as writer:
        writer.add(REPLAY_HTTP.name, columns)
        writer.finish({"command": command, "notices": found.notes})
