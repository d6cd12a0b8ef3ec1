//! Silence, sleep, size and place: what a link finds out about its path.

use crate::network::Flight;
use crate::world::{World, address, config};
use std::net::SocketAddr;
use zosnet_core::datagram::Action;

#[test]
fn a_silent_cut_is_a_stall_in_time_and_so_is_its_end() {
    for (delay, bound) in [(0.001, 0.17), (0.010, 0.2), (0.05, 0.5)] {
        let mut world = World::pair(1);
        world.path.delay = delay;
        world.connect(0, 1);
        world.run(2.0);
        world.start_traffic(0, 0.002, 500);
        world.run(2.0);
        assert_eq!((world.stalls(0), world.stalls(1)), (vec![], vec![]));
        world.path.cut = true;
        let cut = world.now;
        world.run(5.0);
        // The other end only receives, and its answers would go into the silence.
        for side in [0, 1] {
            let stalls = world.stalls(side);
            assert!(stalls.len() == 1 && stalls[0].1, "{side}: {stalls:?}");
            let took = stalls[0].0 - cut;
            assert!(took >= 0.09 && took <= bound, "{side}, {delay}: {took}");
        }
        world.path.cut = false;
        let healed = world.now;
        world.run(2.0);
        for side in [0, 1] {
            let stalls = world.stalls(side);
            assert!(stalls.len() == 2 && !stalls[1].1, "{side}: {stalls:?}");
            let took = stalls[1].0 - healed;
            assert!(took < 0.3 + 2.0 * delay, "{side}, {delay}: {took}");
            let link = world.link(side);
            let lost = link.loss_out.max(link.loss_in);
            assert!(lost < 0.001, "{side}, {delay}: an outage is no loss, but {lost}");
        }
        assert_eq!((world.downs(0), world.downs(1)), (vec![], vec![]));
        assert_eq!((world.links(0).len(), world.links(1).len()), (1, 1));
    }
}

#[test]
fn a_host_that_stood_still_for_a_moment_leaves_no_patience_behind() {
    for frozen in [0.4, 0.9, 1.8] {
        for then in [0.05, 0.3, 1.0] {
            let mut world = World::pair(1);
            world.path.delay = 0.001;
            world.connect(0, 1);
            world.start_traffic(0, 0.002, 500);
            world.run(4.0);
            world.nodes[1].asleep = true;
            world.run(frozen);
            world.nodes[1].asleep = false;
            world.run(then);
            world.path.cut = true;
            let cut = world.now;
            world.run(1.0);
            for side in [0, 1] {
                let stall = world.stalls(side).into_iter().rfind(|(_, stalled)| *stalled);
                let took = stall.map(|(at, _)| at - cut);
                assert!(
                    world.link(side).stalled && took.is_some_and(|took| took <= 0.5),
                    "{side}, {frozen}, {then}: {took:?}"
                );
            }
        }
    }
}

#[test]
fn loss_alone_is_no_stall() {
    let mut world = World::pair(2);
    world.path.loss = 0.02;
    world.connect(0, 1);
    world.start_traffic(0, 0.005, 500);
    world.run(300.0);
    let stalls = world.stalls(0).len();
    assert!(stalls == 0, "{stalls} stalls");
    let link = world.link(0);
    assert!((0.01..0.035).contains(&link.loss_out), "{}", link.loss_out);
    let link = world.link(1);
    assert!((0.01..0.035).contains(&link.loss_in), "{}", link.loss_in);
}

#[test]
fn a_quiet_link_stays_with_a_few_datagrams_a_minute() {
    let mut world = World::pair(3);
    world.connect(0, 1);
    world.run(30.0);
    world.record = true;
    world.run(600.0);
    assert!(world.is_up(0) && world.is_up(1));
    let sent = world.tape.len();
    assert!((30..150).contains(&sent), "{sent}");
    let times: Vec<f64> = world.tape.iter().map(|(at, _)| *at).collect();
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] < 20.1));
    assert_eq!(world.stalls(0), vec![]);
}

#[test]
fn a_dead_peer_is_given_up_after_a_minute() {
    let mut world = World::pair(4);
    world.connect(0, 1);
    world.run(10.0);
    world.path.cut = true;
    let cut = world.now;
    world.run(100.0);
    for node in 0..2 {
        let downs = world.downs(node);
        assert_eq!(downs.len(), 1, "{downs:?}");
        let took = downs[0].0 - cut;
        assert!((40.0..85.0).contains(&took), "{took}");
        assert_eq!(
            world.nodes[node].endpoint.deadline().map(|at| at > world.now),
            None
        );
    }
}

#[test]
fn a_host_that_slept_is_back_in_two_seconds() {
    // Asleep shorter and longer than its peer waits; its clock went on, or stood still and a packet wakes it.
    for slept in [40.0, 600.0] {
        for went_on in [false, true] {
            let mut world = World::pair(5);
            world.connect(0, 1);
            world.run(5.0);
            world.nodes[0].asleep = true;
            world.run(slept);
            world.nodes[0].asleep = false;
            let woken = world.now;
            if went_on {
                world.nodes[0].endpoint.wake(woken);
                world.drain(0);
            } else {
                world.nodes[0].offset = -slept;
                world.start_traffic(0, 0.01, 100);
            }
            world.run(2.0);
            assert!(
                !world.link(0).stalled,
                "slept {slept}, {went_on}: {:?}",
                world.link(0)
            );
            assert!(world.links(1).iter().any(|link| !link.stalled));
            world.start_traffic(0, 0.01, 100);
            world.nodes[1].relayed.clear();
            world.run(1.0);
            assert!(
                world.nodes[1].relayed.len() > 90,
                "{}",
                world.nodes[1].relayed.len()
            );
        }
    }
}

#[test]
fn the_largest_datagram_is_found() {
    for (mtu, max, loss) in [
        (1500, 1500, 0.0),
        (1500, 1500, 0.1),
        (1492, 1500, 0.0),
        (1400, 1500, 0.05),
        (1280, 1500, 0.0),
        (9000, 9000, 0.0),
        (1500, 9000, 0.0),
    ] {
        for v6 in [false, true] {
            let configs = (0..2).map(|node| {
                let mut config = config(node);
                config.max_packet = max;
                config
            });
            let mut world = World::new(6, configs.collect());
            if v6 {
                world.nodes[1].address = "[2001:db8::1]:9652".parse().unwrap();
                world.nodes[0].address = "[2001:db8::2]:9652".parse().unwrap();
            }
            (world.path.mtu, world.path.loss) = (mtu, loss);
            world.connect(0, 1);
            world.run(20.0);
            let headers = if v6 { 48 } else { 28 };
            let best = mtu.min(usize::from(max)) - headers;
            let found = world.link(0).max_datagram as usize;
            assert!(
                found <= best && found + 4 > best,
                "{mtu} {max} {loss} {v6}: {found} of {best}"
            );
        }
    }
}

#[test]
fn a_black_hole_is_found_while_data_flows_and_so_is_its_end() {
    let mut world = World::pair(7);
    world.connect(0, 1);
    world.run(2.0);
    assert_eq!(world.link(0).max_datagram, 1472);
    world.start_traffic(0, 0.01, 300);
    world.run(1.0);
    world.path.mtu = 1400;
    let shrunk = world.now;
    world.run(5.0);
    let sizes = world.events(0, |action| match action {
        Action::Mtu { max_datagram, .. } => Some(*max_datagram),
        _ => None,
    });
    let first = sizes.iter().find(|(at, _)| *at > shrunk).unwrap();
    assert!(first.1 == 1252 && first.0 - shrunk < 2.0, "{sizes:?}");
    let found = world.link(0).max_datagram;
    assert!((1369..=1372).contains(&found), "{found}");
    assert_eq!(world.nodes[0].endpoint.counters().black_holes, 1);
    world.path.mtu = 1500;
    world.run(700.0);
    assert_eq!(world.link(0).max_datagram, 1472);
}

#[test]
fn a_stall_is_no_black_hole() {
    let mut world = World::pair(8);
    world.connect(0, 1);
    world.run(2.0);
    world.start_traffic(0, 0.01, 300);
    for _ in 0..10 {
        world.run(1.0);
        world.path.cut = true;
        world.run(1.0);
        world.path.cut = false;
    }
    world.run(2.0);
    assert_eq!(world.nodes[0].endpoint.counters().black_holes, 0);
    assert_eq!(world.link(0).max_datagram, 1472);
}

#[test]
fn what_the_socket_refuses_is_not_waited_for() {
    let mut configured = config(0);
    configured.max_packet = 9000;
    let mut world = World::new(9, vec![configured, config(1)]);
    world.connect(0, 1);
    let now = world.now;
    let (remote, before) = (world.nodes[1].address, world.link(0).max_datagram);
    world.nodes[0].endpoint.too_big(remote, 8972, now);
    world.drain(0);
    assert_eq!(world.link(0).max_datagram, before);
}

fn moves(world: &World, node: usize) -> Vec<(f64, SocketAddr)> {
    world.events(node, |action| match action {
        Action::Moved { remote, .. } => Some(*remote),
        _ => None,
    })
}

#[test]
fn a_peer_that_changes_its_address_is_followed_after_a_challenge() {
    for delay in [0.01, 0.2] {
        let mut world = World::pair(10);
        world.path.delay = delay;
        let (_, there) = world.connect(0, 1);
        world.run(2.0);
        world.start_traffic(0, 0.02, 200);
        world.start_traffic(1, 0.02, 200);
        world.run(1.0);
        world.nodes[0].address = address(77);
        let moved = world.now;
        world.run(3.0);
        let moves = moves(&world, 1);
        assert_eq!(moves.len(), 1, "{moves:?}");
        assert!(moves[0].1 == address(77) && moves[0].0 - moved < 0.4 + 4.0 * delay);
        assert_eq!(world.link(1).link, there);
        world.nodes[0].relayed.clear();
        world.run(1.0);
        assert!(world.nodes[0].relayed.len() > 20);
        assert!(!world.link(0).stalled && !world.link(1).stalled);
    }
}

#[test]
fn a_spoofed_source_moves_nothing() {
    let mut world = World::pair(11);
    world.connect(0, 1);
    world.run(2.0);
    world.start_traffic(0, 0.02, 200);
    world.record = true;
    // Somebody on the way sends every frame on from elsewhere, faster than it comes; the original is lost.
    let mut seen = 0;
    for _ in 0..500 {
        world.run(0.01);
        while let Some((_, flight)) = world.tape.get(seen).cloned() {
            seen += 1;
            if flight.from == address(0) && flight.datagram[0] == 0x15 {
                let spoofed = Flight {
                    from: address(66),
                    ..flight
                };
                world.deliver_at(world.now, spoofed);
            }
        }
    }
    assert_eq!(moves(&world, 1), vec![]);
    let counters = world.nodes[1].endpoint.counters();
    assert!(counters.challenges > 0 && counters.moves == 0);
    assert_eq!(world.link(1).remote, address(0));
    // What went to the false address was little.
    let there: usize = world
        .tape
        .iter()
        .filter(|(_, flight)| flight.to == address(66))
        .map(|(_, flight)| flight.datagram.len())
        .sum();
    assert!(there < 5000, "{there}");
}

#[test]
fn an_answer_that_sleep_swallowed_is_no_reason_to_give_up() {
    let mut world = World::pair(14);
    world.connect(0, 1);
    world.start_traffic(0, 0.01, 100);
    world.run(1.0);
    world.path.cut = true;
    world.run(0.06);
    world.nodes[0].asleep = true;
    world.path.cut = false;
    world.run(600.0);
    world.nodes[0].asleep = false;
    let now = world.now;
    world.nodes[0].endpoint.wake(now);
    world.drain(0);
    world.run(2.0);
    assert!(world.is_up(0) && world.is_up(1));
    let downs = world.downs(0);
    assert!(
        downs.iter().all(|(_, reason)| reason.contains("linked anew")),
        "{downs:?}"
    );
}

#[test]
fn a_link_that_the_peer_still_has_is_not_made_anew() {
    let mut world = World::pair(12);
    let ids = world.connect(0, 1);
    world.run(2.0);
    world.start_traffic(0, 0.02, 200);
    // Handshakes get through, what the link itself sends doesn't.
    world.path.drops = Some(|flight| flight.from == address(0) && flight.datagram[0] > 0x14);
    world.run(5.0);
    assert!(world.nodes[1].endpoint.counters().completed == 1);
    world.path.drops = None;
    world.run(1.0);
    assert_eq!((world.link(0).link, world.link(1).link), ids);
    assert!(!world.link(0).stalled);
}

#[test]
fn silence_says_nothing_about_sizes() {
    let mut world = World::pair(13);
    world.connect(0, 1);
    world.path.cut = true;
    world.run(0.9);
    world.path.cut = false;
    world.run(5.0);
    assert_eq!(
        (world.link(0).max_datagram, world.link(1).max_datagram),
        (1472, 1472)
    );
}
