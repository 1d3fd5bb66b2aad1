"""The reference server over loopback: the model's bytes, and what no scenario contains."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from pcaptool.lab.server import ReferenceServer
from pcaptool.scenario import (
    NOT_FOUND,
    Scenario,
    find_route,
    parse_scenario,
    request_bytes,
    response_head,
    route_body,
)
from pcaptool.stack.run import run_scenario
from tests.model.frames import tcp_frames


@contextlib.contextmanager
def serving(scenario: Scenario | None = None, **options):
    server = ReferenceServer(scenario or Scenario(), "127.0.0.1", 0, **options)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join(10)
        assert not thread.is_alive()


def ask(server, data, *, half_close=False):
    """Send bytes, read to the end."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        sock.sendall(data)
        if half_close:
            sock.shutdown(socket.SHUT_WR)
        out = b""
        while more := sock.recv(1 << 20):
            out += more
        return out


@pytest.mark.parametrize(
    "text",
    [
        'client.requests = ["/bytes/0"]',
        'client.requests = ["/bytes/300000", ["HEAD", "/bytes/7"], "/bytes/1"]',
        '[client]\nrequests = ["/x"]\n[[server.route]]\npath = "/x"\nstatus = "404 Not Found"\nbody = "äö\\n"',
        '[client]\nrequests = ["/bytes/9999"]\n[[server.route]]\nwrite = "chunks"\nchunk_bytes = 1000\ncork = true',
        '[client]\nrequests = ["/bytes/9"]\n[[server.route]]\nwrite = "head-then-body"\nmore = true\nnodelay = true',
        '[client]\nkeepalive = false\nrequests = ["/bytes/9"]\n[server]\nheaders = [["A", "{connection}"]]',
    ],
)
def test_the_bytes_are_the_models(text):
    plan = parse_scenario(text)
    sent = b"".join(request_bytes(plan, n) for n in range(len(plan.client.requests)))
    with serving(plan) as server:
        real = ask(server, sent, half_close=plan.client.keepalive)
    frames = tcp_frames(run_scenario(plan), leaving=True)
    start, stream = frames[0]["seq"] + 1, {}
    for frame in frames:
        stream[frame["seq"] - start & 0xFFFFFFFF] = frame["data"]
    model = b"".join(data for _, data in sorted(stream.items()) if data)
    assert real == model


def test_what_is_not_there_is_answered_as_in_the_model():
    with serving() as server:
        assert ask(server, b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n") == NOT_FOUND


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x00\xff" + bytes(range(256)), 400),
        (b"GET /bytes/1 HTTP/1.1\r\n\r\n", 400),
        (b"DELETE /bytes/1 HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"GET /bytes/1 HTTP/1.1\r\nHost: x\r\nx: " + b"y" * 200_000 + b"\r\n\r\n", 431),
    ],
)
def test_a_bad_request_is_told_and_the_server_goes_on(data, status):
    with serving() as server:
        answer = ask(server, data)
        assert re.match(rb"HTTP/1\.1 (\d+) .*\r\nConnection: close\r\n\r\n$", answer, re.DOTALL)
        assert int(answer[9:12]) == status
        assert ask(server, b"GET /bytes/3 HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\nabc")


def test_another_client_reads_several_responses_of_one_connection():
    with serving() as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        for size in (0, 5, 70_000):
            connection.request("GET", f"/bytes/{size}")
            answer = connection.getresponse()
            assert (answer.status, len(answer.read())) == (200, size)
        connection.close()


def test_a_client_that_sends_byte_by_byte_is_served():
    with serving() as server, socket.create_connection(("127.0.0.1", server.port)) as sock:
        for byte in b"GET /bytes/2 HTTP/1.0\r\n\r\n":
            sock.sendall(bytes([byte]))
        assert sock.makefile("rb").read().endswith(b"ab")


def test_silence_ends_a_connection():
    with serving(timeout_s=1) as server, socket.create_connection(("127.0.0.1", server.port)) as sock:
        sock.settimeout(10)
        sock.sendall(b"GET /by")
        assert sock.recv(1) == b""


def test_a_client_that_never_reads_holds_nobody_up():
    with serving(timeout_s=1) as server, socket.create_connection(("127.0.0.1", server.port)) as sock:
        sock.sendall(b"GET /bytes/50000000 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert ask(server, b"GET /bytes/3 HTTP/1.0\r\n\r\n").endswith(b"abc")


def test_more_connections_than_slots_are_all_served():
    with serving(max_connections=4) as server:
        answers = []
        threads = [
            threading.Thread(target=lambda: answers.append(ask(server, b"GET /bytes/9 HTTP/1.0\r\n\r\n")))
            for _ in range(60)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert len(answers) == 60
        assert all(a.endswith(b"abcdefghi") for a in answers)


def test_think_time_is_waited_for():
    plan = parse_scenario("[[server.route]]\nthink_time_ms = 80")
    with serving(plan) as server:
        began = time.monotonic()
        ask(server, b"GET /bytes/1 HTTP/1.0\r\n\r\n")
        assert time.monotonic() - began >= 0.08


def test_an_end_by_the_server_and_a_reset():
    ends = '[server]\nclose = "server"\nclose_after = 1'
    with serving(parse_scenario(ends)) as server:
        assert ask(server, b"GET /bytes/1 HTTP/1.1\r\nHost: x\r\n\r\n").endswith(b"\r\n\r\na")
    resets = '[server]\nclose = "rst"\nclose_after = 1'
    with serving(parse_scenario(resets)) as server, pytest.raises(ConnectionResetError):
        ask(server, b"GET /bytes/1 HTTP/1.1\r\nHost: x\r\n\r\n")


def test_the_command_serves_until_it_is_interrupted(tmp_path):
    path = tmp_path / "s.toml"
    path.write_text("")
    command = [sys.executable, "-m", "pcaptool.cli.main", "serve", str(path), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        said = process.stderr.readline()
        port = int(re.search(r"127\.0\.0\.1:(\d+)", said)[1])
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(b"GET /bytes/4 HTTP/1.0\r\n\r\n")
            answer = sock.makefile("rb").read()
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(10) == 130
    plan = Scenario()
    route, size = find_route(plan.server, "/bytes/4")
    assert answer == response_head(plan, route, size, close=True, now_ns=0) + route_body(route, size)


def test_a_port_in_use_is_told(tmp_path):
    path = tmp_path / "s.toml"
    path.write_text("")
    with serving() as server:
        command = [sys.executable, "-m", "pcaptool.cli.main", "serve", str(path), "--port", str(server.port)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "cannot listen on 127.0.0.1 port" in done.stderr


def test_a_server_that_connects_is_not_served(tmp_path):
    path = tmp_path / "s.toml"
    path.write_text("[server]\nconnects = true\n[client]\nport = 4000\n[link]\ndelay_ms = 1\n")
    command = [sys.executable, "-m", "pcaptool.cli.main", "serve", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "server.connects" in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
