"""Who owns which name, and what belongs to it: a deterministic state machine of signed transactions.

    bytes ─ transaction ─ machine (rules) ─ changes ─ tree ─ root ─ header, signed by the engine

Everything here is pure but `engine`, which orders transactions and keeps their outcome, and `client`, which
asks an engine and believes only what it can verify. Nothing here reads a clock: time is the block's.
"""
