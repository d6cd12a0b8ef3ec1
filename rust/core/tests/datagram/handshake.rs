//! Who links with whom, and what is left of a handshake that leads nowhere.

use crate::world::{World, config, only};
use zosnet_core::datagram::{Action, Endpoint};

#[test]
fn a_link_comes_up_at_both_ends_within_two_round_trips() {
    for expected in [false, true] {
        let mut world = World::pair(1);
        let key = expected.then(|| world.key(1));
        let begun = world.now;
        world.dial(0, 1, key, 10.0);
        world.run(1.0);
        let ups: Vec<_> = (0..2)
            .flat_map(|node| {
                world.events(node, |action| match action {
                    Action::Up { peer, token, .. } => Some((*peer, *token)),
                    _ => None,
                })
            })
            .collect();
        assert_eq!(ups.len(), 2);
        assert_eq!(
            (ups[0].1, ups[1].1),
            ((world.key(1), Some(7)), (world.key(0), None))
        );
        assert!(ups.iter().all(|(at, _)| at - begun <= 0.0401), "{ups:?}");
        let (here, there) = (world.link(0), world.link(1));
        assert!((here.rtt - 0.020).abs() < 0.001 && (there.rtt - 0.020).abs() < 0.001);
        assert!(!here.stalled && !there.stalled);
    }
}

#[test]
fn handshakes_get_through_loss() {
    for seed in 0..20 {
        let mut world = World::pair(seed);
        (world.path.loss, world.path.jitter, world.path.twice) = (0.3, 0.05, 0.1);
        let key = (seed % 2 == 0).then(|| world.key(1));
        world.dial(0, 1, key, 20.0);
        world.run(20.0);
        assert!(
            world.is_up(0) && world.is_up(1),
            "seed {seed}: {:?}",
            world.failures(0)
        );
        assert_eq!(world.downs(0), vec![]);
    }
}

#[test]
fn another_key_than_the_named_one_fails_clearly_and_leaves_nothing() {
    let mut world = World::new(3, vec![config(0), config(1), config(2)]);
    let (begun, other) = (world.now, world.key(2));
    world.dial(0, 1, Some(other), 10.0);
    world.run(15.0);
    let failures = world.failures(0);
    assert_eq!(failures.len(), 1);
    let (at, (reason, refused)) = &failures[0];
    assert!(reason.contains("another key is there") && *refused, "{reason}");
    assert!(at - begun < 3.0, "{}", at - begun);
    assert!(!world.is_up(0) && !world.is_up(1));
    assert_eq!(world.nodes[1].endpoint.half_open(), 0);
    assert!(world.nodes[1].endpoint.counters().bad_mac > 0);
    assert_eq!(world.nodes[0].endpoint.deadline(), None);
}

#[test]
fn the_right_key_is_found_by_xx_when_only_that_gets_through() {
    let mut world = World::pair(4);
    world.path.cut = true;
    world.dial(0, 1, Some(world.key(1)), 10.0);
    world.run(0.6);
    world.path.cut = false;
    world.run(5.0);
    assert!(world.is_up(0) && world.is_up(1));
}

#[test]
fn a_key_that_is_not_allowed_gets_no_answer_and_leaves_no_state() {
    for named in [false, true] {
        let mut listening = config(1);
        listening.allowed = only(&[[9; 32]]);
        let mut world = World::new(5, vec![config(0), listening]);
        world.record = true;
        let key = named.then(|| world.key(1));
        world.dial(0, 1, key, 6.0);
        world.run(30.0);
        assert!(!world.is_up(0) && !world.is_up(1));
        assert_eq!(world.nodes[1].endpoint.half_open(), 0);
        assert_eq!(world.nodes[1].endpoint.deadline(), None);
        assert!(world.nodes[1].endpoint.counters().refused > 0);
        let told = world.events(1, |action| match action {
            Action::Refused { peer, .. } => Some(*peer),
            _ => None,
        });
        assert!(!told.is_empty() && told.iter().all(|(_, peer)| *peer == world.key(0)));
        assert!(told.len() <= 7, "told {} times", told.len());
        // After its key was shown, nothing came back; IK shows it at once.
        let shown = world
            .tape
            .iter()
            .position(|(_, flight)| flight.datagram[0] == 0x13 || (named && flight.datagram[2] == 1));
        let answers = world.tape[shown.unwrap()..]
            .iter()
            .filter(|(_, flight)| flight.from == world.nodes[1].address && flight.datagram[0] != 0x12);
        assert_eq!(answers.count(), 0);
        assert_eq!(world.failures(0).len(), 1);
    }
}

#[test]
fn the_dialler_has_a_list_of_its_own() {
    let mut dialling = config(0);
    dialling.allowed = only(&[[9; 32]]);
    let mut world = World::new(6, vec![dialling, config(1)]);
    world.dial(0, 1, None, 6.0);
    world.run(1.0);
    let failures = world.failures(0);
    assert!(failures[0].1.0.contains("isn't allowed here") && failures[0].1.1);
    world.run(30.0);
    assert_eq!(world.nodes[1].endpoint.half_open(), 0);
    assert!(!world.is_up(1));
}

#[test]
fn a_shorter_list_ends_links() {
    let mut world = World::pair(7);
    world.connect(0, 1);
    let now = world.now;
    world.nodes[1].endpoint.allow(only(&[[9; 32]]), now);
    world.drain(1);
    world.run(0.1);
    assert!(!world.is_up(0) && !world.is_up(1));
    assert!(world.downs(0)[0].1.contains("not allowed any more"));
}

#[test]
fn nobody_there_is_no_refusal() {
    let mut world = World::new(8, vec![config(0)]);
    world.nodes[0]
        .endpoint
        .dial(7, "192.0.2.1:9".parse().unwrap(), None, 4.0, 1000.0);
    world.drain(0);
    world.run(5.0);
    assert_eq!(world.failures(0), vec![(1004.0, ("no answer".into(), false))]);
    assert_eq!(world.nodes[0].endpoint.deadline(), None);
}

#[test]
fn a_node_does_not_link_with_itself() {
    let mut world = World::pair(9);
    world.dial(0, 0, None, 4.0);
    world.run(1.0);
    assert!(world.failures(0)[0].1.0.contains("itself"));
    assert!(!world.is_up(0));
}

#[test]
fn the_dialled_end_restarts_and_is_linked_anew_in_two_seconds() {
    let mut world = World::pair(10);
    world.connect(0, 1);
    world.run(1.0);
    world.start_traffic(0, 0.005, 200);
    world.run(1.0);
    world.restart(1, config(1));
    let restarted = world.now;
    world.run(3.0);
    let downs = world.downs(0);
    assert_eq!(downs.len(), 1, "{downs:?}");
    assert!(downs[0].0 - restarted < 2.0, "{}", downs[0].0 - restarted);
    assert!(world.is_up(0) && world.is_up(1));
    let tokens = world.events(0, |action| match action {
        Action::Up { token, .. } => Some(*token),
        _ => None,
    });
    assert_eq!(
        tokens.iter().map(|(_, token)| *token).collect::<Vec<_>>(),
        [Some(7), Some(7)]
    );
}

#[test]
fn the_dialling_end_restarts_and_its_old_link_ends_at_once() {
    let mut world = World::pair(11);
    world.connect(0, 1);
    world.run(1.0);
    world.restart(0, config(0));
    let restarted = world.now;
    world.dial(0, 1, None, 10.0);
    world.run(0.5);
    let downs = world.downs(1);
    assert_eq!(downs.len(), 1);
    assert!(downs[0].1.contains("restarted") && downs[0].0 - restarted < 0.05);
    assert!(world.is_up(0) && world.is_up(1));
}

#[test]
fn a_replayed_handshake_changes_nothing() {
    for named in [false, true] {
        let mut world = World::pair(12);
        world.record = true;
        let key = named.then(|| world.key(1));
        world.dial(0, 1, key, 10.0);
        world.run(1.0);
        let before = (world.link(0).link, world.link(1).link);
        let tape = std::mem::take(&mut world.tape);
        world.record = false;
        for (_, flight) in tape {
            world.deliver_at(world.now + 0.01, flight);
        }
        world.run(30.0);
        assert_eq!((world.link(0).link, world.link(1).link), before);
        assert_eq!(world.nodes[1].endpoint.half_open(), 0);
        assert_eq!((world.downs(0), world.downs(1)), (vec![], vec![]));
    }
}

#[test]
fn altered_handshakes_do_not_stop_the_right_one() {
    // Somebody on the way races every handshake message with an altered copy.
    for named in [false, true] {
        let mut world = World::pair(13);
        let (key, begun) = (named.then(|| world.key(1)), world.now);
        world.record = true;
        world.dial(0, 1, key, 10.0);
        let mut seen = 0;
        while world.now < begun + 5.0 && !(world.is_up(0) && world.is_up(1)) {
            while let Some((_, flight)) = world.tape.get(seen).cloned() {
                seen += 1;
                let mut forged = flight;
                if forged.datagram[0] < 0x15 {
                    let last = forged.datagram.len() - 40;
                    forged.datagram[last] ^= 1;
                    world.deliver_at(world.now + 0.001, forged);
                }
            }
            world.run(0.002);
        }
        assert!(world.is_up(0) && world.is_up(1));
        assert!(world.now - begun < 0.1, "{}", world.now - begun);
    }
}

#[test]
fn without_randomness_nothing_is_sent() {
    let mut world = World::pair(14);
    let broken = Box::new(|_: &mut [u8]| Err(zosnet_core::suite::SuiteError::Random));
    world.nodes[0].endpoint = Endpoint::new(config(0), broken);
    world.record = true;
    world.dial(0, 1, None, 3.0);
    world.run(4.0);
    assert_eq!(world.tape.len(), 0);
    assert!(world.nodes[0].endpoint.counters().no_random > 0);
    assert_eq!(world.failures(0).len(), 1);
}

#[test]
fn dials_that_cross_give_two_links_that_stay() {
    let mut world = World::pair(15);
    world.dial(0, 1, None, 10.0);
    world.dial(1, 0, None, 10.0);
    world.run(100.0);
    assert_eq!((world.links(0).len(), world.links(1).len()), (2, 2));
    assert_eq!((world.downs(0), world.downs(1)), (vec![], vec![]));
}

#[test]
fn an_ipv4_peer_on_a_socket_for_both_is_an_ipv4_peer() {
    let mut world = World::new(16, vec![config(0), config(1)]);
    world.dial(0, 1, None, 5.0);
    let mapped = "[::ffff:10.0.0.1]:9652".parse().unwrap();
    let mut initiation = world.flights.pop_first().unwrap().1.datagram;
    let now = world.now;
    world.nodes[1].endpoint.receive(&mut initiation, mapped, now);
    world.drain(1);
    world.run(1.0);
    assert_eq!(world.link(1).remote, "10.0.0.1:9652".parse().unwrap());
}
