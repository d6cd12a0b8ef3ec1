"""What hangs on a name or a domain: delegations of sub-names, routes, claims of domains."""

from __future__ import annotations

from dataclasses import replace

from zosnet.ledger.records import (
    ClaimRecord,
    DelegationRecord,
    NameRecord,
    RouteRecord,
    account_key,
    by_length,
    claim_key,
    cluster_key,
    delegation_key,
    domain_route_key,
    name_key,
    route_key,
)
from zosnet.ledger.rules.lease import held, live
from zosnet.ledger.rules.step import Refused, Step
from zosnet.ledger.transaction import ClaimDomain, Delegate, DropDomain, NameHost, PutRoute
from zosnet.model.name import Name


def delegate(step: Step, operation: Delegate) -> None:
    """The holder puts a sub-name in other hands, or takes it back. Its routes of before are gone."""
    name = Name(operation.name)
    if not name.is_sub:
        raise Refused("sub-name", "only a sub-name can be delegated; a name is transferred")
    record = held(step, name.top)
    key = delegation_key(name.text)
    present: DelegationRecord | None = step.read(key)
    step.replaces(present, operation.replaces)
    if operation.to is None:
        if present is None:
            raise Refused("absent", f"{name} is not delegated")
        step.write(key, None)
    else:
        if step.read(account_key(operation.to)) is None:
            raise Refused("account", "the receiving account is not open")
        step.write(key, DelegationRecord(step.epoch(), operation.to))
    for child in record.children:
        if _governing(step, Name(child), name) and step.read(route_key(child)) is not None:
            step.write(route_key(child), None)
    _keep_children(step, name.top, record, {name.text, *record.children})


def _governing(step: Step, child: Name, name: Name) -> bool:
    """Whether a delegation of `name` decides on `child`: it is under it, and no nearer one does."""
    if not child.is_under(name):
        return False
    nearer = [each for each in child.ancestry() if each != name and each.is_under(name)]
    return all(step.read(delegation_key(each.text)) is None for each in nearer)


def _keep_children(step: Step, top: str, record: NameRecord, candidates: set[str]) -> None:
    children = tuple(sorted((each for each in candidates if _is_used(step, each)), key=by_length))
    if len(children) > max(step.parameters.children, len(record.children)):
        raise Refused("quota", f"a name may have {step.parameters.children} sub-names in use")
    if children != record.children:
        step.write(name_key(top), replace(record, children=children))


def _is_used(step: Step, name: str) -> bool:
    return step.read(delegation_key(name)) is not None or step.read(route_key(name)) is not None


def authority(step: Step, name: Name, record: NameRecord) -> bytes:
    """Who decides on a name: whom the nearest delegation names, else its holder."""
    for each in name.ancestry()[:-1]:
        found: DelegationRecord | None = step.read(delegation_key(each.text))
        if found is not None:
            return found.to
    return record.holder


def put_route(step: Step, operation: PutRoute) -> None:
    """Set, replace or delete a route."""
    if isinstance(operation.host, NameHost):
        name = Name(operation.host.name)
        record = live(step, name.top)
        if authority(step, name, record) != step.sender:
            raise Refused("authority", f"another account decides on {name}")
        _write_route(step, operation, route_key(name.text))
        if name.is_sub:
            _keep_children(step, name.top, record, {name.text, *record.children})
        return
    domain = operation.host.domain
    if step.read(claim_key(step.sender, domain)) is None:
        raise Refused("claim", f"the account doesn't claim {domain}")
    _write_route(step, operation, domain_route_key(step.sender, domain))


def _write_route(step: Step, operation: PutRoute, key: bytes) -> None:
    present: RouteRecord | None = step.read(key)
    step.replaces(present, operation.replaces)
    if operation.route is None:
        if present is None:
            raise Refused("absent", "there is no route")
        step.write(key, None)
        return
    if step.read(cluster_key(operation.route.cluster)) is None:
        raise Refused("cluster", "the cluster is not registered")
    step.write(key, RouteRecord(step.epoch(), operation.route))


def claim_domain(step: Step, operation: ClaimDomain) -> None:
    """Claim a domain. Others may claim it too: whoever serves it asks DNS whom to believe."""
    key = claim_key(step.sender, operation.domain)
    if step.read(key) is not None:
        raise Refused("same", f"the account claims {operation.domain} already")
    step.count("claims", 1)
    step.write(key, ClaimRecord(step.epoch()))


def drop_domain(step: Step, operation: DropDomain) -> None:
    """Take a claim back, and its route."""
    key = claim_key(step.sender, operation.domain)
    present: ClaimRecord | None = step.read(key)
    step.replaces(present, operation.replaces)
    if present is None:
        raise Refused("absent", f"the account doesn't claim {operation.domain}")
    step.write(key, None)
    if step.read(domain_route_key(step.sender, operation.domain)) is not None:
        step.write(domain_route_key(step.sender, operation.domain), None)
    step.count("claims", -1)
