"""A grid: hosts, the links between them, and the nodes that run there."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from zosnet.lab.errors import LabError
from zosnet.lab.host import Host
from zosnet.lab.link import Link, join
from zosnet.lab.namespace import check_machine
from zosnet.lab.node import Node, Program, Wishes
from zosnet.lab.programs import Zosnet
from zosnet.model.errors import UsageError

_NAME = re.compile(r"[a-z][a-z0-9]{0,9}")
_FAULTS = ("Traceback (most recent call last)", "panicked at", "was never awaited", "this is a bug")
_LINKS = 254  # the third byte of the IPv4 addresses


class Grid:
    """Everything of one lab. Use it as a context manager; when it ends, however, nothing of it is left.

    Raises HostError where the machine can't hold a lab.
    """

    def __init__(self, hosts: Iterable[str] = ()) -> None:
        check_machine()
        self.id = secrets.token_hex(4)
        self.hosts: dict[str, Host] = {}
        self.links: list[Link] = []
        self.nodes: dict[str, Node] = {}
        try:
            for name in hosts:
                self.host(name)
        except BaseException:
            self.close()
            raise

    def host(self, name: str) -> Host:
        """Add a host. Raises UsageError for a name that is taken or can't be part of an interface's."""
        if not _NAME.fullmatch(name) or name in self.hosts:
            raise UsageError(f"{name!r} can't be the name of a new host (a-z, 0-9, at most ten)")
        self.hosts[name] = Host(name, self.id)
        return self.hosts[name]

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    def link(
        self,
        first: str,
        second: str,
        *,
        mtu: int = 1500,
        delay_ms: float | None = None,
        rate_mbit: float | None = None,
        segmented: bool = False,
    ) -> Link:
        """Join two hosts.

        `delay_ms` puts a relay in the middle (one way; 0 for one that delays later), `segmented` makes every
        packet travel alone, as through a network card without offload, which honest loss needs.
        """
        if len(self.links) == _LINKS:
            raise UsageError(f"a lab has at most {_LINKS} links")
        made = join(
            self.id,
            len(self.links) + 1,
            self.hosts[first],
            self.hosts[second],
            mtu=mtu,
            delay_ms=delay_ms,
            segmented=segmented,
        )
        self.links.append(made)
        if rate_mbit is not None:
            made.shape(rate_mbit)
        return made

    def between(self, first: str, second: str) -> Link:
        """The first link between two hosts. Raises UsageError when there is none."""
        for link in self.links:
            if {end.host.name for end in link.ends} == {first, second}:
                return link
        raise UsageError(f"there is no link between {first} and {second}")

    def node(self, host: str, program: Program | None = None, wishes: Wishes | None = None) -> Node:
        """Put a node on a host, not started yet: our own daemon unless another program is given."""
        made = Node(self.hosts[host], program or Zosnet(), wishes or Wishes())
        self.nodes[host] = made
        return made

    def logs(self, lines: int = 40) -> str:
        """The end of what every program of this lab has said, host by host."""
        parts = [
            f"--- {process.name} ({'running' if process.is_running else process.returncode})\n{said}"
            for host in self.hosts.values()
            for process in host.processes
            if (said := process.tail(lines))
        ]
        return "\n".join(parts)

    def check_logs(self) -> None:
        """Raises LabError when a program's log holds a traceback or a panic."""
        for host in self.hosts.values():
            for process in host.processes:
                said = process.text()
                for sign in _FAULTS:
                    if sign in said:
                        at = said.index(sign)
                        raise LabError(f"{process.name} said: {said[max(0, at - 200) : at + 3000]}")

    def close(self) -> None:
        """Take it all down. May be called twice."""
        for link in self.links:
            link.close()
        for host in self.hosts.values():
            host.close()
        self.links.clear()
        self.hosts.clear()
        self.nodes.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and (logs := self.logs()):
            error.add_note(f"what the lab's programs said:\n{logs}")
        self.close()
