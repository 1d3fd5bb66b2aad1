"""What every test may use: the fixtures' folders, and one hypothesis profile."""

from __future__ import annotations

import fcntl
from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent

# A slow machine is no failed property; failures must come again with the same command.
hypothesis.settings.register_profile("project", deadline=None, print_blob=True)
hypothesis.settings.load_profile("project")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Tests of a group run one at a time, whichever worker they are in.

    They share the machine's namespaces, or a browser. `--dist loadgroup` alone does not do it: pytest-xdist 3.8 marks
    groups in what pytest 9.2 no longer reads.
    """
    if not any(item.iter_markers("xdist_group")):
        return (yield)
    with Path(__file__).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        return (yield)


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def fixtures(root: Path) -> Path:
    """The bundled captures and scenarios."""
    return root / "fixtures"


@pytest.fixture(scope="session")
def lab_captures(fixtures: Path) -> Path:
    """Real captures: NAME.server.pcap and NAME.client.pcap."""
    return fixtures / "captures" / "lab"


@pytest.fixture(scope="session")
def lab_scenarios(fixtures: Path) -> Path:
    """The scenarios of those captures: NAME.toml."""
    return fixtures / "scenarios" / "lab"
