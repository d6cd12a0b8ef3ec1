//! What enemies can do to sessions: strangers, replayers, and a middleman who may do anything.
#![allow(clippy::unwrap_used)]

mod bounds;
mod frames;
mod hints;
mod initiations;
mod load;
mod middleman;
mod responses;
#[path = "../common/sessions/mod.rs"]
mod world;

use world::{Numbers, World, answers, public_of};
use zosnet_core::session::{Config, Keeper};

/// The first initiation of a node with this secret to node 0, whatever it says of its address.
fn initiation(secret: [u8; 32], seed: u64) -> Vec<u8> {
    let mut keeper = Keeper::new(Config::new(secret, [0; 16]), Numbers(seed).fill());
    keeper.want(&public_of(0), 1.0);
    answers(&mut keeper).remove(0)
}

#[derive(Debug, PartialEq)]
struct Essence(Option<(u32, u32)>, [usize; 3], usize);

fn essence(world: &World, node: usize) -> Essence {
    let current = world.current(node, 1 - node);
    let own = &world.nodes[node];
    Essence(
        current.map(|it| (it.local_index(), it.remote_index())),
        own.keeper.sizes(),
        own.inbound.len(),
    )
}
