"""Grids of real nodes in network namespaces, worlds in memory, and fakes: where everything else is tried out.

    with Grid(["a", "r", "b"]) as grid:
        left, right = grid.link("a", "r"), grid.link("r", "b", delay_ms=5, rate_mbit=100)
        ...

A grid takes root and a Linux kernel with namespaces, veth and nftables, and leaves nothing behind, also
when it is killed. What runs in memory takes nothing.
"""

from zosnet.lab.api import Api, Refused
from zosnet.lab.errors import LabError
from zosnet.lab.grid import Grid
from zosnet.lab.host import Host
from zosnet.lab.link import End, Link
from zosnet.lab.node import Node, Program, Wishes
from zosnet.lab.process import Process
from zosnet.lab.programs import Mycelium, Zosnet
from zosnet.lab.wait import until

__all__ = [
    "Api",
    "End",
    "Grid",
    "Host",
    "LabError",
    "Link",
    "Mycelium",
    "Node",
    "Process",
    "Program",
    "Refused",
    "Wishes",
    "Zosnet",
    "until",
]
