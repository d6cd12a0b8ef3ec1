"""The ledger from outside: whom to ask (`transport`), whom to believe (`follower`), what to sign (`desk`)."""
