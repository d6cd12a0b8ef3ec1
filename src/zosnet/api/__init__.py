"""HTTP on the node: its own API on a unix socket, Mycelium's on a TCP address, metrics on request.

A handler parses, calls the node once, and renders what it says. No rule lives here.
"""
