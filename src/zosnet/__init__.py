"""zosnet: a secure network between machines, and the containers on them, that nobody owns."""

__version__ = "0.1.0"
