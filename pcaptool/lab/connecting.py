"""A server that opens its connections itself, at the moment at which the client does: simultaneous open.

    python -m pcaptool.lab.connecting SCENARIO.toml

Knows: how both programs learn that moment (a file beside the scenario), and which ports are whose.
Must not know: namespaces, captures, or how requests are answered (`server`).
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from pathlib import Path

from pcaptool.lab.owner import SERVER_COMM, set_comm
from pcaptool.lab.server import serve_connection, set_buffers
from pcaptool.scenario import Scenario, load_scenario

__all__ = ["connect_all", "set_start", "wait_for_start"]

START_FILE = "start_ns"


def set_start(folder: Path, delay_s: float) -> None:
    """Say when both programs begin."""
    (folder / START_FILE).write_text(str(time.time_ns() + int(delay_s * 1e9)))


def wait_for_start(scenario_path: str | Path) -> None:
    """Sleep until then; not at all where nothing was said."""
    with contextlib.suppress(FileNotFoundError):
        start_ns = int(Path(scenario_path).with_name(START_FILE).read_text())
        time.sleep(max(0, start_ns - time.time_ns()) / 1e9)


def connect_all(scenario: Scenario) -> None:
    """Open each of the client's connections from this side, and serve it."""
    threads = [
        threading.Thread(target=_connect, args=(scenario, index))
        for index in range(scenario.client.connections)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _connect(scenario: Scenario, index: int) -> None:
    family = socket.AF_INET if scenario.family == 4 else socket.AF_INET6
    time.sleep(index * scenario.client.stagger_ns / 1e9)
    with socket.socket(family, socket.SOCK_STREAM) as connection, contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        set_buffers(connection, scenario)
        connection.bind((scenario.server_address, scenario.server.port))
        connection.connect((scenario.client_address, (scenario.client.port or 0) + index))
        serve_connection(scenario, connection)


def main(path: str) -> None:
    """Wait, connect, serve."""
    set_comm(SERVER_COMM)
    scenario = load_scenario(path, model=False)
    wait_for_start(path)
    connect_all(scenario)


if __name__ == "__main__":
    main(sys.argv[1])
