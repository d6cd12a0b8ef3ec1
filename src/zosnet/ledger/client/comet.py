"""Asking a CometBFT node over its RPC, and driving a light client with what it says."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

from zosnet.ledger.client.transport import UnixConnection
from zosnet.ledger.encoding import Malformed
from zosnet.ledger.light.block import MOST_VALIDATORS, LightBlock
from zosnet.ledger.light.client import LightClient
from zosnet.ledger.light.rpc import (
    MOST_BYTES,
    ValidatorsPage,
    decode_commit,
    decode_validators,
    join_pages,
)
from zosnet.model.errors import HostError, PeerError, UsageError

__all__ = ["HttpRpc", "Rpc", "fetch", "newest_height", "walk"]

PER_PAGE = 100  #: as many as CometBFT gives
T = TypeVar("T")


class Rpc(Protocol):
    """A way to a node."""

    def get(self, path: str) -> bytes:
        """The answer to a GET, whatever it is. Raises HostError where nobody answers."""


class HttpRpc:
    """A node at `http://host:port`, `https://host:port` or `unix:///path`. Each request is one connection."""

    def __init__(self, url: str, timeout_s: float = 10.0) -> None:
        self.url = url
        self._timeout = timeout_s
        try:
            parts = urlsplit(url)
            self._scheme, self._host, self._port, self._path = (
                parts.scheme,
                parts.hostname,
                parts.port,
                parts.path,
            )
        except ValueError:
            self._scheme = ""
        is_unix = self._scheme == "unix" and self._path and not self._host
        if not is_unix and not (self._scheme in {"http", "https"} and self._host and self._path in {"", "/"}):
            raise UsageError(
                f"{url!r} is no place of a node",
                remedy="give http://host:port, https://host:port or unix:///path/of/the/socket",
            )

    def _connection(self) -> http.client.HTTPConnection:
        if self._scheme == "unix":
            return UnixConnection(self._path, self._timeout)
        assert self._host is not None
        if self._scheme == "https":
            return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout)
        return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)

    def get(self, path: str) -> bytes:
        """The body, also of an answer that says no."""
        connection = self._connection()
        try:
            connection.request("GET", path)
            return connection.getresponse().read(MOST_BYTES + 1)
        except (OSError, http.client.HTTPException) as error:
            raise HostError(
                f"no node answers at {self.url}: {error}", remedy="check that it runs, and its RPC's address"
            ) from None
        finally:
            connection.close()


def newest_height(rpc: Rpc) -> int:
    """The newest height, as the node says."""
    header, _ = _read(decode_commit, rpc.get("/commit"))
    return header.height


def fetch(rpc: Rpc, height: int) -> LightBlock:
    """The light block of a height, not verified. Raises PeerError where the answer is none."""
    header, commit = _read(decode_commit, rpc.get(f"/commit?height={height}"))
    pages: list[ValidatorsPage] = []
    while not pages or sum(len(page.members) for page in pages) < min(pages[0].total, MOST_VALIDATORS):
        path = f"/validators?height={height}&page={len(pages) + 1}&per_page={PER_PAGE}"
        pages.append(_read(decode_validators, rpc.get(path)))
        if not pages[-1].members:
            raise PeerError("the node speaks nonsense: a page has no validators")
    return LightBlock(header, commit, _read(lambda _: join_pages(pages, height), b""))


def walk(
    client: LightClient, rpc: Rpc, height: int, now_ns: int, *, witness: bool = False
) -> tuple[LightBlock, int]:
    """The verified block of `height`, and how many were fetched for it. Raises Untrusted, or Fork."""
    steps, fetched = client.headers_to(height, now_ns, witness=witness), 0
    try:
        wanted = next(steps)
        while True:
            block, fetched = fetch(rpc, wanted), fetched + 1
            wanted = steps.send(block)
    except StopIteration as end:
        found: LightBlock = end.value
        return found, fetched


def _read(decode: Callable[[bytes], T], raw: bytes) -> T:
    try:
        return decode(raw)
    except Malformed as error:
        raise PeerError(f"the node speaks nonsense: {error}") from None
