"""`zosnet ledger`: run one, see how it goes, and check what it says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from zosnet.cli.client import Refused
from zosnet.cli.common import json_option
from zosnet.cli.ledger_access import at, embedded, follower, ledger_options, socket_of, transport
from zosnet.cli.ledger_light import LightProof, Sources, verify_by_light
from zosnet.cli.output import duration, fields, progress, say, show_json
from zosnet.ledger.client.follower import STALE_MS, Follower, Pin, at_pin
from zosnet.ledger.client.transport import Transport
from zosnet.ledger.comet.signed import parse_signed, proven_height, trouble_after, trouble_of
from zosnet.ledger.encoding import Malformed, decode, encode
from zosnet.ledger.genesis import Genesis, Parameters
from zosnet.ledger.header import SignedHeader
from zosnet.ledger.records import delegation_key, kind_of, name_key, route_key
from zosnet.ledger.replay import replay
from zosnet.ledger.transaction import SignedTransaction
from zosnet.ledger.tree import Proof
from zosnet.ledger.tree import verify as verify_proof
from zosnet.model.errors import HostError, PeerError, UsageError
from zosnet.model.name import Name
from zosnet.store.places import ledger_directory

__all__ = ["ledger"]


@click.group()
def ledger() -> None:
    """The ledger of names: run one, see how it goes, check what it says."""


@ledger.command()
@click.option("--ledger-dir", type=click.Path(path_type=Path), help="Where the ledger is kept.")
@click.option("--ledger", "path", metavar="PATH", help="The socket to listen at.  [env: ZOSNET_LEDGER]")
@click.option("--label", default="local", show_default=True, help="What a new ledger is called.")
@click.option("--stamp-bits", type=click.IntRange(0, 64), help="Work that opens an account, of a new ledger.")
def dev(ledger_dir: Path | None, path: str | None, label: str, stamp_bits: int | None) -> None:
    """Run an embedded ledger in the foreground. It is made where there is none."""
    from zosnet.api.ledger_daemon import serve

    parameters = Parameters() if stamp_bits is None else Parameters(stamp_bits=stamp_bits)
    socket = Path(socket_of(path))
    engine = embedded(ledger_dir or ledger_directory(), label, parameters).start()
    try:
        text = f"ledger {engine.genesis.chain.hex()} is ready at {socket}"
        asyncio.run(serve(engine, socket, lambda: say(text)))
    finally:
        engine.close()


@ledger.command()
@ledger_options
@json_option
def status(ledger: str | None, ledger_dir: Path | None, as_json: bool) -> int:
    """The ledger at a glance. Exit code 1 where its last block is older than 15 s."""
    with transport(ledger, ledger_dir, make=False) as way:
        found = way.status()
        checked = Follower(way, bytes.fromhex(found["chain"]))
        header = way.query([]).header if found["height"] else None
        if header is not None and (trouble := trouble_of(checked.genesis, header)):
            raise PeerError(f"its newest header is wrong: {trouble}")
    is_stale = found["age_ms"] > STALE_MS
    if as_json:
        show_json(found | {"is_stale": is_stale, "schema": "zosnet.ledger-status/1"})
    else:
        shown = {key: str(value) for key, value in found.items() if value != "" and key != "schema"}
        shown["age_ms"] = f"{duration(found['age_ms'] / 1000)}{' (stale)' if is_stale else ''}"
        fields([(key.removesuffix("_ms").replace("_", " "), value) for key, value in shown.items()])
    return 1 if is_stale else 0


@ledger.command()
@click.argument("identity", metavar="ID")
@ledger_options
@json_option
def tx(identity: str, ledger: str | None, ledger_dir: Path | None, as_json: bool) -> None:
    """Where the transaction with this ID is, and what it says."""
    wanted = _digits(identity, "a transaction's id")
    with follower(ledger, ledger_dir, make=False) as found:
        height = found.transport.find(wanted)
        block = None if height is None else found.transport.block(height)
        if block is None:
            raise Refused(f"no block has the transaction {identity}")
        if trouble := trouble_of(found.genesis, block.header):
            raise PeerError(f"block {height} is wrong: {trouble}")
    signed = next((each for raw in block.transactions if (each := _parsed(raw)).id == wanted), None)
    if signed is None:
        raise PeerError(f"block {height} doesn't have the transaction {identity}")
    document = {
        "id": identity, "height": height, "time": at(block.header.header.time_ms),
        "account": signed.transaction.account.hex(), "nonce": signed.transaction.nonce,
        "operation": type(signed.transaction.operation).__name__,
        "content": _plain(signed.transaction.operation),
    }  # fmt: skip
    if as_json:
        show_json(document | {"schema": "zosnet.ledger-tx/1"})
    else:
        fields(
            [(key, value if isinstance(value, str) else json.dumps(value)) for key, value in document.items()]
        )


def _parsed(raw: bytes) -> SignedTransaction:
    try:
        return SignedTransaction.parse(raw)
    except Malformed as error:
        raise PeerError(f"a transaction is malformed: {error}") from None


def _plain(value: Any) -> Any:
    """A record for people and programs: bytes as digits."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if hasattr(type(value), "__slots__"):
        return {slot: _plain(getattr(value, slot)) for slot in type(value).__slots__}
    return value


@ledger.command()
@click.argument("text", metavar="NAME")
@click.option(
    "--record", type=click.Choice(["name", "route", "delegation"]), default="name", show_default=True
)
@ledger_options
def proof(text: str, record: str, ledger: str | None, ledger_dir: Path | None) -> None:
    """A proof of a record of NAME, or of its absence, as JSON that `zosnet ledger verify --proof` checks."""
    name = Name.parse(text)
    kinds = {
        "name": name_key(name.top),
        "route": route_key(name.text),
        "delegation": delegation_key(name.text),
    }
    with transport(ledger, ledger_dir, make=False) as way:
        answer, genesis = way.query([kinds[record]]), way.genesis()
    (item,) = answer.items
    show_json(
        {
            "chain": genesis.chain.hex(), "genesis": encode(genesis).hex(), "header": answer.header.raw.hex(),
            "height": proven_height(answer.header),
            "key": item.key.hex(), "value": None if item.value is None else item.value.hex(),
            "proof": encode(item.proof).hex(), "schema": "zosnet.ledger-proof/1",
        }
    )  # fmt: skip


@ledger.command()
@click.option(
    "--proof", "proof_file", type=click.File("r"), help="Check a proof of `zosnet ledger proof` only."
)
@click.option("--file", "export", type=click.File("r"), help="Check what `zosnet ledger export` wrote.")
@click.option("--chain", help="The id that the ledger must have.")
@click.option("--height", type=int, help="Start at this height, whose --hash is trusted.")
@click.option("--hash", "trusted", help="The hash of the header at --height.")
@click.option("--replay", "is_full", is_flag=True, help="Carry out every transaction anew as well.")
@click.option("--rpc", metavar="URL", help="Be a light client of this CometBFT node (http, https, unix).")
@click.option("--witness", "witnesses", metavar="URL", multiple=True, help="Another node that must agree.")
@click.option(
    "--trusted", "trusted_file", type=click.Path(path_type=Path), help="Where a light client's trust is kept."
)
@click.option(
    "--trust-days", type=click.IntRange(1, 365), default=7, show_default=True, help="How long trust lasts."
)
@ledger_options
@json_option
def verify(
    *, proof_file: Any, export: Any, chain: str | None, height: int | None, trusted: str | None,
    is_full: bool, rpc: str | None, witnesses: tuple[str, ...], trusted_file: Path | None, trust_days: int,
    ledger: str | None, ledger_dir: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Check a ledger: each header, its signatures, its place. Exit code 4 where anything is wrong."""
    wanted = None if chain is None else _digits(chain, "a chain's id")
    if (height is None) != (trusted is None):
        raise UsageError("--height and --hash belong together")
    pin = Pin(height, _digits(trusted, "a hash")) if height is not None and trusted is not None else None
    schema = "zosnet.ledger-verify/1"
    if rpc is not None:
        if chain is not None or export is not None or is_full:
            raise UsageError("--rpc goes with none of --chain, --file and --replay")
        proof = None if proof_file is None else LightProof.parse(proof_file.read().encode())
        sources = Sources(rpc, witnesses, pin, trusted_file, trust_days)
        document, record = verify_by_light(sources, proof)
        document |= {} if proof is None else {"record": None if record is None else _plain(record)}
        schema = "zosnet.ledger-light-verify/1"
    elif witnesses or trusted_file is not None:
        raise UsageError("--witness and --trusted go with --rpc")
    elif proof_file is not None:
        document = _verify_proof(json.load(proof_file), wanted)
    elif export is not None:
        document = _verify_export(export, wanted)
    else:
        with transport(ledger, ledger_dir, make=False) as way:
            document = _verify_live(way, wanted, pin, is_full)
    if as_json:
        show_json(document | {"schema": schema})
    else:
        fields([(key.replace("_", " "), str(value)) for key, value in document.items()])


def _verify_proof(document: dict[str, Any], chain: bytes | None) -> dict[str, Any]:
    try:
        genesis = decode(Genesis, bytes.fromhex(document["genesis"]))
        header = parse_signed(bytes.fromhex(document["header"]))
        key = bytes.fromhex(document["key"])
        value = None if document["value"] is None else bytes.fromhex(document["value"])
        path = decode(Proof, bytes.fromhex(document["proof"]))
        record = None if value is None else decode(kind_of(key), value)
    except (KeyError, TypeError, ValueError, Malformed) as error:
        raise PeerError(f"that is no proof: {error}") from None
    if chain is not None and genesis.chain != chain:
        raise PeerError("the proof is of another ledger")
    if trouble := trouble_of(genesis, header):
        raise PeerError(f"the proof's header is wrong: {trouble}")
    if not verify_proof(header.header.root, key, value, path):
        raise PeerError("the proof is wrong")
    return {
        "chain": genesis.chain.hex(), "height": header.header.height, "time": at(header.header.time_ms),
        "record": None if record is None else _plain(record),
    }  # fmt: skip


def _verify_live(way: Transport, chain: bytes | None, pin: Pin | None, is_full: bool) -> dict[str, Any]:
    genesis = way.genesis()
    if chain is not None and genesis.chain != chain:
        raise PeerError("the ledger there is another one")
    top = way.query([]).header.header.height
    if is_full:
        with progress("replaying", top) as tell:
            for header in replay(genesis, _blocks(way, top)):
                tell(header.height)
        return {"chain": genesis.chain.hex(), "height": top, "headers": top, "replayed": True}
    before, start = None, 1
    if pin is not None:
        before, start = at_pin(way, pin).header, pin.height + 1
    checked = 0
    with progress("checking headers", top) as tell:
        while found := way.headers(start, 1000):
            for signed in found:
                if trouble := trouble_after(genesis, before, signed):
                    raise PeerError(f"header {signed.header.height} is wrong: {trouble}")
                before = signed.header
            checked, start = checked + len(found), start + len(found)
            tell(start)
    height = before.height if before else 0
    return {"chain": genesis.chain.hex(), "height": height, "headers": checked, "replayed": False}


def _blocks(way: Transport, top: int) -> Iterator[tuple[SignedHeader, tuple[bytes, ...]]]:
    for height in range(1, top + 1):
        block = way.block(height)
        if block is None:
            raise PeerError(f"block {height} is not there")
        yield block.header, block.transactions


def _verify_export(file: Any, chain: bytes | None) -> dict[str, Any]:
    try:
        genesis = decode(Genesis, bytes.fromhex(json.loads(file.readline())["genesis"]))
        lines = (json.loads(line) for line in file)
        blocks = (
            (
                parse_signed(bytes.fromhex(line["header"])),
                tuple(map(bytes.fromhex, line["transactions"])),
            )
            for line in lines
        )
        if chain is not None and genesis.chain != chain:
            raise PeerError("the export is of another ledger")
        last = None
        for header in replay(genesis, blocks):
            last = header
    except (KeyError, TypeError, ValueError, Malformed) as error:
        raise PeerError(f"that is no export of a ledger: {error}") from None
    height = last.height if last else 0
    return {"chain": genesis.chain.hex(), "height": height, "headers": height, "replayed": True}


@ledger.command()
@click.argument("file", type=click.Path(path_type=Path))
@ledger_options
@json_option
def export(file: Path, ledger: str | None, ledger_dir: Path | None, as_json: bool) -> None:
    """Write all blocks to FILE, a JSON document a line, the genesis first."""
    with transport(ledger, ledger_dir, make=False) as way:
        genesis, top = way.genesis(), way.query([]).header.header.height
        try:
            with file.open("x") as out, progress("exporting", top) as tell:
                first = {"genesis": encode(genesis).hex(), "schema": "zosnet.ledger-export/1"}
                out.write(json.dumps(first) + "\n")
                for header, raws in _blocks(way, top):
                    line = {"header": header.raw.hex(), "transactions": [raw.hex() for raw in raws]}
                    out.write(json.dumps(line) + "\n")
                    tell(header.header.height)
        except OSError as error:
            raise HostError(f"{file} can't be written: {error.strerror}") from None
    if as_json:
        show_json({"file": str(file), "blocks": top, "schema": "zosnet.ledger-exported/1"})
    else:
        say(f"{top} blocks are in {file}")


def _digits(text: str, what: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != 32:
        raise UsageError(f"{what} is 64 hexadecimal digits, not {text!r}")
    return found
