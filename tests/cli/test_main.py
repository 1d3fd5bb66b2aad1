"""How a command ends: exit codes, one line on stderr, never a traceback for a user's mistake."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys

import pytest
import typer

from pcaptool.cli import main
from pcaptool.errors import CaptureError
from pcaptool.tables import TABLES


@pytest.fixture
def raising(monkeypatch):
    """A command line whose command raises what the test wants."""

    def arrange(error):
        def app(**_):
            raise error

        monkeypatch.setattr(main, "make_app", lambda _names: app)

    return arrange


ENDS = [
    (CaptureError("cut", path="x.pcap", offset=24), 2, "pcaptool: x.pcap: byte 24: cut\n"),
    (
        FileNotFoundError(2, "No such file or directory", "a\x1b[31m"),
        2,
        "pcaptool: a\\x1b[31m: No such file or directory\n",
    ),
    (OSError(28, "No space left on device"), 2, "pcaptool: No space left on device\n"),
    (MemoryError(), 2, "pcaptool: out of memory\n"),
    (KeyboardInterrupt(), 130, "\npcaptool: interrupted\n"),
    (typer.Abort(), 130, "\npcaptool: interrupted\n"),
    (SystemExit(143), 143, ""),
]


@pytest.mark.parametrize(("error", "code", "said"), ENDS, ids=[type(e).__name__ for e, _, _ in ENDS])
def test_an_error_is_one_line_and_a_code(error, code, said, raising, capsys):
    raising(error)
    assert main.run([]) == code
    assert capsys.readouterr().err == said


def test_a_bug_is_trouble_not_a_difference(raising, capsys):
    raising(ZeroDivisionError("x"))
    assert main.run([]) == 2
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert error.endswith("please report it with the lines above\n")


@pytest.mark.parametrize("arguments", [["--nonsense"], ["nonsense"], ["schema", "a", "b"], []])
def test_bad_usage_is_trouble(arguments, capsys):
    assert main.run(arguments) == 2
    assert "Usage: pcaptool" in "".join(capsys.readouterr())


def test_a_command_with_a_typo_is_guessed(capsys):
    assert main.run(["schem"]) == 2
    assert "schema" in capsys.readouterr().err


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_streams_are_the_null_device(closed, lab_captures, tmp_path):
    capture = next(iter(sorted(lab_captures.glob("*.pcap"))))
    words = [sys.executable, "-m", "pcaptool", "analyze", str(capture), "-o", str(tmp_path / "r")]
    shell = f"exec {shlex.join(words)} {closed}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
    assert "Traceback" not in done.stderr
    assert (tmp_path / "r" / "tcp.parquet").read_bytes()[:4] == b"PAR1"  # nothing was written into its file


@pytest.mark.parametrize(
    "settings",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
)
def test_a_terminal_without_our_letters_gets_others(settings, lab_captures):
    words = [sys.executable, "-m", "pcaptool", "info", str(lab_captures / "size-1.server.pcap")]
    done = subprocess.run(words, capture_output=True, check=True, env=os.environ | settings)
    assert done.stdout.isascii()
    assert b" us" in done.stdout
    assert done.stderr == b""


def test_a_reader_that_goes_away_is_no_error():
    shell = (
        f"{sys.executable} -m pcaptool.cli.main schema --json | head -c 1 >/dev/null; echo ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("analyze {a} -o {out}", 0),
        ("info {a}", 0),
        ("diff {a} {a}", 0),
        ("diff {a} {b}", 1),
        ("diff {a} {b} --json", 1),
    ],
)
def test_a_reader_that_goes_away_does_not_change_the_verdict(command, code, lab_captures, tmp_path):
    a, b = (lab_captures / f"{name}.server.pcap" for name in ("size-1", "size-1354"))
    words = command.format(a=a, b=b, out=tmp_path / "r")
    # The pipe is closed before the first word is written.
    shell = f"{sys.executable} -m pcaptool.cli.main {words} | (exec <&-; sleep 0); echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"{code}\n", "")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_unwinds_and_is_told_to_the_shell(number, code):
    code_text = (
        "import signal, sys, time\nfrom pcaptool.cli import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background job ignores it
        "def app(**_):\n    try:\n        print('up', flush=True)\n        time.sleep(30)\n"
        "    finally:\n        print('tidy', flush=True)\n"
        "main.make_app = lambda names: app\nsys.exit(main.run())"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code_text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout.readline() == "up\n"
        os.kill(child.pid, number)
        rest, error = child.communicate(timeout=20)
    assert (child.returncode, rest) == (code, "tidy\n")
    assert "Traceback" not in error


class TestSchema:
    def test_lists_every_table(self, capsys):
        assert main.run(["schema"]) == 0
        shown = capsys.readouterr().out
        assert all(name in shown for name in TABLES)

    @pytest.mark.parametrize("name", TABLES)
    def test_shows_every_column(self, name, capsys):
        assert main.run(["schema", name]) == 0
        shown = capsys.readouterr().out
        assert all(column in shown for column in TABLES[name].names)

    def test_json_says_all(self, capsys):
        assert main.run(["schema", "--json"]) == 0
        tables = json.loads(capsys.readouterr().out)
        assert [t["name"] for t in tables] == list(TABLES)
        tcp = next(t for t in tables if t["name"] == "tcp")
        assert {"name": "srcport", "type": "uint16"}.items() <= next(
            c for c in tcp["columns"] if c["name"] == "srcport"
        ).items()

    def test_a_table_that_is_none(self, capsys):
        assert main.run(["schema", "tpc"]) == 2
        assert capsys.readouterr().err.startswith("pcaptool: there is no table 'tpc' (tables: packets,")
