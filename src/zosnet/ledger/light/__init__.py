"""A light client of a ledger that several operators run with CometBFT: whom to believe, and why.

    RPC's JSON ─ rpc ─ light block ─ verify (trust, powers, signatures) ─ client (bisection, store) ─ answer

It starts from one header that its owner trusts, and believes a later one by the signatures of those whom the
earlier one trusted. Everything here is pure: bytes and `now` come in, a verdict or one error goes out.
"""
