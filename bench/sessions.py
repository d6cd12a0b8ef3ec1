"""What many sessions cost a real node: `sudo python -m bench.sessions [--sessions 1000,10000]`.

Callers with a key each shake hands with a node's UDP port, straight and by docs/protocols/session.md, and
seal one frame; then they are idle. Told are the node's memory and processor time, Python included, and how
many handshakes a second it takes of whoever asks as fast as he can. Exit codes: 0 bars met, 1 one missed, 3
this machine can't.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import time
from collections.abc import Sequence
from functools import partial
from hashlib import blake2s

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from bench.noise import Symmetric, agree, public
from zosnet.lab import Grid, Node, Wishes
from zosnet.lab.host import Host
from zosnet.lab.programs import api
from zosnet.lab.wait import until
from zosnet.model.errors import ZosnetError
from zosnet.model.keys import PublicKey

PORT = 9652
CHACHA, AES = 1, 2
RESPONSE, COOKIE = 2, 3
KEEP_ALIVE = bytes.fromhex("4001 00")
AT_ONCE = 64
#: Asked for as fast as it goes.
MANY = 5000
#: Below what is answered without a cookie, so that none is lost.
PACE = 400
#: Of a node with 10,000 sessions.
MOST_MB = 200.0
#: Seconds without a new session after which an answer is not waited for any more.
PATIENCE = 3.0


class Caller:
    """One node that wants a session: the initiator's part, without its timers."""

    def __init__(self, number: int, callee: PublicKey) -> None:
        self._secret, self._ephemeral = os.urandom(32), os.urandom(32)
        self._index = (number + 1).to_bytes(4)
        self._callee = callee.raw
        header = bytes.fromhex("01010000") + self._index + callee.address().packed
        self._noise = Symmetric("Noise_IK_25519_ChaChaPoly_BLAKE2s", b"zosnet session v1" + header)
        self._header = header

    def initiation(self) -> bytes:
        noise = self._noise
        noise.mix_hash(self._callee)
        wish = self._header + noise.clear(public(self._ephemeral))
        noise.mix_key(agree(self._ephemeral, self._callee))
        wish += noise.sealed(public(self._secret))
        noise.mix_key(agree(self._secret, self._callee))
        offer = bytes([1, CHACHA | AES, 1, 0]) + (0xFFFF).to_bytes(2) + bytes(2)
        wish += noise.sealed(offer)
        key = blake2s(b"zosnet session mac1 v1" + self._callee).digest()
        return wish + blake2s(wish, key=key, digest_size=16).digest() + bytes(16)

    def first_frame(self, response: bytes) -> bytes:
        """What confirms the session. Raises InvalidTag for a response that isn't authentic."""
        noise = self._noise
        theirs = noise.clear(response[12:44])
        noise.mix_key(agree(self._ephemeral, theirs))
        noise.mix_key(agree(self._secret, theirs))
        picked = noise.open(response[44:75])
        cipher, index = picked[1], picked[11:15]
        root = noise.hkdf(b"")[0]
        key = blake2s(b"zosnet session transport v1" + bytes([cipher]), key=root).digest()
        header = bytes.fromhex("04000000") + index + bytes(8)
        aead = AESGCM(key) if cipher == AES else ChaCha20Poly1305(key)
        return header + aead.encrypt(bytes(12), KEEP_ALIVE, header)


def call(host: Host, end: tuple[str, PublicKey], first: int, count: int, pace: float) -> float:
    """Make so many sessions with a node, by its address and key, at most `pace` a second; how many came to be
    in one.
    """
    address, callee = end
    with host.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.connect((address, PORT))
        line.settimeout(0.002)
        callers: dict[bytes, Caller] = {}
        began = last = time.monotonic()
        asked = made = 0
        while made < count:
            now = time.monotonic()
            if now - last > PATIENCE:
                break
            while made + len(callers) < count and len(callers) < AT_ONCE and asked < (now - began) * pace + 1:
                caller = Caller(first + asked, callee)
                callers[(first + asked + 1).to_bytes(4)] = caller
                line.send(caller.initiation())
                asked += 1
            try:
                got = line.recv(2048)
            except TimeoutError:
                continue
            if got[0] == COOKIE:
                del callers[got[4:8]]  # another one asks in its place
            elif got[0] == RESPONSE and (known := callers.pop(got[8:12], None)):
                line.send(known.first_frame(got))
                made, last = made + 1, time.monotonic()
    return made / (last - began)


def established(node: Node) -> float:
    """Its sessions that may carry packets."""
    found = api(node).metrics()
    return sum(
        value
        for name, value in found.items()
        if name.startswith("zosnet_sessions{") and "established" in name
    )


def has_sessions(node: Node, count: int) -> bool:
    return established(node) >= count


def measure(counts: Sequence[int]) -> int:
    rows = ["| sessions | memory MB | CPU % of a core, idle | made a second |", "|---|---|---|---|"]
    missed = False
    with Grid(("x", "b")) as grid:
        link = grid.link("x", "b")
        node = grid.node("b", wishes=Wishes(tun=False)).start()
        callee = PublicKey.parse(api(node).get("/v1/key")["public_key"])
        end = str(link.end("b").ipv4), callee
        made, rate = 0, 0.0
        for count in (0, *counts):
            if count > made:
                rate = call(grid["x"], end, made, count - made, PACE)
                until(f"{count} sessions", partial(has_sessions, node, count), within=10.0)
                made = count
            before, began = node.cpu_seconds(), time.monotonic()
            time.sleep(10.0)
            share = 100 * (node.cpu_seconds() - before) / (time.monotonic() - began)
            memory = node.resident_mb()
            rows.append(f"| {count} | {memory:.0f} | {share:.1f} | {rate:.0f} |")
            missed |= count <= 10_000 and memory > MOST_MB
        busy, began = node.cpu_seconds(), time.monotonic()
        flood = call(grid["x"], end, made, MANY, 1e9)
        cost = (node.cpu_seconds() - busy) / (time.monotonic() - began)
    print("\n".join(rows))
    print(f"asked as fast as one caller can: {flood:.0f} handshakes a second, {100 * cost:.0f} % of a core")
    if missed:
        print(f"MISSED wanted at most {MOST_MB:.0f} MB")
    return int(missed)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sessions", default="1000,10000", help="(default: %(default)s)")
    counts = [int(word) for word in parser.parse_args().sessions.split(",")]
    try:
        return measure(counts)
    except ZosnetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main())
