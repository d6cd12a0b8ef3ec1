"""What lives on the disk: the node's key, its settings, the topics of messages.

Whatever the disk or its owner does wrong ends as one HostError or UsageError that names the file and the
remedy.
"""
