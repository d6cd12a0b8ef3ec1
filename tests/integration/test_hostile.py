"""Peers that are slow, that speak nonsense, and that hang up: the others must not notice."""

from __future__ import annotations

import os
import random
import socket
import threading

import pytest
from tests.integration.nodes import line

from zosnet.lab import Grid, until
from zosnet.lab.ask import answers, beating, has_route
from zosnet.lab.feeder import Table, identities
from zosnet.lab.garbage import throw, throw_datagrams
from zosnet.lab.measure import Beat
from zosnet.lab.programs import api
from zosnet.lab.two_paths import start

WORKERS = min(32, (os.cpu_count() or 1) + 4)
"""At most so many threads has the pool of a node (`concurrent.futures.ThreadPoolExecutor`)."""

pytestmark = [pytest.mark.privileged, pytest.mark.slow]


def test_a_peer_that_never_reads_stalls_nobody_else(grid: Grid) -> None:
    a, b = nodes = line(grid, "ab")
    start(nodes)
    (sink,) = identities(1, seed=7)
    with a.host.namespace.socket(socket.AF_INET, socket.SOCK_STREAM) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", 9651))
        deaf.sendall(Table([sink]).announcement())
        until("b knows the deaf one", lambda: api(b).get("/v1/status")["routes"] >= 2)
        beat = beating(b, a)
        flooding = threading.Event()

        def flood() -> None:
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as each:
                target = (str(sink.public_key.address()), 9)
                while not flooding.is_set():
                    try:
                        each.sendto(bytes(1200), target)
                    except OSError:
                        flooding.wait(0.001)

        thread = threading.Thread(target=lambda: b.host.namespace.call(flood))
        thread.start()
        try:
            before = answers(beat)
            until("the beat goes on", lambda: answers(beat) > before + 1500, within=20.0)
        finally:
            flooding.set()
            thread.join()
        beat.stop()
    measured = Beat.of(beat.records())
    assert measured.longest() < 250
    assert a.resident_mb() < 200, "what waits for a slow peer is bounded"


def test_garbage_is_survived_and_costs_nothing_lasting(grid: Grid) -> None:
    a, b = nodes = line(grid, "ab")
    start(nodes)
    rng = random.Random(3)
    far = grid.links[0].end("a").ipv4
    throw(b.host, far, 400, rng)  # fills the bounded tables once, and allocators keep what they had
    until("they are gone", lambda: len(api(a).get("/v1/peers")["peers"]) == 1, within=20.0)
    descriptors, threads, memory = a.descriptors(), a.threads(), a.resident_mb()
    thrown = throw(b.host, far, 400, rng)
    assert sum(thrown.values()) == 400
    throw_datagrams(b.host, far, 400, rng)
    until("they are gone", lambda: len(api(a).get("/v1/peers")["peers"]) == 1, within=20.0)
    until("no descriptor is left", lambda: a.descriptors() <= descriptors + 2, seen=a.descriptors)
    # Of the pool for name lookups and files some workers may have been made meanwhile; it is bounded.
    assert a.threads() <= threads + WORKERS, "no stranger has a thread of its own"
    assert a.resident_mb() < memory + 60, "what strangers ask for is bounded"
    assert b.reaches(a)


def test_a_route_for_someone_elses_prefix_is_not_believed(grid: Grid) -> None:
    a, b = nodes = line(grid, "ab")
    start(nodes)
    (thief,) = identities(1, seed=8)
    from zosnet.model.prefix import Prefix
    from zosnet.wire.babel import Update, encode_control

    stolen = Update(Prefix.of(b.address, 64), thief, 1, 0)
    with a.host.namespace.socket(socket.AF_INET, socket.SOCK_STREAM) as liar:
        liar.connect(("127.0.0.1", 9651))
        liar.sendall(encode_control(stolen) + Table([thief]).announcement())
        own = str(thief.public_key.address())
        until("its own route is believed", lambda: own in str(api(a).get("/v1/routes")))
        assert has_route(a, b)
        assert b.reaches(a)
        assert a.reaches(b)
