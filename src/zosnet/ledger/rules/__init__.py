"""The rules, by version. What was ever in force is never changed: old blocks must give old roots."""

from zosnet.ledger.rules import account, host, lease, registry
from zosnet.ledger.rules.step import Rules
from zosnet.ledger.transaction import (
    AcceptName,
    ClaimDomain,
    CommitName,
    Delegate,
    DropDomain,
    OpenAccount,
    PutCluster,
    PutGateway,
    PutNetwork,
    PutRevocations,
    PutRoute,
    ReleaseName,
    RenewName,
    RevealName,
    RotateKeys,
    TransferName,
)

__all__ = ["RULES"]

_FIRST: Rules = {
    OpenAccount: account.open_account,
    RotateKeys: account.rotate_keys,
    CommitName: lease.commit,
    RevealName: lease.reveal,
    RenewName: lease.renew,
    TransferName: lease.transfer,
    AcceptName: lease.accept,
    ReleaseName: lease.release,
    Delegate: host.delegate,
    ClaimDomain: host.claim_domain,
    DropDomain: host.drop_domain,
    PutRoute: host.put_route,
    PutGateway: registry.put_gateway,
    PutCluster: registry.put_cluster,
    PutNetwork: registry.put_network,
    PutRevocations: registry.put_revocations,
}

RULES: dict[int, Rules] = {1: _FIRST}
