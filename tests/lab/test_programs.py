"""The real programs of the profiles between two namespaces, against the model's. Needs root.

`make test` installs nginx, node, curl, wrk and express where it runs as root.
"""

from __future__ import annotations

import json
import os
import shutil

import pytest

from pcaptool.diff import diff
from pcaptool.errors import SystemRefusedError
from pcaptool.generate import generate
from pcaptool.lab.programs import node
from pcaptool.lab.run import lab_run
from pcaptool.scenario import load_scenario, parse_scenario

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root and network namespaces"),
    pytest.mark.xdist_group("lab"),
]
HAS_EXPRESS = (node.modules_folder() / "node_modules" / "express").exists()
PROGRAMS = (
    *("reference", "python", "nginx", "node"),
    pytest.param(
        "express", marks=pytest.mark.skipif(not HAS_EXPRESS, reason="npm could not install express")
    ),
)


def compare(text, folder):
    """A scenario on the kernel and through the model, as it was run (with the versions that are installed).

    On a loaded machine a program (node's first answers above all) may take longer than the 40 ms of a delayed ACK, and
    the kernel sends one more: up to four runs may show the model's frames. A wrong model equals none.
    """
    for _ in range(4):
        made = lab_run(parse_scenario(text), folder, trace=False)
        model = generate(load_scenario(folder / "scenario.toml"), folder / "model.pcapng").capture
        found = diff(model, made.server, relation="model", side="server")
        if found.same:
            break
    return made, found


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_real_program_sends_what_its_model_sends(tmp_path, program, family):
    """Small answers, which do not depend on which processor was faster."""
    made, found = compare(
        f'family = {family}\nserver.profile = "{program}"\n[client]\n'
        'requests = [["HEAD", "/bytes/5000"], "/bytes/0", "/bytes/9", "/bytes/1300"]\npause_ms = 60',
        tmp_path,
    )
    assert made.notes == ()
    assert found.same, found.verdict
    about = json.loads((tmp_path / "run.json").read_text())
    assert [e["event"] for e in about["client"]].count("response") == 4
    assert not (tmp_path / "server").exists()  # its folder went with the run


def test_a_body_as_text_a_status_and_a_think_time(tmp_path):
    text = (
        'server.profile = "{}"\nclient.requests = ["/x"]\n'
        '[[server.route]]\npath = "/x"\nbody = "caf\u00e9 \\"1\\"\\n"\nthink_time_ms = 30\n{}'
    )
    for program, more in (
        ("python", 'status = "404 Gone away"'),
        ("node", 'status = "503 Later"'),
        *([("express", "")] if HAS_EXPRESS else []),
    ):
        made, found = compare(text.format(program, more), tmp_path / program)
        assert found.same, (program, found.verdict)
        assert made.notes == ()


def test_nginx_heeds_its_directives(tmp_path):
    for number, lines in enumerate(("sendfile = false", "tcp_nopush = false", "tcp_nodelay = false")):
        text = f'server.profile = "nginx"\n[server.nginx]\n{lines}\n[client]\nrequests = ["/bytes/0", "/bytes/700"]'
        _, found = compare(text, tmp_path / str(number))
        assert found.same, (lines, found.verdict)


@pytest.mark.parametrize("program", ["nginx", "node"])
def test_an_idle_connection_is_closed_by_the_program(tmp_path, program):
    _, found = compare(
        f'server.profile = "{program}"\nserver.keepalive_timeout_ms = 1000\n'
        '[client]\nrequests = ["/bytes/9"]\nclose = "server"',
        tmp_path,
    )
    assert found.same, found.verdict


@pytest.mark.parametrize("program", ["reference", "nginx", "node"])
def test_curl_as_the_client(tmp_path, program):
    made, found = compare(
        f'server.profile = "{program}"\n[client]\nprogram = "curl"\nrequests = ["/bytes/9", "/bytes/1000"]',
        tmp_path,
    )
    assert made.notes == ()
    assert found.same, found.verdict
    about = json.loads((tmp_path / "run.json").read_text())
    assert [(e["status"], e["bytes"]) for e in about["client"]] == [(200, 9), (200, 1000)]
    assert load_scenario(tmp_path / "scenario.toml").client.version


def test_curls_that_start_one_after_the_other(tmp_path):
    plan = parse_scenario(
        '[client]\nprogram = "curl"\nconnections = 2\nstagger_ms = 50\nport = 40000\nkeepalive = false'
    )
    lab_run(plan, tmp_path, trace=False)
    about = json.loads((tmp_path / "run.json").read_text())
    assert [e["port"] for e in about["client"]] == [40000, 40001]


def test_wrk_as_the_client(tmp_path):
    plan = parse_scenario(
        'snaplen = 100\n[client]\nprogram = "wrk"\nconnections = 4\nrequests = ["/bytes/100"]', model=False
    )
    made = lab_run(plan, tmp_path, trace=False)
    assert made.notes == ()
    (load,) = json.loads((tmp_path / "run.json").read_text())["client"]
    assert load["errors"] == 0
    assert load["requests"] > 100


@pytest.mark.parametrize(
    ("scenario", "program", "says"),
    [
        ('server.profile = "nginx"', "nginx", "the laboratory needs nginx (apt-get install nginx)"),
        ('server.profile = "node"', "node", "the laboratory needs node (apt-get install nodejs)"),
        ('client.program = "curl"', "curl", "the laboratory needs curl (apt-get install curl)"),
    ],
)
def test_a_missing_program_is_named_with_its_package(tmp_path, monkeypatch, scenario, program, says):
    whole = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == program else whole(name))
    with pytest.raises(SystemRefusedError) as raised:
        lab_run(parse_scenario(scenario), tmp_path)
    assert str(raised.value) == says


def test_missing_express_is_named_with_the_command_that_installs_it(tmp_path, monkeypatch):
    monkeypatch.setattr(node, "modules_folder", lambda: tmp_path / "cache")
    with pytest.raises(SystemRefusedError) as raised:
        lab_run(parse_scenario('server.profile = "express"'), tmp_path / "out")
    assert str(raised.value) == (
        f"the laboratory needs express (npm install --prefix {tmp_path / 'cache'} express@5)"
    )


def test_a_server_that_cannot_start_is_told_with_its_words(tmp_path, monkeypatch):
    monkeypatch.setattr(node, "_HTTP", "throw new Error('no such luck')")
    with pytest.raises(SystemRefusedError, match=r"the server node did not start: .*no such luck"):
        lab_run(parse_scenario('server.profile = "node"'), tmp_path)
