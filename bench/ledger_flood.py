"""Somebody who floods a ledger: a process that sends envelopes without end, and looks at no answer.

Requests are made beforehand, so that the flood takes the ledger's time and next to none of the machine's.
"""

from __future__ import annotations

import json
import multiprocessing
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread

__all__ = ["flooding"]

#: Connections that send at once.
AT_ONCE = 2


@contextmanager
def flooding(path: Path, envelopes: list[list[bytes]], *, is_endless: bool) -> Iterator[BaseProcess]:
    """Have these envelopes sent, again and again if the flood is to be endless."""
    requests = [_request(envelope) for envelope in envelopes]
    context = multiprocessing.get_context("spawn")
    is_ready = context.Event()
    process = context.Process(target=_send, args=(str(path), requests, is_endless, is_ready), daemon=True)
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


def _send(path: str, requests: list[bytes], is_endless: bool, is_ready: object) -> None:
    left = iter(requests)

    def sender() -> None:
        while True:
            request = requests[0] if is_endless else next(left, None)
            if request is None:
                return
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
