"""A program that uses Python's http.server: `python httpserver.py ANSWERS.json ADDRESS PORT`.

Knows: the standard library only; it is started as a script of its own. Nothing of the laboratory's is in the way of its
system calls.
Leaves out: the log line on standard error.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

__all__ = ["handler", "main"]

_LETTERS = b"abcdefghijklmnopqrstuvwxyz"


def handler(answers: dict[str, dict[str, Any]]) -> type[BaseHTTPRequestHandler]:
    """A request handler that has these answers."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            """Head and body."""
            answer = answers.get(self.path)
            if answer is None:
                self.send_error(404)
                return
            if answer["think_ms"]:
                time.sleep(answer["think_ms"] / 1000)
            body = _body(answer)
            self.send_response(answer["status"], answer["reason"])
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 - http.server's name

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
            """Say nothing."""

    return Handler


def _body(answer: dict[str, Any]) -> bytes:
    if answer["text"] is not None:
        return str(answer["text"]).encode()
    size: int = answer["bytes"]
    return (_LETTERS * (size // len(_LETTERS) + 1))[:size]


def main(path: str, address: str, port: int) -> None:
    """Serve for ever."""
    about = json.loads(Path(path).read_text())

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in address else socket.AF_INET

        def server_bind(self) -> None:
            for name, option in (("sndbuf", socket.SO_SNDBUF), ("rcvbuf", socket.SO_RCVBUF)):
                if about[name]:
                    self.socket.setsockopt(socket.SOL_SOCKET, option, about[name])
            super().server_bind()

    Server((address, port), handler(about["answers"])).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
