"""The reference server under load: wrk and curl, which are not ours, beside slow clients and nonsense, on loopback."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pcaptool.scenario import body

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(
        not (shutil.which("wrk") and shutil.which("curl")), reason="needs wrk and curl (make tools)"
    ),
]
NONSENSE = (b"\x16\x03\x01\x02\x00\x01\x00\x01", b"GET / HTTP/1.1\r\n\r\n", b"X" * 70_000, b"\r\n" * 50, b"")


@pytest.fixture
def server(tmp_path):
    """`pcaptool serve` as a process of its own; gives its number and port."""
    scenario = tmp_path / "s.toml"
    scenario.write_text('[client]\nrequests = ["/bytes/1000"]\n')
    command = [sys.executable, "-m", "pcaptool.cli.main", "serve", str(scenario), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        said = process.stderr.readline()
        port = int(re.search(r"http://127\.0\.0\.1:(\d+)", said)[1])
        yield process, port
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130


def status(process, name):
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(rf"^{name}:\s+(\d+)", text, re.MULTILINE)[1])


def load(port, path, connections, least):
    """Requests that wrk had answered, and everything that went wrong: until there are `least`, for a minute at most.

    How long that takes is the machine's: it may have no processor to spare for seconds. So wrk's own timeouts of two
    seconds do not count; that nobody waits for ever is `everyone_is_answered`'s.
    """
    requests, wrong, until = 0, [], time.monotonic() + 60
    words = ["wrk", "-t2", f"-c{connections}", "-d2s", "--timeout", "60s", f"http://127.0.0.1:{port}{path}"]
    while requests <= least and time.monotonic() < until:
        said = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout
        wrong += re.findall(r"Socket errors.*|Non-2xx.*", said)
        requests += int(re.search(r"(\d+) requests in", said)[1])
    return requests, wrong


def everyone_is_answered(port, size, count):
    """So many connections at the same time, each with one request: the sizes of their bodies."""

    def ask(_):
        with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
            sock.sendall(b"GET /bytes/%d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % size)
            answer = b""
            while more := sock.recv(65536):
                answer += more
            return answer.partition(b"\r\n\r\n")[2] == body(size)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(ask, range(count))) == [True] * count


def test_many_connections_are_served_without_an_error(server):
    process, port = server
    for path, connections in (("/bytes/1000", 100), ("/bytes/200000", 20)):
        requests, wrong = load(port, path, connections, 200)
        assert wrong == []
        assert requests > 200
        assert everyone_is_answered(port, 1000, connections)
    until = time.monotonic() + 60  # every thread and descriptor is given back
    while status(process, "Threads") > 2 and time.monotonic() < until:
        time.sleep(0.1)
    assert status(process, "Threads") <= 2
    assert len(list(Path(f"/proc/{process.pid}/fd").iterdir())) < 12


def test_slow_clients_and_nonsense_hold_nobody_up(server):
    _, port = server
    over = threading.Event()

    def bother():
        while not over.is_set():
            for data in NONSENSE:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 2) as sock:
                    sock.sendall(data)
                time.sleep(0.01)  # a client that errs, not a flood that fills the listen queue

    slow = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(50)]
    try:
        for number, sock in enumerate(slow):
            # Half of them never end their request, half never read their answer.
            sock.sendall(b"GET /bytes/" if number % 2 else b"GET /bytes/9000000 HTTP/1.1\r\nHost: x\r\n\r\n")
        thread = threading.Thread(target=bother)
        thread.start()
        requests, wrong = load(port, "/bytes/1000", 30, 100)
        assert wrong == []
        assert requests > 100
        assert everyone_is_answered(port, 1000, 30)
        over.set()
        thread.join(60)
        slow[1].sendall(b"7 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")  # it is still waited for
        answer = b""
        while more := slow[1].recv(65536):
            answer += more
        assert answer.endswith(body(7))
    finally:
        over.set()
        for sock in slow:
            sock.close()


def test_curl_reads_what_it_asked_for(server, tmp_path):
    _, port = server
    out = tmp_path / "x"
    words = ["curl", "-q", "-sS", "--noproxy", "*", "-w", "%{json}", "-o", str(out)]
    said = subprocess.run(
        [*words, f"http://127.0.0.1:{port}/bytes/123456"], capture_output=True, text=True, check=True
    ).stdout
    assert json.loads(said)["http_code"] == 200
    assert out.read_bytes() == body(123456)
