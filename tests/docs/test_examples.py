"""Examples run: every doctest of the package, and every example of the documentation's pages."""

from __future__ import annotations

import doctest
import importlib
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from pcaptool.cli.document import cli_page
from pcaptool.cli.main import make_app
from pcaptool.scenario import parse_scenario
from pcaptool.tables.document import tables_page

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
MODULES = sorted(
    ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for p in (ROOT / "pcaptool").rglob("*.py")
)
PAGES = sorted([ROOT / "README.md", ROOT / "fixtures" / "README.md", *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("name", MODULES)
def test_a_modules_examples(name, monkeypatch):
    module = importlib.import_module(name)
    monkeypatch.chdir(ROOT)  # examples may read fixtures
    failed, _ = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert failed == 0


def blocks(path):
    """Indented code blocks of a page, each without its indentation."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    for found in re.findall(r"(?:^    .*\n|^\n)+", text, flags=re.MULTILINE):
        block = re.sub(r"^    ", "", found, flags=re.MULTILINE).strip("\n")
        if block:
            yield block


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_pages_python_sessions(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    test = doctest.DocTestParser().get_doctest(path.read_text(), {}, path.name, str(path), 0)
    result = doctest.DocTestRunner(optionflags=OPTIONS).run(test)
    assert result.failed == 0


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_pages_scenarios_are_read(path):
    for block in blocks(path):
        if re.match(r"\[(server|client|host|link|costs|limits)|\[\[server|seed =", block):
            tomllib.loads(block)
            parse_scenario(block, path.name)


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_pages_command_lines_name_commands_and_options_that_exist(path):
    known = {c.name: c.callback for c in make_app().registered_commands}
    for line in re.findall(
        r"^(?:    |\$ |`)?(?:\$ )?pcaptool ([a-z]+[^`\n|]*)", path.read_text(), re.MULTILINE
    ):
        words = shlex.split(line.split("#")[0])
        assert words[0] in known, f"{path.name}: pcaptool {line}"


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_pages_links_to_files_hold(path):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
        assert (path.parent / target).exists(), f"{path.name} links to {target}"


def test_the_tables_page_is_what_the_tables_define():
    assert (ROOT / "docs" / "tables.md").read_text() == tables_page(), "run `make docs`"


def test_the_command_lines_page_is_what_the_commands_say():
    assert (ROOT / "docs" / "cli.md").read_text() == cli_page(), "run `make docs`"
