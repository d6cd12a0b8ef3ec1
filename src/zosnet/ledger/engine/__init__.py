"""Engines put transactions in an order and keep what comes of them. All are used through one interface.

`embedded` is one process with one operator's key and SQLite. `cometbft` is for several operators: the same
interface, machine and tree, and headers that CometBFT's validators sign.
"""
