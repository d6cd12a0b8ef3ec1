"""The light client: headers that are trusted, and the way to a new one through as few as it takes.

It does no I/O: `headers_to` is a generator that yields the height whose light block it wants next, is sent
that block, and returns the one that was asked for. Whoever drives it fetches, and keeps the store between
runs if it likes. Two signed headers of one height mean that validators lie: from then on nothing is believed.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

from zosnet.ledger.light.block import LightBlock
from zosnet.ledger.light.verify import Fork, Trust, Untrusted, check_block, check_commit, verify

__all__ = ["LightClient", "Steps", "Store"]

Steps = Generator[int, LightBlock, LightBlock]
"""Yields heights, is sent their light blocks, returns the block that was wanted."""

#: A light block of four validators is about 2 KB, one of 100 about 25 KB.
MOST_KEPT = 1000


class Store:
    """Trusted light blocks by height. Too many, and the lowest is forgotten, but never the one just added."""

    def __init__(self, limit: int = MOST_KEPT) -> None:
        self._limit = limit
        self._blocks: dict[int, LightBlock] = {}

    def __iter__(self) -> Iterator[LightBlock]:
        """From the lowest to the newest."""
        for height in sorted(self._blocks):
            yield self._blocks[height]

    @property
    def newest(self) -> LightBlock | None:
        """The highest."""
        return self._blocks[max(self._blocks)] if self._blocks else None

    def at(self, height: int) -> LightBlock | None:
        """The one of this height."""
        return self._blocks.get(height)

    def below(self, height: int) -> LightBlock | None:
        """The highest below this height."""
        heights = [each for each in self._blocks if each < height]
        return self._blocks[max(heights)] if heights else None

    def add(self, block: LightBlock) -> None:
        """Keep a block that was verified. Raises Fork where it contradicts one that is known."""
        known = self.at(block.height)
        if known is not None:
            if known.header.hash != block.header.hash:
                raise Fork(known, block)
            return
        for first, second in ((self.at(block.height - 1), block), (block, self.at(block.height + 1))):
            if first is not None and second is not None:
                _check_link(first, second)
        self._blocks[block.height] = block
        if len(self._blocks) > self._limit:
            del self._blocks[min(height for height in self._blocks if height != block.height)]


def _check_link(first: LightBlock, second: LightBlock) -> None:
    """That a block names the one before it."""
    named = second.header.last_block_id.hash
    if named != first.header.hash:
        raise Fork(
            first,
            second,
            f"the signed header {second.height} follows {named.hex()}, not {first.header.hash.hex()}",
        )


class LightClient:
    """Believes the headers of one chain. Not for several threads at once."""

    def __init__(self, trust: Trust | None = None, store: Store | None = None) -> None:
        self.trust = trust or Trust()
        self.store = store or Store()
        self.fork: Fork | None = None

    def pin(self, block: LightBlock, height: int, hash_: bytes, now_ns: int) -> None:
        """Start from the header whose height and hash the owner trusts. Raises Untrusted for another one."""
        if block.height != height or block.header.hash != hash_:
            raise Untrusted("pin", f"header {height} there is not the one that is trusted")
        check_block(block, block.header.chain_id)
        self.trust.check_age(block.header, now_ns)
        self.trust.check_clock(block.header, now_ns)
        check_commit(block)
        self._keep(block)

    def headers_to(self, height: int, now_ns: int, *, witness: bool = False) -> Steps:
        """The way to the trusted block of `height`. Raises Untrusted, or Fork.

        With `witness` the block is fetched and verified even when one is known, from as far below as trust
        goes: sent the blocks of somebody else, it finds out whether both see the same chain.
        """
        self._stay_honest()
        known = self.store.at(height)
        if known is not None and not witness:
            return known
        start = self._oldest_below(height, now_ns) if witness else self.store.below(height)
        if start is None:
            if known is not None:
                return _same(known, (yield height))
            raise Untrusted(
                "height", f"no header below {height} is trusted", remedy="start from a lower height and hash"
            )
        return (yield from self._bisect(start, height, now_ns))

    def _oldest_below(self, height: int, now_ns: int) -> LightBlock | None:
        """The lowest that still vouches for others; chains that part have it in common."""
        oldest = now_ns - self.trust.period_ns
        blocks = (each for each in self.store if each.height < height and each.header.time_ns > oldest)
        return next(blocks, self.store.below(height))

    def _bisect(self, trusted: LightBlock, height: int, now_ns: int) -> Steps:
        """Try the farthest; where too few trusted validators signed it, go half the way first."""
        ahead = [_of_height(height, (yield height))]
        while ahead:
            block = ahead[-1]
            try:
                verify(trusted.header, trusted.validators, block, now_ns, self.trust)
            except Untrusted as no:
                if no.reason != "overlap":
                    raise
                middle = (trusted.height + block.height) // 2
                ahead.append(_of_height(middle, (yield middle)))
                continue
            trusted = ahead.pop()
            self._keep(trusted)
        return trusted

    def _keep(self, block: LightBlock) -> None:
        self._stay_honest()
        try:
            self.store.add(block)
        except Fork as fork:
            self.fork = fork
            raise

    def _stay_honest(self) -> None:
        if self.fork is not None:
            raise Fork(self.fork.first, self.fork.second, self.fork.message)


def _of_height(height: int, block: LightBlock) -> LightBlock:
    if block.height != height:
        raise Untrusted("height", f"header {block.height} came where {height} was asked for")
    return block


def _same(known: LightBlock, block: LightBlock) -> LightBlock:
    if _of_height(known.height, block).header.hash != known.header.hash:
        raise Untrusted("pin", f"header {known.height} there is not the one that is trusted")
    return known
