"""What the node says of itself, as plain values: the one truth behind API, command line and metrics.

A module for each thing that can be asked about; all are imported from here.

Field names are those of the JSON. Times are seconds, round trips milliseconds, sizes bytes. A value that is
not known is None. Each top-level answer carries `schema`, its name and version: fields may be added under the
same version, but never change their meaning.
"""

from zosnet.service.views.doors import DoorsView, RefusalView, RuleView
from zosnet.service.views.findings import Finding, Findings
from zosnet.service.views.messages import MessageRequest, MessageSent, MessageStatus, MessageView
from zosnet.service.views.peers import PeerRequest, Peers, PeerView
from zosnet.service.views.probes import PingRequest, ProbeLine, TraceRequest
from zosnet.service.views.routes import QueryView, Routes, RouteView
from zosnet.service.views.sessions import Pins, PinView, Sessions, SessionView
from zosnet.service.views.status import Done, KeyView, ReloadReport, Status

__all__ = [
    "Done",
    "DoorsView",
    "Finding",
    "Findings",
    "KeyView",
    "MessageRequest",
    "MessageSent",
    "MessageStatus",
    "MessageView",
    "PeerRequest",
    "PeerView",
    "Peers",
    "PinView",
    "PingRequest",
    "Pins",
    "ProbeLine",
    "QueryView",
    "RefusalView",
    "ReloadReport",
    "RouteView",
    "Routes",
    "RuleView",
    "SessionView",
    "Sessions",
    "Status",
    "TraceRequest",
]
