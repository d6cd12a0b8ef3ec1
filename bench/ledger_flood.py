"""Somebody who floods a ledger: a process that sends envelopes without end, and looks at no answer.

Requests of good transactions are made beforehand, so that the flood takes the ledger's time and next to none
of the machine's. Wrong signatures are made as they go, so that none was ever seen before.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Lock, Thread
from typing import Generic, TypeVar

__all__ = ["AT_ONCE", "Shared", "flooding", "wrong_signatures"]

#: Connections that send at once.
AT_ONCE = 2
#: Wrong signatures in one envelope.
WRONG = 500


T = TypeVar("T")


class Shared(Generic[T]):
    """One iterator for several threads."""

    def __init__(self, items: Iterable[T]) -> None:
        self._items, self._lock = iter(items), Lock()

    def __iter__(self) -> Shared[T]:
        return self

    def __next__(self) -> T:
        with self._lock:
            return next(self._items)


@contextmanager
def flooding(path: Path, envelopes: list[list[bytes]] | bytes) -> Iterator[BaseProcess]:
    """Have these envelopes sent; or one good transaction, with wrong signatures, without end."""
    requests = envelopes if isinstance(envelopes, bytes) else [_request(each) for each in envelopes]
    context = multiprocessing.get_context("spawn")
    is_ready = context.Event()
    process = context.Process(target=_send, args=(str(path), requests, is_ready), daemon=True)
    process.start()
    try:
        assert is_ready.wait(30)
        yield process
    finally:
        process.terminate()
        process.join()


def _request(envelope: list[bytes]) -> bytes:
    body = json.dumps({"transactions": [raw.hex() for raw in envelope]}).encode()
    head = (
        "POST /v1/ledger/transactions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def wrong_signatures(good: bytes) -> Iterator[list[bytes]]:
    """Envelopes without end of signatures that look right, and were never seen before."""
    # The signature is at the end; its last bytes say that it is below the order, so it must be looked at.
    while True:
        yield [good[:-32] + os.urandom(8) + good[-24:] for _ in range(WRONG)]


def _send(path: str, requests: list[bytes] | bytes, is_ready: object) -> None:
    line_of = map(_request, wrong_signatures(requests)) if isinstance(requests, bytes) else iter(requests)
    line = Shared(line_of)

    def sender() -> None:
        for request in line:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(path)
                connection.sendall(request)
                while connection.recv(1 << 16):
                    pass

    threads = [Thread(target=sender) for _ in range(AT_ONCE)]
    for each in threads:
        each.start()
    is_ready.set()  # type: ignore[attr-defined]
    for each in threads:
        each.join()
