//! Sessions between keepers in memory: what two honest nodes get from any network, and by when.
#![allow(clippy::unwrap_used)]

mod handshake;
mod keys;
mod pins;
mod recovery;
mod unanswered;
#[path = "../common/sessions/mod.rs"]
mod world;

use world::World;

/// Both ends exchange packets within so many seconds.
fn exchange_within(world: &mut World, seconds: f64) {
    let before = [world.got(0), world.got(1)];
    world.start(0, 1, 0.1);
    world.start(1, 0, 0.1);
    let until = world.now + seconds;
    world.run_while(until, |world| {
        world.got(0) <= before[0] || world.got(1) <= before[1]
    });
    world.stop_traffic();
    let after = [world.got(0), world.got(1)];
    assert!(
        after[0] > before[0] && after[1] > before[1],
        "{before:?} {after:?}"
    );
}

/// When the first packet that was offered since came to `node`.
fn first_after(world: &World, node: usize, since: f64) -> f64 {
    let fresh = |(_, number, _): &&(f64, u64, u32)| world.sent.get(number).is_some_and(|at| *at >= since);
    world.nodes[node]
        .got
        .iter()
        .find(fresh)
        .map_or(f64::INFINITY, |(at, ..)| at - since)
}
