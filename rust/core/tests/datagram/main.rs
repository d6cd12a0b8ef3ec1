//! `udp://` links between endpoints in memory, over a network that does everything to datagrams.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod chaos;
mod control;
mod handshake;
mod hostile;
mod lanes;
mod network;
#[path = "../common/numbers.rs"]
mod numbers;
mod path;
mod vectors;
mod world;
