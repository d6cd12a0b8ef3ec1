//! A middleman who may do anything with everything that he ever saw.

use crate::world::{Flight, World, end_of};
use proptest::prelude::*;

/// What the middleman does with something that he holds, or has ever seen.
#[derive(Debug, Clone)]
enum Deed {
    Pass(u16),
    Drop(u16),
    Replay(u16, bool),
    Alter(u16, u16, u8),
    Cut(u16, u16),
    Reflect(u16),
    Splice(u16, u16, u16),
    Hint(bool),
    Wait(u16),
    Offer(bool),
    Restart(bool, bool),
    Plain(bool),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let any16 = any::<u16>;
    let deed = prop_oneof![
        8 => any16().prop_map(Deed::Pass),
        2 => any16().prop_map(Deed::Drop),
        3 => (any16(), any::<bool>()).prop_map(|(which, other)| Deed::Replay(which, other)),
        2 => (any16(), any16(), 1u8..).prop_map(|(which, at, bits)| Deed::Alter(which, at, bits)),
        1 => (any16(), any16()).prop_map(|(which, at)| Deed::Cut(which, at)),
        1 => any16().prop_map(Deed::Reflect),
        1 => (any16(), any16(), any16()).prop_map(|(one, other, at)| Deed::Splice(one, other, at)),
        1 => any::<bool>().prop_map(Deed::Hint),
        4 => (0u16..3000).prop_map(Deed::Wait),
        1 => (10_000u16..60_000).prop_map(Deed::Wait),
        5 => any::<bool>().prop_map(Deed::Offer),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(who, pins)| Deed::Restart(who, pins)),
        1 => any::<bool>().prop_map(Deed::Plain),
    ];
    proptest::collection::vec(deed, 10..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_middleman_gains_nothing_and_when_he_stops_both_ends_talk(seed in any::<u64>(), deeds in deeds()) {
        // That nothing opens twice, or altered, is asserted in the world, for every frame.
        let mut world = World::running(seed);
        world.record = true;
        world.path.hints = seed % 2 == 0;
        let mut held: Vec<Flight> = Vec::new();
        for deed in deeds {
            held.extend(world.take_flights());
            held.truncate(64);
            let tape = world.tape.len();
            let pick = |which: u16, of: usize| usize::from(which) % of.max(1);
            match deed {
                Deed::Pass(which) if !held.is_empty() => {
                    let flight = held.remove(pick(which, held.len()));
                    world.arrive(flight);
                }
                Deed::Drop(which) if !held.is_empty() => {
                    held.remove(pick(which, held.len()));
                }
                Deed::Replay(which, other) if tape > 0 => {
                    let mut flight = world.tape[pick(which, tape)].clone();
                    if other {
                        flight.from = end_of(9);
                    }
                    world.arrive(flight);
                }
                Deed::Alter(which, at, bits) if tape > 0 => {
                    let mut flight = world.tape[pick(which, tape)].clone();
                    let at = pick(at, flight.bytes.len());
                    flight.bytes[at] ^= bits;
                    world.arrive(flight);
                }
                Deed::Cut(which, at) if tape > 0 => {
                    let mut flight = world.tape[pick(which, tape)].clone();
                    flight.bytes.truncate(pick(at, flight.bytes.len()));
                    world.arrive(flight);
                }
                Deed::Reflect(which) if tape > 0 => {
                    let mut flight = world.tape[pick(which, tape)].clone();
                    std::mem::swap(&mut flight.from, &mut flight.to);
                    world.arrive(flight);
                }
                Deed::Splice(one, other, at) if tape > 0 => {
                    let mut flight = world.tape[pick(one, tape)].clone();
                    let other = world.tape[pick(other, tape)].bytes.clone();
                    let at = pick(at, flight.bytes.len());
                    flight.bytes.truncate(at);
                    flight.bytes.extend(other.get(at..).unwrap_or_default());
                    world.arrive(flight);
                }
                Deed::Hint(who) => {
                    let node = usize::from(who);
                    if let Some(index) = world.current(node, 1 - node).map(|it| it.remote_index()) {
                        let bytes = zosnet_core::session::unknown_frame(index);
                        world.arrive(Flight { from: end_of(9), to: end_of(node), bytes });
                    }
                }
                Deed::Wait(milliseconds) => {
                    // He holds everything back meanwhile.
                    let until = world.now + f64::from(milliseconds) / 1000.0;
                    while let Some(at) = world.next_deadline().filter(|at| *at <= until) {
                        held.extend(world.take_flights());
                        world.run_while(at, |_| true);
                    }
                    held.extend(world.take_flights());
                    world.now = world.now.max(until);
                }
                Deed::Offer(who) => {
                    let node = usize::from(who);
                    world.offer(node, 1 - node);
                }
                Deed::Restart(who, pins) => world.restart(usize::from(who), pins),
                Deed::Plain(who) => {
                    // An old packet of Mycelium's suite; that one can be replayed, always.
                    let (node, now) = (usize::from(who), world.now);
                    let key = world.key(1 - node);
                    world.nodes[node].keeper.plain(&key, false, now);
                    world.act(node);
                }
                _ => {}
            }
            for node in 0..2 {
                prop_assert!(world.nodes[node].inbound.len() <= 9);
                prop_assert!(world.nodes[node].keeper.sizes()[1] <= 10);
            }
        }
        world.take_flights();
        let before = [world.got(0), world.got(1)];
        let stopped = world.now;
        world.start(0, 1, 0.1);
        world.start(1, 0, 0.1);
        world.run_while(stopped + 30.0, |world| world.got(0) <= before[0] || world.got(1) <= before[1]);
        let took = world.now - stopped;
        prop_assert!(took < 12.0, "{}", took);
        // And from then on all is well.
        world.run(8.0);
        let (sent, got) = (world.sent.len(), world.got(0) + world.got(1));
        world.run(10.0);
        world.stop_traffic();
        world.run(0.1);
        prop_assert!(world.got(0) + world.got(1) - got >= world.sent.len() - sent);
        prop_assert!(world.agree());
    }

    #[test]
    fn a_network_that_does_everything_opens_nothing_twice(seed in any::<u64>()) {
        let mut world = World::pair(seed);
        world.path.jitter = 0.3;
        (world.path.loss, world.path.twice) = (0.2, 0.2);
        (world.path.flips, world.path.cuts, world.path.replays) = (0.1, 0.05, 0.3);
        world.start(0, 1, 0.1);
        world.start(1, 0, 0.15);
        world.run(30.0);
        world.restart((seed % 2) as usize, true);
        world.run(30.0);
        let (sent, got) = (world.sent.len(), world.got(0) + world.got(1));
        prop_assert!(got * 3 > sent, "{} of {}", got, sent);
    }
}
