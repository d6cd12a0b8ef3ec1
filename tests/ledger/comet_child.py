"""One operator's node as a process: `comet_child DIRECTORY`, served at DIRECTORY/api.sock.

`--kill POINT COUNT`: it kills itself the COUNT-th time that the application passes POINT.
`--lie`: its proposals have what an honest one never has, and it votes for whatever there is.
`--twin`: it is a second node of the same operator, and votes for nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

from zosnet.api.ledger_daemon import serve
from zosnet.cli.ledger_operators import home_of
from zosnet.ledger.comet import abci
from zosnet.ledger.engine.cometbft.application import Application
from zosnet.ledger.engine.cometbft.engine import Comet
from zosnet.ledger.engine.cometbft.home import Timing
from zosnet.ledger.engine.cometbft.process import find_program
from zosnet.ledger.signature import Signer


def _lie() -> None:
    def prepare(self: Application, request: abci.PrepareProposal) -> abci.PreparedProposal:
        return abci.PreparedProposal((b"a name for nothing",))

    def process(self: Application, request: abci.ProcessProposal) -> abci.Verdict:
        return abci.Verdict(abci.ACCEPT)

    Application.prepare = prepare  # type: ignore[method-assign]
    Application.process = process  # type: ignore[method-assign]


def _vote_for_nothing() -> None:
    def process(self: Application, request: abci.ProcessProposal) -> abci.Verdict:
        return abci.Verdict(abci.REJECT)

    Application.process = process  # type: ignore[method-assign]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--kill", nargs=2, default=("", "0"))
    parser.add_argument("--lie", action="store_true")
    parser.add_argument("--twin", action="store_true")
    parser.add_argument("--listen")
    parser.add_argument("--timing", default="")
    arguments = parser.parse_args()
    point, left = arguments.kill[0], int(arguments.kill[1])

    def hook(here: str) -> None:
        nonlocal left
        left -= here == point
        if here == point and left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    if arguments.lie:
        _lie()
    timing = Timing(*map(int, arguments.timing.split(","))) if arguments.timing else None
    home = home_of(arguments.directory, arguments.listen, timing)
    if arguments.twin:
        _vote_for_nothing()
        home = replace(home, node=Signer(b"twin".ljust(32)))
    engine = Comet(arguments.directory, home, find_program(), hook=hook).start()
    try:
        asyncio.run(serve(engine, arguments.directory / "api.sock"))
    finally:
        engine.close()


if __name__ == "__main__":
    main()
