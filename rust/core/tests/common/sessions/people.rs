//! Keys, secrets and places of nodes and strangers.

use std::net::SocketAddr;

use zosnet_core::address_of;
use zosnet_core::session::{Config, From, Keeper};
use zosnet_core::suite::StaticKey;

use super::keepers::drain;

pub type Key = [u8; 32];

pub fn end_of(node: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, (node >> 8) as u8, node as u8], 9652))
}

pub fn secret_of(node: usize) -> Key {
    std::array::from_fn(|at| (node as u8).wrapping_mul(67).wrapping_add(at as u8 + 1))
}

pub fn public_of(node: usize) -> Key {
    StaticKey::from_secret(&secret_of(node)).unwrap().public()
}

pub fn config(node: usize) -> Config {
    Config::new(secret_of(node), address_of(&public_of(node)))
}

/// A node that answers so many handshakes a second.
pub fn answering(node: usize, rate: u32) -> Config {
    let mut config = config(node);
    config.limits.handshakes_per_second = rate;
    config
}

/// A node whose keys seal so many frames.
pub fn sealing(node: usize, frames: u64) -> Config {
    let mut config = config(node);
    config.limits.frames = frames;
    config
}

/// The secret of one of any number of strangers.
pub fn secret(number: usize) -> [u8; 32] {
    let mut secret = [0x77; 32];
    secret[..8].copy_from_slice(&(number as u64).to_be_bytes());
    secret
}

/// Where a stranger of this number is.
pub fn stranger(number: usize) -> From {
    From::Link(SocketAddr::from((
        [192, 0, 2, (number >> 8) as u8],
        number as u16,
    )))
}

/// What a keeper answers.
pub fn answers(keeper: &mut Keeper) -> Vec<Vec<u8>> {
    drain(keeper).0
}
