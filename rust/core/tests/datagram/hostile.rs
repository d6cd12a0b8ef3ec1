//! What a network full of enemies does to a node: nothing but counters.

use crate::network::Flight;
use crate::world::{Numbers, World, address, config, pattern};
use proptest::prelude::*;
use zosnet_core::datagram::Status;

fn running() -> World {
    let mut world = World::pair(1);
    world.record = true;
    world.connect(0, 1);
    world.run(1.0);
    world
}

fn essence(status: &Status) -> (u64, std::net::SocketAddr, u32, bool, usize) {
    (
        status.link.0,
        status.remote,
        status.max_datagram,
        status.stalled,
        status.queued,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_bytes_change_nothing(
        datagrams in proptest::collection::vec((0x10u8..0x17, proptest::collection::vec(any::<u8>(), 0..300)), 0..50),
        whose in any::<bool>(),
    ) {
        let mut world = running();
        let before = essence(&world.link(1));
        let index = world.link(1).local_index.to_be_bytes();
        for (kind, mut bytes) in datagrams {
            if let Some(first) = bytes.first_mut() {
                *first = kind;
            }
            if whose && let Some(place) = bytes.get_mut(4..8) {
                place.copy_from_slice(&index);
            }
            let now = world.now;
            world.nodes[1].endpoint.receive(&mut bytes, address(9), now);
            world.drain(1);
        }
        prop_assert_eq!(essence(&world.link(1)), before);
        world.run(20.0);
        prop_assert_eq!(essence(&world.link(1)), before);
        prop_assert_eq!(world.nodes[1].endpoint.half_open(), 0);
    }

    #[test]
    fn recorded_datagrams_altered_cut_and_repeated_change_nothing(
        changes in proptest::collection::vec((any::<u16>(), any::<u16>(), any::<u8>(), any::<bool>()), 1..60),
    ) {
        let mut world = running();
        let before = (essence(&world.link(0)), essence(&world.link(1)));
        let tape = world.tape.clone();
        for (which, at, change, cut) in changes {
            let (_, mut flight) = tape[usize::from(which) % tape.len()].clone();
            let at = usize::from(at) % flight.datagram.len();
            flight.datagram[at] ^= change;
            if cut {
                flight.datagram.truncate(at);
            }
            world.deliver_at(world.now + 0.001, flight);
        }
        world.run(20.0);
        prop_assert_eq!((essence(&world.link(0)), essence(&world.link(1))), before);
        prop_assert!(world.downs(0).is_empty() && world.downs(1).is_empty());
    }
}

#[test]
fn a_flood_of_initiations_is_bounded_and_running_links_go_on() {
    let mut limited = config(1);
    limited.limits.half_open = 64;
    let mut world = World::new(2, vec![config(0), limited, config(2)]);
    world.connect(0, 1);
    world.run(1.0);
    world.start_traffic(0, 0.005, 300);
    // Whole initiations for the right key, each from its own source, none of which receives anything.
    let mut numbers = Numbers(9);
    let template = initiations(300);
    let begun = world.now;
    let mut sent = 0;
    for round in 0..200 {
        for datagram in &template {
            let mut flight = Flight {
                from: std::net::SocketAddr::from((
                    [
                        203,
                        (round % 250) as u8,
                        numbers.next() as u8,
                        numbers.next() as u8,
                    ],
                    5,
                )),
                to: address(1),
                datagram: datagram.clone(),
            };
            // The same initiation from another source is another one.
            flight.from.set_port(numbers.next() as u16 | 1);
            sent += 1;
            world.deliver_at(world.now + 0.0001, flight);
        }
        world.run(0.01);
        assert!(world.nodes[1].endpoint.half_open() <= 64);
    }
    let counters = world.nodes[1].endpoint.counters();
    assert_eq!(sent, 60_000);
    assert!(counters.cookies > 5_000, "{counters:?}");
    assert!(counters.cookies + counters.flooded > 59_000, "{counters:?}");
    assert_eq!((world.stalls(0), world.stalls(1)), (vec![], vec![]));
    assert_eq!(world.downs(1), vec![]);
    // While it lasts, one who receives its cookie gets through.
    world.dial(2, 1, None, 10.0);
    for _ in 0..100 {
        for datagram in &template {
            let from = std::net::SocketAddr::from(([198, 18, numbers.next() as u8, numbers.next() as u8], 7));
            let datagram = datagram.clone();
            world.deliver_at(
                world.now + 0.0001,
                Flight {
                    from,
                    to: address(1),
                    datagram,
                },
            );
        }
        world.run(0.01);
    }
    assert!(world.is_up(2), "{:?}", world.nodes[1].endpoint.counters());
    assert!(world.now - begun < 10.0);
    world.run(30.0);
    assert_eq!(world.nodes[1].endpoint.half_open(), 0);
}

#[test]
fn no_answer_is_longer_than_the_question() {
    let mut world = World::pair(3);
    world.record = true;
    world.dial(0, 1, None, 5.0);
    world.run(0.011);
    let asked = world.tape[0].1.datagram.len();
    let answered: usize = world
        .tape
        .iter()
        .filter(|(_, flight)| flight.from == address(1))
        .map(|(_, flight)| flight.datagram.len())
        .sum();
    assert!(answered > 0 && answered <= asked, "{answered} for {asked}");
    // Short questions get none.
    let mut short = world.tape[0].1.datagram.clone();
    short.truncate(150);
    world.tape.clear();
    let now = world.now;
    world.nodes[1].endpoint.receive(&mut short, address(5), now);
    world.drain(1);
    assert_eq!(world.tape.len(), 0);
}

/// Whole initiations, each under an index of its own.
fn initiations(count: u64) -> Vec<Vec<u8>> {
    let made = (0..count).map(|seed| {
        let mut other = World::new(1000 + seed, vec![config(3)]);
        other.record = true;
        other.nodes[0].endpoint.dial(1, address(1), None, 5.0, 0.0);
        other.drain(0);
        other.tape[0].1.datagram.clone()
    });
    made.collect()
}

#[test]
fn a_slow_flood_leaves_only_as_many_half_open_as_are_taken_on_trust() {
    let mut world = World::pair(4);
    for (number, datagram) in initiations(300).into_iter().enumerate() {
        let from = std::net::SocketAddr::from(([203, 0, 113, number as u8], 5));
        world.deliver_at(
            world.now,
            Flight {
                from,
                to: address(1),
                datagram,
            },
        );
        world.run(0.01);
    }
    let limit = config(1).limits.cookies_from;
    assert_eq!(world.nodes[1].endpoint.half_open(), limit);
    assert!(world.nodes[1].endpoint.counters().cookies > 200);
}

/// A frame inside a control datagram.
fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &(body.len() as u16).to_be_bytes(), body].concat()
}

#[test]
fn a_peer_that_lies_in_its_frames_harms_only_its_link() {
    let mut world = running();
    let (here, there) = (world.link(0).link, world.link(1).link);
    let sent = pattern(5000);
    world.push(1, there, &sent);
    let lie = |world: &mut World, plaintext: &[u8]| {
        let now = world.now;
        world.nodes[1]
            .endpoint
            .receive_plaintext(there, plaintext, address(0), now);
        world.drain(1);
    };
    // Bytes that were never sent are acknowledged.
    for next in [5001u64, 1 << 40, u64::MAX] {
        let ack = [&next.to_be_bytes()[..], &[0xff; 4], &[0xff; 16]].concat();
        lie(&mut world, &frame(4, &ack));
    }
    assert_eq!(world.nodes[1].endpoint.counters().bad_frame, 3);
    assert_eq!(world.link(1).queued, 5000);
    // Data lies beyond all windows, or comes in pieces of one byte with gaps between them.
    for offset in [300_000u64, 1 << 40, u64::MAX] {
        lie(
            &mut world,
            &frame(3, &[&offset.to_be_bytes()[..], b"xyz"].concat()),
        );
    }
    for piece in 0..5000u64 {
        lie(
            &mut world,
            &frame(3, &[&(2 * piece + 1).to_be_bytes()[..], b"x"].concat()),
        );
    }
    assert_eq!(world.nodes[1].control.get(&there), None);
    // What fills the gaps is taken up to the first piece that there was no room for.
    world.tape.clear();
    for piece in 0..5000u64 {
        lie(
            &mut world,
            &frame(3, &[&(2 * piece).to_be_bytes()[..], b"y"].concat()),
        );
    }
    assert_eq!(world.nodes[1].control[&there].len(), 2049);
    world.run(1.0);
    assert!(world.nodes[0].control[&here] == sent);
}

#[test]
fn a_finish_from_elsewhere_finishes_nothing() {
    let mut world = World::pair(5);
    world.record = true;
    world.path.drops = Some(|flight| flight.datagram[0] == 0x13);
    world.dial(0, 1, None, 5.0);
    world.run(0.1);
    let finish = world.tape.iter().find(|(_, flight)| flight.datagram[0] == 0x13);
    let mut flight = finish.unwrap().1.clone();
    flight.from = address(66);
    world.deliver_at(world.now, flight);
    world.run(0.1);
    assert!(!world.is_up(1));
    world.path.drops = None;
    world.run(1.0);
    assert!(world.is_up(0) && world.is_up(1));
}
