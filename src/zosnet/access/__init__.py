"""Who may do what: the rules, as people write them, and what they mean. Pure.

`inbound` is about one node's own doors: which packets and messages of the overlay it lets in.
"""

from zosnet.access.inbound import (
    ANYONE,
    Doors,
    Reason,
    Rule,
    Source,
    compile_doors,
    explain,
    parse_key,
    parse_rule,
    parse_source,
)

__all__ = [
    "ANYONE",
    "Doors",
    "Reason",
    "Rule",
    "Source",
    "compile_doors",
    "explain",
    "parse_key",
    "parse_rule",
    "parse_source",
]
