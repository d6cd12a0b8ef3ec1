"""Nodes as these tests want them."""

from __future__ import annotations

import itertools
from typing import Any

from zosnet.lab import Grid, Node, Wishes
from zosnet.lab.link import End


def dialling(grid: Grid, host: str, *peers: str, **wishes: Any) -> Node:
    """A node on `host` that dials these endpoints; not started."""
    return grid.node(host, wishes=Wishes(peers=list(peers), **wishes))


def at_ingress(end: End, rule: str) -> None:
    """Let nftables do this to every frame that arrives there, before anything else sees it."""
    hook = f'type filter hook ingress device "{end.device}" priority -400;'
    chain = f"chain arriving {{\n {hook}\n {rule}\n }}"
    end.host.run("nft", "-f", "-", stdin=f"table netdev test {{\n {chain}\n}}\n")


def counted(end: End) -> int:
    """How many frames met the `counter` in the rule of `at_ingress`."""
    words = end.host.run("nft", "list", "table", "netdev", "test").stdout.split()
    return int(words[words.index("packets") + 1])


def line(grid: Grid, names: str, proto: str = "tcp", **link: Any) -> list[Node]:
    """Hosts in a row, each node dialling the one before it; not started."""
    for name in names:
        grid.host(name)
    nodes = [dialling(grid, names[0])]
    for before, name in itertools.pairwise(names):
        nodes.append(dialling(grid, name, grid.link(before, name, **link).url(before, proto)))
    return nodes
