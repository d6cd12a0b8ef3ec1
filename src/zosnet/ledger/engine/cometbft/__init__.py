"""The engine for several operators: CometBFT puts the transactions in order, our process carries them out.

engine.py        what anybody may want of an engine, over the two below
application.py   the state machine behind ABCI: what may wait, what is proposed, what a block does
server.py        ABCI's unix socket
rpc.py           questions to CometBFT
headers.py       its signed headers, kept as they come
home.py          its directory: configuration, genesis, keys
process.py       its process: started, watched, started again, never left behind
"""
