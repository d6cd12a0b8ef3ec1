"""The three faults there are: the caller's, this machine's, the other side's.

The class decides what a caller does next, and which exit code the command line ends with: 0 done, 1 the
answer is no, 2 UsageError, 3 HostError, 4 PeerError. An ordinary "no" is a value and never an exception.
"""


class ZosnetError(Exception):
    """Base of every error this package raises on purpose. Anything else that escapes is a bug in it.

    `remedy` is one sentence that tells a person what to do about it, "" where there is nothing to say.
    """

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class UsageError(ZosnetError):
    """The caller asked for something that cannot be. Fix the call; retrying is pointless."""


class HostError(ZosnetError):
    """This machine refused: no TUN device, no permission, disk full, port taken."""


class PeerError(ZosnetError):
    """The other side broke the protocol or sent nonsense. Drop it, count it, carry on."""
