"""Benchmarks: overlay daemons side by side in network namespaces, and the cost of routing."""
