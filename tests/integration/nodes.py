"""Nodes as these tests want them."""

from __future__ import annotations

import itertools
from typing import Any

from zosnet.lab import Grid, Node, Wishes


def dialling(grid: Grid, host: str, *peers: str, **wishes: Any) -> Node:
    """A node on `host` that dials these endpoints; not started."""
    return grid.node(host, wishes=Wishes(peers=list(peers), **wishes))


def line(grid: Grid, names: str, **link: Any) -> list[Node]:
    """Hosts in a row, each node dialling the one before it; not started."""
    for name in names:
        grid.host(name)
    nodes = [dialling(grid, names[0])]
    for before, name in itertools.pairwise(names):
        nodes.append(dialling(grid, name, grid.link(before, name, **link).url(before)))
    return nodes
