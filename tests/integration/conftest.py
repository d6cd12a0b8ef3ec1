"""Real nodes in network namespaces. Without root, TUN or the compiled core: skipped, saying so."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from zosnet.lab import Grid


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
