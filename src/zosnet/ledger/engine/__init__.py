"""Engines put transactions in an order and keep what comes of them. All are used through one interface.

`embedded` is one process with one operator's key and SQLite. An engine for several operators has the same
interface and the same machine, tree and headers.
"""
