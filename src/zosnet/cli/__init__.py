"""The command line: a client of the node's API, except for `up`, which is the node."""
