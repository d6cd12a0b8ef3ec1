"""Real nodes in network namespaces. Without root, TUN or the compiled core: skipped, saying so."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from zosnet.lab import Grid

_FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Takes a measured figure, in words, for the end of the report."""
    return request.config.stash.setdefault(_FIGURES, []).append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if figures := config.stash.get(_FIGURES, []):
        terminalreporter.section("measured")
        for line in figures:
            terminalreporter.write_line(line)


@pytest.fixture
def grid() -> Iterator[Grid]:
    """An empty lab. Whatever ran in it must not have logged a traceback."""
    if os.geteuid() != 0:
        pytest.skip("real nodes need root")
    if not Path("/dev/net/tun").exists():
        pytest.skip("real nodes need /dev/net/tun")
    if importlib.util.find_spec("zosnet._core") is None:
        pytest.skip("the core is not built: make dev")
    with Grid() as lab:
        yield lab
        lab.check_logs()
