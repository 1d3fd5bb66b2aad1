"""`pcaptool replay` on the command line: requests to servers on this host and to the model; what is refused."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from contextlib import contextmanager

import polars as pl
import pytest

from pcaptool.cli.main import run
from pcaptool.lab.server import ReferenceServer
from pcaptool.scenario import load_scenario


@pytest.fixture
def ask(capsys):
    """Runs the command: exit code, report or what was said."""

    def go(*arguments):
        code = run(["replay", *map(str, arguments), "--json"])
        out, err = capsys.readouterr()
        return code, json.loads(out) if out else err

    return go


@contextmanager
def answering(handle):
    """A server of asyncio in a thread: `handle(reader, writer)` for each connection."""
    loop = asyncio.new_event_loop()
    ready, stop = threading.Event(), asyncio.Event()
    port = []

    async def main():
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        port.append(server.sockets[0].getsockname()[1])
        ready.set()
        await stop.wait()
        server.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()))
    thread.start()
    ready.wait(10)
    try:
        yield f"http://127.0.0.1:{port[0]}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


def responder(answers, *, requests_each=None, seen=None):
    """Answers by target; closes after so many on a connection."""

    async def handle(reader, writer):
        count = 0
        while requests_each is None or count < requests_each:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            if seen is not None:
                seen.append(head)
            writer.write(answers(head.split()[1].decode()))
            await writer.drain()
            count += 1
        writer.close()

    return handle


def reference(target):
    """As the laboratory's server: letters over and over."""
    size = int(target.rpartition("/")[2])
    body = (b"abcdefghijklmnopqrstuvwxyz" * (size // 26 + 1))[:size]
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (size, body)


@pytest.mark.parametrize("name", ["keepalive-5", "concurrent-4", "size-100k", "write-chunks", "loss-tail"])
def test_the_reference_server_answers_as_it_did_in_the_capture(name, ask, lab_captures, lab_scenarios):
    with ReferenceServer(
        load_scenario(lab_scenarios / f"{name}.toml", model=False), "127.0.0.1", 0
    ) as server:
        thread = threading.Thread(target=server.serve, daemon=True)
        thread.start()
        code, report = ask(lab_captures / f"{name}.server.pcap", "--http", f"http://127.0.0.1:{server.port}")
    assert (code, report["same"]) == (0, report["requests"])
    assert report["requests"] > 0


def test_what_differs_is_named(ask, lab_captures, tmp_path):
    def answers(target):
        other = {
            "/bytes/10": b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            "/bytes/5000": b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000,
            "/bytes/20000": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        }
        return other.get(target) or reference(target)

    with answering(responder(answers)) as url:
        code, report = ask(lab_captures / "keepalive-5.server.pcap", "--http", url, "-o", tmp_path / "out")
    assert code == 1
    assert [row["differs"] for row in report["rows"]] == [None, "status, length", "body", None, "length"]
    table = pl.read_parquet(tmp_path / "out" / "replay_http.parquet")
    assert table["target"].to_list() == [row["target"] for row in report["rows"]]
    assert table["status"].to_list() == [200, 404, 200, 200, 200]


def test_a_server_that_closes_early_gets_new_connections(ask, lab_captures):
    with answering(responder(reference, requests_each=2)) as url:
        code, report = ask(lab_captures / "keepalive-5.server.pcap", "--http", url)
    assert (code, report["same"], report["reopened"]) == (0, 5, 2)
    assert "closed 2 connections earlier" in report["notes"][0]


def test_a_server_that_says_nothing_is_waited_for_and_no_longer(ask, lab_captures):
    async def silent(reader, writer):
        await reader.read()
        writer.close()

    with answering(silent) as url:
        code, report = ask(lab_captures / "size-1.server.pcap", "--http", url, "--timeout", "0.2")
    assert (code, report["rows"][0]["differs"]) == (1, "no answer within 0.2 s")


def test_a_server_that_closes_without_an_answer(ask, lab_captures):
    async def rude(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    with answering(rude) as url:
        code, report = ask(lab_captures / "keepalive-5.server.pcap", "--http", url)
    assert code == 1
    assert report["differs"] == {"no answer: the server closed the connection": 5}


def test_nobody_there_is_trouble_in_one_line(ask, lab_captures):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    code, said = ask(lab_captures / "size-1.server.pcap", "--http", f"http://127.0.0.1:{port}")
    assert (code, said) == (
        2,
        f"pcaptool: 127.0.0.1 port {port}: connection refused (is the server running?)\n",
    )


def test_times_are_kept_and_can_be_scaled_or_left_out(ask, lab_captures):
    """busy-8s: requests over eight seconds."""
    with answering(responder(reference)) as url:
        _, fast = ask(lab_captures / "busy-8s.server.pcap", "--http", url, "--topspeed")
        _, scaled = ask(lab_captures / "busy-8s.server.pcap", "--http", url, "--speed", "20")
    assert {row["planned_ns"] for row in fast["rows"]} == {0}
    planned = [row["planned_ns"] for row in scaled["rows"]]
    assert planned == sorted(planned)
    assert 100_000_000 < planned[-1] < 500_000_000
    assert all(row["sent_ns"] >= row["planned_ns"] for row in scaled["rows"])
    assert scaled["same"] == scaled["requests"]


def test_hosts_are_mapped_and_requests_are_otherwise_those_of_the_capture(ask, lab_captures):
    seen = []
    with answering(responder(reference, seen=seen)) as url:
        ask(lab_captures / "keepalive-5.server.pcap", "--http", url, "--host", "example.test", "--limit", "1")
    assert seen == [b"GET /bytes/1000 HTTP/1.1\r\nHost: example.test\r\nUser-Agent: lab\r\n\r\n"]


@pytest.mark.parametrize(
    "option", [("-i", "lo"), ("--ttl", "9"), ("--loop", "2"), ("--dry-run",), ("--pps", "5")]
)
def test_options_that_would_do_nothing_are_refused(option, ask, lab_captures):
    code, said = ask(lab_captures / "size-1.server.pcap", "--http", "http://127.0.0.1:9", *option)
    assert code == 2
    assert said.count("\n") == 1


def test_the_model_answers_and_its_capture_can_be_compared(lab_captures, tmp_path, capsys):
    original, made = lab_captures / "keepalive-5.server.pcap", tmp_path / "model.pcapng"
    assert run(["replay", str(original), "--model", "-o", str(made)]) == 0
    assert run(["diff", str(made), str(original), "--as", "model", "--side", "server"]) == 0
    assert "--as model" in capsys.readouterr().out


@pytest.mark.parametrize("options", [[], ["-o", "x.pcapng", "--speed", "2"], ["-o", "x.pcapng", "-i", "lo"]])
def test_the_model_needs_a_name_and_takes_nothing_else(options, ask, lab_captures):
    code, said = ask(lab_captures / "size-1.server.pcap", "--model", *options)
    assert code == 2
    assert "--model" in said


def test_nothing_is_sent_unless_an_interface_is_named(ask, lab_captures):
    code, said = ask(lab_captures / "size-1.server.pcap")
    assert (code, said.count("\n")) == (2, 1)
    assert "nothing is sent unless an interface is named (-i NAME)" in said
