"""Interoperation with the real Mycelium 0.7.10, in network namespaces. Needs root and MYCELIUM_BIN."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:  # the namespaces and the reference address computation are the benchmark's
    sys.path.insert(0, str(ROOT))

HERE = Path(__file__).resolve().parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.interop)
            item.add_marker(pytest.mark.privileged)
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of the programs' logs with a failure."""
    report = yield
    if report.failed and item.path.is_relative_to(HERE):
        from tests.interop.daemons import LABS

        report.sections += [("logs", lab.logs()) for lab in LABS if lab.directory.exists()]
    return report


@pytest.fixture(scope="session", autouse=True)
def real_mycelium() -> Iterator[str]:
    """The program to speak with. Skips everything here, and says how to change that, when something lacks."""
    from tests.interop.daemons import mycelium, zosnet

    path = mycelium()
    if os.geteuid() != 0 or not Path("/dev/net/tun").exists():
        pytest.skip("network namespaces and TUN devices need root and /dev/net/tun")
    if os.environ.get("INTEROP_OURS") != "mycelium":
        zosnet()
    yield path
