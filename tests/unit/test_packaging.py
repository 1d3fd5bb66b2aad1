"""What an installation needs: the public surface, typing, the locks, a fast and light start."""

from __future__ import annotations

import importlib
import re
import resource
import subprocess
import sys
import tomllib
import zipfile

import pytest

import pcaptool

HEAVY = ("polars", "numba", "pyarrow", "numpy", "llvmlite", "httptools")


def modules_after(statement):
    """Names of the modules that a fresh interpreter has loaded after a statement."""
    code = f"import sys\n{statement}\nsys.stderr.write('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.split("\n"))


def test_public_names_are_sorted_and_all_there():
    assert pcaptool.__all__ == sorted(pcaptool.__all__, key=lambda n: (n.startswith("__"), n)) or (
        pcaptool.__all__ == sorted(pcaptool.__all__)
    )
    for name in pcaptool.__all__:
        assert getattr(pcaptool, name) is not None
    assert set(pcaptool.__all__) <= set(dir(pcaptool))


def test_what_is_lazy_is_public():
    assert pcaptool._LAZY.keys() | pcaptool._VERBS.keys() <= set(pcaptool.__all__)


def test_a_verb_can_be_called_whoever_imports_its_room_first():
    for first in ("", "import pcaptool.generate.run\n", "from pcaptool.generate import Run\n"):
        code = (
            f"{first}import inspect, pcaptool\n"
            "try:\n    pcaptool.generate()\nexcept TypeError as error:\n    print(error)\n"
            "assert inspect.ismodule(pcaptool.generate)\nprint(pcaptool.generate.Run.__name__)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.startswith("generate() missing 2 required positional arguments")
        assert done.stdout.endswith("Run\n")


def test_every_verb_holds_a_function_of_its_name():
    for name, module in pcaptool._VERBS.items():
        assert callable(getattr(importlib.import_module(module), name))
        assert name in pcaptool.__all__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = pcaptool.nonsense


def test_importing_the_package_is_light():
    assert not modules_after("import pcaptool") & {*HEAVY, "typer", "rich"}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["analyze", "--help"], ["diff", "--help"]])
def test_help_is_light(arguments):
    loaded = modules_after(f"from pcaptool.cli.main import run\nrun({arguments!r})")
    assert "typer" in loaded
    assert not loaded & set(HEAVY)


def test_help_is_fast():
    """0.15 s on a quiet machine. Processor time, the best of several tries: other work does not count."""
    best = 10.0
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "pcaptool.cli.main", "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert best < 0.2


def test_types_are_published(root):
    assert (root / "pcaptool" / "py.typed").exists()


def test_the_version_stands_once(root):
    assert pcaptool.__version__ in (root / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_has_hashes_and_names_no_host(root, name):
    text = (root / name).read_text()
    assert "://" not in text
    assert "index" not in text.lower()
    blocks = re.findall(
        r"^([\w.-]+)==[^\n]*((?:\n    --hash=sha256:[0-9a-f]{64}(?: \\)?)+)", text, re.MULTILINE
    )
    assert len(blocks) == len(re.findall(r"^[\w.-]+==", text, re.MULTILINE)) > 10


def test_the_locks_agree_and_hold_all_dependencies(root):
    def versions(name):
        return dict(re.findall(r"^([\w.-]+)==(\S+)", (root / name).read_text(), re.MULTILINE))

    run, dev = versions("requirements.lock"), versions("requirements-dev.lock")
    assert run.items() <= dev.items()
    project = tomllib.loads((root / "pyproject.toml").read_text())
    wanted = {re.split(r"[><=\[ ]", d)[0] for d in project["project"]["dependencies"]}
    assert wanted <= run.keys()
    groups = project["dependency-groups"]
    assert {re.split(r"[><=]", d)[0] for d in groups["test"] + groups["lint"]} <= dev.keys()


def test_no_file_names_this_machine(root):
    """Paths of a developer's machine, and hosts of registries, have no place in the repository."""
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    bad = re.compile("/" + "work/|/" + "home/|pypi\\" + ".org|files.python" + "hosted")
    for name in filter(None, names):
        path = root / name
        if path.suffix in {".py", ".md", ".toml", ".lock", ".txt", ".yml", ""} and path.is_file():
            assert not bad.search(path.read_text(errors="replace")), name


def test_a_wheel_holds_the_types_mark_and_the_demos_files(root, tmp_path):
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=root, capture_output=True, check=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    demo = {f"pcaptool/fixtures/demo/{name}" for name in ("scenario.toml", "real.server.pcap")}
    assert {"pcaptool/py.typed", "pcaptool/cli/main.py", *demo} <= names
    assert not {name for name in names if name.startswith("tests/")}
