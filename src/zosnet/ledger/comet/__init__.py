"""What is said to CometBFT, as bytes: Protocol Buffers, the messages of ABCI 2.0, envelopes. No I/O."""
