"""Whether a process listens on a port, seen in procfs: not a packet is sent to find out.

Knows: /proc/PID/net/tcp and tcp6, which show the network namespace of the process (proc_pid_net(5)).
Must not know: who the process is.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["listening_ports", "listens"]

_LISTEN = "0A"


def listening_ports(table: str) -> set[int]:
    r"""Ports of the sockets in state LISTEN of a table in the form of /proc/net/tcp.

    Examples
    --------
    >>> row = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0"
    >>> listening_ports("  sl  local_address rem_address   st\n" + row)
    {8080}
    """
    rows = [line.split() for line in table.splitlines()[1:]]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if len(row) > 3 and row[3] == _LISTEN}


def listens(pid: int, port: int) -> bool:
    """Whether something listens on a port in the network namespace of a process; False where it has ended."""
    for name in ("tcp", "tcp6"):
        try:
            table = Path(f"/proc/{pid}/net/{name}").read_text()
        except OSError:
            continue
        if port in listening_ports(table):
            return True
    return False
