"""A source of operations, mostly sensible, out of nothing but small draws, for Hypothesis and for a seed."""

from __future__ import annotations

from tests.ledger.naive import DOMAINS, KEYS, LABELS, NAMES, SUBS, TIGHT, Draw, Expected, Lease, Twin

from zosnet.ledger.records import (
    cluster_id,
)  # fmt: skip
from zosnet.ledger.transaction import (
    AcceptName,
    ClaimDomain,
    ClusterBody,
    CommitName,
    Delegate,
    DomainHost,
    DropDomain,
    GatewayBody,
    NameHost,
    NetworkBody,
    Operation,
    PutCluster,
    PutGateway,
    PutNetwork,
    PutRevocations,
    PutRoute,
    ReleaseName,
    RenewName,
    RevealName,
    RevocationsBody,
    RouteBody,
    TransferName,
    commitment,
)  # fmt: skip
from zosnet.ledger.wallet import consent


def propose(twin: Twin, who: int, draw: Draw) -> tuple[Operation, Expected]:
    """An operation of account `who`, and what it does to the model; None where it must be refused."""
    return PROPOSALS[draw(len(PROPOSALS))](twin, who, draw)


def _replaces(present: int, draw: Draw) -> int:
    """Mostly the present epoch; else one that is late, or that there never was."""
    return present if draw(10) else [0, max(present - 1, 0), present + 1][draw(3)]


def _commit(twin: Twin, who: int, draw: Draw) -> tuple[Operation, Expected]:
    model, name, salt = twin.model, NAMES[draw(len(NAMES))], draw(3)
    mine = [each for each in model.commits if each[0] == who]
    good = len(mine) < TIGHT.commits and not any(each[1:3] == (name, salt) for each in mine)

    def do(_: int) -> None:
        model.commits.append((who, name, salt, model.height))

    hidden = commitment(twin.chain.genesis.chain, twin.ids[who], name, bytes([salt]) * 32)
    return CommitName(hidden), do if good else None


def _reveal(twin: Twin, who: int, draw: Draw) -> tuple[Operation, Expected]:
    model = twin.model
    mine = [each for each in model.commits if each[0] == who]
    if mine and draw(8):
        _, name, salt, height = mine[draw(len(mine))]
    else:
        name, salt, height = NAMES[draw(len(NAMES))], draw(3), -1
        height = next((each[3] for each in mine if each[1:3] == (name, salt)), -1)
    good = (
        height >= 0 and height < model.height and name not in model.names and name not in TIGHT.reserved
        and model.held_by(who) < TIGHT.names
    )  # fmt: skip

    def do(epoch: int) -> None:
        model.commits.remove((who, name, salt, height))
        model.names[name] = Lease(who, model.now + TIGHT.lease_ms, epoch)

    return RevealName(name, bytes([salt]) * 32), do if good else None


def _lease(twin: Twin, who: int, draw: Draw) -> tuple[str, Lease | None, int, bool]:
    """A name, mostly one of the sender's; its lease, the epoch to name, and whether that one is right."""
    mine = [name for name, lease in twin.model.names.items() if lease.holder == who]
    name = mine[draw(len(mine))] if mine and draw(6) else NAMES[draw(len(NAMES))]
    lease = twin.model.names.get(name)
    present = lease.epoch if lease else 0
    named = _replaces(present, draw)
    return name, lease, named, named == present


def _renew(twin: Twin, who: int, draw: Draw) -> tuple[Operation, Expected]:
    name, lease, named, right = _lease(twin, who, draw)

    def do(epoch: int) -> None:
        assert lease
        lease.expires, lease.epoch = twin.model.now + TIGHT.lease_ms, epoch

    return RenewName(name, named), do if lease and right and lease.holder == who else None


def _transfer(twin: Twin, who: int, draw: Draw) -> tuple[Operation, Expected]:
    name, lease, named, right = _lease(twin, who, draw)
    to = None if draw(5) == 0 else draw(len(twin.ids))
    good = right and lease and lease.holder == who and twin.model.live(name) and to != who

    def do(epoch: int) -> None:
        assert lease
        lease.offered, lease.epoch = to, epoch

    return TransferName(name, named, None if to is None else twin.ids[to]), do if good else None


def _accept(twin: Twin, who: int, draw: Draw) -> tuple[Operation, Expected]:
    model = twin.model
    offers = [name for name, lease in model.names.items() if lease.offered == who]
    name = offers[draw(len(offers))] if offers and draw(8) else NAMES[draw(len(NAMES))]
    lease = model.names.get(name)
    present = lease.epoch if lease else 0
    named = _replaces(present, draw)
    good = (
        named == present and lease and lease.offered == who and model.live(name)
        and model.held_by(who) < TIGHT.names
    )  # fmt: skip

    def do(epoch: int) -> None:
        assert lease
        model.remove(name)
        model.names[name] = Lease(who, lease.expires, epoch)

    return AcceptName(name, named), do if good else None


def _release(twin: Twin, who: int, draw: Draw) -> tuple[Operation, Expected]:
    name, lease, named, right = _lease(twin, who, draw)
    if not right or not lease or lease.holder != who or not twin.model.live(name):
        return ReleaseName(name, named), None
    return ReleaseName(name, named), lambda _: twin.model.remove(name)


def _delegate(twin: Twin, who: int, draw: Draw) -> tuple[Operation, Expected]:
    model = twin.model
    top = _lease(twin, who, draw)[0]
    host = f"{SUBS[draw(len(SUBS))]}.{top}"
    present = model.delegations.get(host, (0, 0))[1]
    named, to = _replaces(present, draw), None if draw(3) == 0 else draw(len(twin.ids))
    lease = model.live(top)
    good = named == present and lease and lease.holder == who and (to is not None or present)
    lost: list[str] = []
    if good:
        lost = [
            each for each in model.routes
            if (each == host or each.endswith("." + host)) and model.nearest(each) in _above(host)
        ]  # fmt: skip
        left = (
            ({h for h in model.routes if h.endswith("." + top)} - set(lost))
            | {h for h in model.delegations if h.endswith("." + top) and h != host}
            | ({host} if to is not None else set())
        )
        good = len(left) <= max(TIGHT.children, len(model.children(top)))

    def do(epoch: int) -> None:
        for each in lost:
            del model.routes[each]
        if to is None:
            del model.delegations[host]
        else:
            model.delegations[host] = (to, epoch)

    return Delegate(host, named, None if to is None else twin.ids[to]), do if good else None


def _above(host: str) -> set[str | None]:
    """The delegations of a host and above it, and none at all."""
    labels = host.split(".")
    return {None, *(".".join(labels[n:]) for n in range(len(labels)))}


def _body(twin: Twin, draw: Draw) -> tuple[RouteBody | None, bool]:
    """A route, or none; and whether its cluster is registered."""
    if draw(4) == 0:
        return None, True
    owner, label = draw(len(twin.ids)), LABELS[draw(len(LABELS))]
    known = list(twin.model.clusters)
    if known and draw(8):
        owner, label = known[draw(len(known))]
    body = RouteBody(bytes(32), "web", 1 + draw(9), 0, 0, cluster_id(twin.ids[owner], label))
    return body, (owner, label) in twin.model.clusters


def _route(twin: Twin, who: int, draw: Draw) -> tuple[Operation, Expected]:
    model = twin.model
    top = _lease(twin, who, draw)[0]
    given = [host for host, (to, _) in model.delegations.items() if to == who]
    if given and draw(3) == 0:
        host = given[draw(len(given))]
        top = host.rpartition(".")[2]
    else:
        host = top if draw(2) else f"{SUBS[draw(len(SUBS))]}.{top}"
    present = model.routes.get(host, (0, 0))[1]
    named = _replaces(present, draw)
    body, known = _body(twin, draw)
    good: object = model.live(top) and model.authority(host) == who and named == present and known
    good = good and (body is not None or present)
    if good and body is not None and host != top:
        after = model.children(top) | {host}
        good = len(after) <= max(TIGHT.children, len(model.children(top)))

    def do(epoch: int) -> None:
        if body is None:
            del model.routes[host]
        else:
            model.routes[host] = (body.port, epoch)

    return PutRoute(NameHost(host), named, body), do if good else None


def _claim(twin: Twin, who: int, draw: Draw) -> tuple[Operation, Expected]:
    model, domain = twin.model, DOMAINS[draw(len(DOMAINS))]
    count = sum(owner == who for owner, _ in model.claims)
    good = (who, domain) not in model.claims and count < TIGHT.objects
    return ClaimDomain(domain), (lambda e: model.claims.update({(who, domain): e})) if good else None


def _drop(twin: Twin, who: int, draw: Draw) -> tuple[Operation, Expected]:
    model, domain = twin.model, DOMAINS[draw(len(DOMAINS))]
    present = model.claims.get((who, domain), 0)
    named = _replaces(present, draw)

    def do(_: int) -> None:
        del model.claims[who, domain]
        model.domain_routes.pop((who, domain), None)

    return DropDomain(domain, named), do if present and named == present else None


def _domain_route(twin: Twin, who: int, draw: Draw) -> tuple[Operation, Expected]:
    model, domain = twin.model, DOMAINS[draw(len(DOMAINS))]
    present = model.domain_routes.get((who, domain), (0, 0))[1]
    named = _replaces(present, draw)
    body, known = _body(twin, draw)
    good = (who, domain) in model.claims and named == present and known and (body is not None or present)

    def do(epoch: int) -> None:
        if body is None:
            del model.domain_routes[who, domain]
        else:
            model.domain_routes[who, domain] = (body.port, epoch)

    return PutRoute(DomainHost(domain), named, body), do if good else None


def _gateway(twin: Twin, who: int, draw: Draw) -> tuple[Operation, Expected]:
    model, number = twin.model, draw(len(KEYS))
    present = model.gateways.get((who, number), 0)
    named, body = _replaces(present, draw), None if draw(3) == 0 else GatewayBody(("a:1",))
    good = named == present and (body or present)
    good = good and (present or sum(owner == who for owner, _ in model.gateways) < TIGHT.objects)

    def do(epoch: int) -> None:
        model.gateways[who, number] = epoch
        if body is None:
            del model.gateways[who, number]

    return PutGateway(KEYS[number].public, named, body), do if good else None


def _cluster(twin: Twin, who: int, draw: Draw) -> tuple[Operation, Expected]:
    model, label = twin.model, LABELS[draw(len(LABELS))]
    present = model.clusters.get((who, label), 0)
    named, body = _replaces(present, draw), None if draw(4) == 0 else ClusterBody((), ())
    good = named == present and (body or present)
    good = good and (present or sum(owner == who for owner, _ in model.clusters) < TIGHT.objects)

    def do(epoch: int) -> None:
        model.clusters[who, label] = epoch
        if body is None:
            del model.clusters[who, label]

    return PutCluster(label, named, body), do if good else None


def _network(twin: Twin, who: int, draw: Draw) -> tuple[Operation, Expected]:
    model, number = twin.model, draw(len(KEYS))
    owner, version, present = model.networks.get(number, (who, -1, 0))
    named, wanted = _replaces(present, draw), None if draw(5) == 0 else max(version, 0) + draw(3)
    body = None if wanted is None else NetworkBody(bytes(32), wanted)
    good = named == present and owner == who and (present or body)
    good = good and (present or sum(each[0] == who for each in model.networks.values()) < TIGHT.objects)
    good = good and (wanted is None or wanted > version)

    def do(epoch: int) -> None:
        if wanted is None:
            del model.networks[number]
            model.revocations.pop(number, None)
        else:
            model.networks[number] = (who, wanted, epoch)

    word = consent(twin.chain.genesis.chain, twin.ids[who], KEYS[number]) if not present else None
    return PutNetwork(KEYS[number].public, named, body, word), do if good else None


def _revoke(twin: Twin, who: int, draw: Draw) -> tuple[Operation, Expected]:
    model, number = twin.model, draw(len(KEYS))
    owner = model.networks.get(number, (-1, 0, 0))[0]
    version, present = model.revocations.get(number, (-1, 0))
    named, wanted = _replaces(present, draw), None if draw(5) == 0 else max(version, 0) + draw(3)
    good = owner == who and named == present and (present or wanted is not None)
    good = good and (wanted is None or wanted > version)

    def do(epoch: int) -> None:
        if wanted is None:
            del model.revocations[number]
        else:
            model.revocations[number] = (wanted, epoch)

    body = None if wanted is None else RevocationsBody(bytes(32), wanted)
    return PutRevocations(KEYS[number].public, named, body), do if good else None


PROPOSALS = [
    _commit, _commit, _reveal, _reveal, _reveal, _renew, _renew, _transfer, _transfer, _accept, _accept,
    _release, _delegate, _delegate, _route, _route, _route, _claim, _drop, _domain_route, _gateway, _cluster,
    _cluster, _network, _revoke,
]  # fmt: skip
