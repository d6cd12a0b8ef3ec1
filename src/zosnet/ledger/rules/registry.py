"""What an account registers beside names: gateways, clusters of them, networks and their revocations."""

from __future__ import annotations

from typing import Any

from zosnet.ledger.records import (
    ClusterRecord,
    GatewayRecord,
    NetworkRecord,
    RevocationsRecord,
    cluster_id,
    cluster_key,
    gateway_key,
    network_key,
    revocations_key,
)
from zosnet.ledger.rules.step import Refused, Step
from zosnet.ledger.transaction import PutCluster, PutGateway, PutNetwork, PutRevocations, consent_message


def _put(step: Step, key: bytes, present: Any, wanted: Any, quota: str) -> None:
    """Write `wanted` (None: delete) at `key`, counting what appears and goes against a quota."""
    if present is None and wanted is None:
        raise Refused("absent", "there is nothing to delete")
    if (present is None) != (wanted is None):
        step.count(quota, 1 if present is None else -1)
    step.write(key, wanted)


def put_gateway(step: Step, operation: PutGateway) -> None:
    """Set, replace or delete a gateway of the sender."""
    key = gateway_key(step.sender, operation.key)
    present: GatewayRecord | None = step.read(key)
    step.replaces(present, operation.replaces)
    body = operation.gateway
    _put(step, key, present, None if body is None else GatewayRecord(step.epoch(), body), "gateways")


def put_cluster(step: Step, operation: PutCluster) -> None:
    """Set, replace or delete a cluster of the sender."""
    key = cluster_key(cluster_id(step.sender, operation.label))
    present: ClusterRecord | None = step.read(key)
    step.replaces(present, operation.replaces)
    body = operation.cluster
    new = None if body is None else ClusterRecord(step.epoch(), step.sender, body)
    _put(step, key, present, new, "clusters")


def put_network(step: Step, operation: PutNetwork) -> None:
    """Set, replace or delete a network. A new one needs its key's word; its version only rises."""
    network, body = operation.network, operation.body
    present: NetworkRecord | None = step.read(network_key(network))
    if present is not None and present.owner != step.sender:
        raise Refused("holder", f"the network is registered by {present.owner.hex()}")
    step.replaces(present, operation.replaces)
    if present is None:
        message = consent_message(step.world.chain, step.sender, network)
        if operation.consent is None or not step.world.verify(network, message, operation.consent):
            raise Refused("consent", "the network's key has not signed for this account")
    elif body is not None and body.version <= present.body.version:
        raise Refused("version", f"the manifest's version must be above {present.body.version}")
    new = None if body is None else NetworkRecord(step.epoch(), step.sender, body)
    _put(step, network_key(network), present, new, "networks")
    if new is None and step.read(revocations_key(network)) is not None:
        step.write(revocations_key(network), None)


def put_revocations(step: Step, operation: PutRevocations) -> None:
    """Set, replace or delete the revocation anchor of a network of the sender. Its version only rises."""
    owner: NetworkRecord | None = step.read(network_key(operation.network))
    if owner is None or owner.owner != step.sender:
        raise Refused("holder", "the network is not registered by this account")
    key = revocations_key(operation.network)
    present: RevocationsRecord | None = step.read(key)
    step.replaces(present, operation.replaces)
    body = operation.body
    if body is None:
        if present is None:
            raise Refused("absent", "there is nothing to delete")
        step.write(key, None)
        return
    if present is not None and body.version <= present.body.version:
        raise Refused("version", f"the list's version must be above {present.body.version}")
    step.write(key, RevocationsRecord(step.epoch(), body))
