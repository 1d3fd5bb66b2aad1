"""analyze, info, diff, query and demo from the shell's side: outputs, codes, trouble."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys

import polars as pl
import pytest

from pcaptool.cli.main import run
from pcaptool.file import open_capture, open_writer
from pcaptool.tables import OF_NO_CAPTURE, TABLES


@pytest.fixture(scope="module")
def capture(request):
    return request.config.rootpath / "fixtures" / "captures" / "lab" / "keepalive-5.server.pcap"


@pytest.fixture
def said(capsys):
    """Runs a command line; gives code, stdout, stderr."""

    def go(*arguments):
        code = run([str(a) for a in arguments])
        return code, *capsys.readouterr()

    return go


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """Output of the demo in a folder of its own, and that folder."""
    folder = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        [sys.executable, "-m", "pcaptool.cli.main", "demo"],
        cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "120"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout, folder


class TestAnalyze:
    def test_writes_one_file_a_table_and_says_what_is_in_it(self, capture, tmp_path, said):
        code, out, err = said("analyze", capture, "-o", tmp_path / "r")
        assert (code, err) == (0, "")
        assert {p.stem for p in (tmp_path / "r").iterdir()} == set(TABLES) - OF_NO_CAPTURE
        assert "GET /bytes/20000" in out
        assert "packets 26" in out

    def test_json_says_rows_and_sources(self, capture, tmp_path, said):
        code, out, _ = said("analyze", capture, "-o", tmp_path / "r", "--json")
        made = json.loads(out)
        assert (code, made["tables"]["packets"], made["notices"]) == (0, 26, [])
        assert made["sources"][0]["name"] == capture.name

    def test_only_some_tables(self, capture, tmp_path, said):
        assert said("analyze", capture, "-o", tmp_path / "r", "--tables", "tcp, http", "-q")[:2] == (0, "")
        assert {p.stem for p in (tmp_path / "r").iterdir()} == {"tcp", "http"}

    def test_only_some_columns(self, capture, tmp_path, said):
        wanted = ("--columns", "tcp.n,tcp.len", "--tables", "arp")
        code, out, _ = said("analyze", capture, "-o", tmp_path / "r", *wanted)
        assert (code, "arp 2" in out, "packets" in out) == (0, True, False)
        assert said("analyze", capture, "-o", tmp_path / "s", "--columns", "tcp.lenn")[0] == 2

    def test_reads_a_pipe(self, capture, tmp_path):
        command = [
            sys.executable,
            "-m",
            "pcaptool.cli.main",
            "analyze",
            "-",
            "-o",
            str(tmp_path / "r"),
            "--json",
        ]
        with capture.open("rb") as file:
            done = subprocess.run(command, stdin=file, capture_output=True, text=True, check=True)
        assert json.loads(done.stdout)["tables"]["packets"] == 26

    def test_a_cut_capture_is_analyzed_up_to_the_cut(self, capture, tmp_path, said):
        cut = tmp_path / "cut.pcap"
        cut.write_bytes(capture.read_bytes()[:-10])
        code, out, _ = said("analyze", cut, "-o", tmp_path / "r")
        assert code == 0
        assert "packets 25" in out
        assert re.search(r"note: .*cut\.pcap: byte \d+: ", out)

    @pytest.mark.parametrize(
        ("data", "message"),
        [(None, "no such file"), (b"", "the file is empty"), (b"GIF89a" * 9, "not a capture")],
        ids=["missing", "empty", "other"],
    )
    def test_what_is_no_capture_is_one_line(self, data, message, tmp_path, said):
        path = tmp_path / "x.pcap"
        if data is not None:
            path.write_bytes(data)
        code, out, err = said("analyze", path, "-o", tmp_path / "r")
        assert (code, out) == (2, "")
        assert err.startswith(f"pcaptool: {path}: ")
        assert message in err
        assert err.count("\n") == 1
        assert not list((tmp_path / "r").glob("*")) if (tmp_path / "r").exists() else True

    def test_an_output_that_cannot_be_made(self, capture, tmp_path, said):
        (tmp_path / "file").write_text("")
        code, _, err = said("analyze", capture, "-o", tmp_path / "file" / "r")
        assert code == 2
        assert err.startswith("pcaptool: ")
        assert err.count("\n") == 1

    def test_an_unknown_table(self, capture, tmp_path, said):
        assert said("analyze", capture, "-o", tmp_path / "r", "--tables", "tpc")[0] == 2


class TestInfo:
    def test_says_format_interfaces_counts_and_flows(self, capture, said):
        code, out, _ = said("info", capture)
        assert code == 0
        assert all(word in out for word in ("pcap", "ETHERNET", "26", "192.0.2.2:33038", "tcp"))

    def test_json(self, capture, said):
        found = json.loads(said("info", capture, "--json")[1])
        assert (found["packets"], found["flows"], found["undecoded"]) == (26, 1, 0)
        assert found["first_ns"] < found["last_ns"]

    def test_no_flows_wanted(self, capture, said):
        code, out, _ = said("info", capture, "--flows", "0")
        assert (code, "biggest 0 of 1" in out) == (0, True)

    def test_pcapng_from_a_pipe_has_its_interfaces_too(self, capture, tmp_path, said):
        with open_capture(capture) as reader, open_writer(tmp_path / "c.pcapng") as writer:
            for record in reader:
                writer.write(record)
        shell = f"cat {tmp_path}/c.pcapng | {sys.executable} -m pcaptool.cli.main info -"
        done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
        mine = said("info", tmp_path / "c.pcapng")[1]
        assert "ETHERNET" in mine
        piped, filed = ([line.rstrip() for line in out.splitlines()[1:]] for out in (done.stdout, mine))
        assert piped == filed  # all but the file's name

    def test_no_capture(self, tmp_path, said):
        assert said("info", tmp_path / "none.pcap")[0] == 2

    def test_a_report(self, capture, tmp_path, said):
        summary = said("analyze", capture, "-o", tmp_path / "r")[1]
        assert said("info", tmp_path / "r")[1] == summary
        assert json.loads(said("info", tmp_path / "r", "--json")[1])["tables"]["packets"] == 26
        code, _, err = said("info", tmp_path)
        assert (code, err.count("\n")) == (2, 1)


class TestDiff:
    def test_a_capture_equals_itself(self, capture, said):
        assert said("diff", capture, capture)[0] == 0

    def test_two_that_differ_are_code_1(self, capture, lab_captures, said):
        assert said("diff", capture, lab_captures / "off-1k.server.pcap", "--as", "model")[0] == 1

    def test_json_and_files(self, capture, tmp_path, said):
        code, out, _ = said("diff", capture, capture, "--json", "-o", tmp_path / "d")
        assert code == json.loads(out)["exit_code"] == 0
        assert {p.name for p in (tmp_path / "d").iterdir()} == {
            "diff.json", "diff.txt", "alignment.parquet", "differences.parquet",
        }  # fmt: skip
        assert pl.read_parquet(tmp_path / "d" / "alignment.parquet").height == 26

    @pytest.mark.parametrize(
        "options",
        [
            ["--rule", "isn"],
            ["--rule", "isn=maybe"],
            ["--rule", "nonsense=on"],
            ["--tolerance", "nonsense=1"],
            ["--as", "x"],
        ],
    )
    def test_wrong_options_are_trouble_not_a_difference(self, capture, options, said):
        code, _, err = said("diff", capture, capture, *options)
        assert code == 2
        assert err

    def test_a_missing_side_is_trouble(self, capture, tmp_path, said):
        assert said("diff", capture, tmp_path / "none.pcap")[0] == 2


class TestQuery:
    @pytest.mark.parametrize("report", [True, False], ids=["report", "capture"])
    def test_sql_over_either(self, report, capture, tmp_path, said):
        source = capture
        if report:
            source = tmp_path / "r"
            said("analyze", capture, "-o", source, "-q")
        code, out, _ = said("query", "SELECT count(*) AS rows, max(len) AS most FROM tcp", source, "--json")
        assert (code, json.loads(out)) == (0, {"rows": 24, "most": 7240})

    def test_csv_and_terminal(self, capture, said):
        assert said("query", "SELECT n FROM arp", capture, "--csv")[1] == "n\n1\n2\n"
        sql = "SELECT option_kinds FROM tcp WHERE n = 3"
        assert said("query", sql, capture, "--csv")[1] == 'option_kinds\n"[2, 4, 8, 1, 3]"\n'
        out = said("query", "SELECT n, srcport FROM tcp", capture, "--rows", "3")[1]
        assert "33038" in out
        assert "21 more rows" in out

    @pytest.mark.parametrize(
        "sql", ["SELEC", "SELECT nothing FROM tcp", "SELECT * FROM nowhere", "SELECT 1 FROM"]
    )
    def test_a_bad_query_is_one_line(self, sql, capture, said):
        code, _, err = said("query", sql, capture)
        assert code == 2
        assert err.startswith("pcaptool: the query fails: ")
        assert err.count("\n") == 1

    @pytest.mark.parametrize("form", ["--json", "--csv", None])
    def test_no_nanosecond_is_lost(self, form, capture, said):
        sql = "SELECT min(ts) AS t, CAST(min(ts) AS BIGINT) AS ns, max(ts) - min(ts) AS lasted, 1.5 AS x FROM packets"
        with open_capture(capture) as reader:
            times = [record.ts_ns for record in reader]
        out = said("query", sql, capture, *([form] if form else []))[1]
        assert f".{min(times) % 10**9:09d}+00:00" in out
        assert str(max(times) - min(times)) in out
        if form == "--json":
            row = json.loads(out)
            assert (row["ns"], row["lasted"], row["x"]) == (min(times), max(times) - min(times), 1.5)

    def test_which_tables_there_are(self, capture, said):
        out = said("query", "SHOW TABLES", capture, "--csv")[1]
        assert set(out.split()[1:]) == set(TABLES) - OF_NO_CAPTURE

    def test_a_word_of_sql_that_is_a_column(self, capture, said):
        assert "hint" not in said("query", 'SELECT "end" FROM flows', capture)[2]
        code, _, err = said("query", "SELECT src, end FROM flows", capture)
        assert (code, '"end" needs its quotes' in err) == (2, True)

    def test_a_folder_that_is_no_report(self, tmp_path, said):
        assert said("query", "SELECT 1", tmp_path)[0] == 2

    def test_a_query_longer_than_a_file_name(self, capture, said):
        code, out, _ = said("query", f"SELECT n FROM tcp WHERE n = 4 {'OR n = 4 ' * 300}", capture, "--csv")
        assert (code, out) == (0, "n\n4\n")

    def test_arguments_in_the_wrong_order(self, capture, said):
        code, _, err = said("query", capture, "SELECT n FROM tcp")
        assert (code, err.endswith("(the query comes first, then its source)\n")) == (2, True)


@pytest.mark.oracle
class TestVerify:
    def test_a_real_capture_equals_tshark(self, capture, said):
        code, out, _ = said("verify", capture)
        assert code == 0
        assert out.startswith("26 packets, ")
        assert "all equal" in out

    def test_json(self, capture, said):
        found = json.loads(said("verify", capture, "--json")[1])
        assert (found["packets"], found["mismatches"]) == (26, [])
        assert found["values"] > 500

    def test_a_missing_capture_is_trouble(self, tmp_path, said):
        assert said("verify", tmp_path / "none.pcap")[0] == 2


class TestDemo:
    def test_tells_the_whole_story(self, shown):
        text, _ = shown
        parts = [
            "1  Predict",
            "since send()",
            "2  Observe",
            "GET /bytes/102400",
            "3  Compare",
            "Layers",
            "Timing",
            "4  What",
        ]
        places = [text.index(part) for part in parts]
        assert places == sorted(places)

    def test_the_model_equals_the_real_server(self, shown):
        _, folder = shown
        found = json.loads((folder / "reports" / "demo" / "diff" / "diff.json").read_text())
        assert (found["exit_code"], found["differing"]) == (0, 0)

    def test_every_file_it_names_exists(self, shown):
        text, folder = shown
        names = re.findall(r"reports/demo/[\w./]+", text)
        assert len(set(names)) >= 6
        assert all((folder / name).exists() for name in names)

    def test_what_it_says_to_try_works(self, shown, monkeypatch, capsys):
        text, folder = shown
        monkeypatch.chdir(folder)
        lines = re.findall(r"^  (pcaptool .*)$", text, re.MULTILINE)
        assert len(lines) == 4
        for line in lines:
            assert run(shlex.split(line)[1:]) in (0, 1), line
            assert capsys.readouterr().err == ""

    def test_an_unwritable_folder(self, tmp_path, said):
        (tmp_path / "file").write_text("")
        code, _, err = said("demo", "-o", tmp_path / "file" / "x")
        assert code == 2
        assert "cannot be made: not a directory" in err
