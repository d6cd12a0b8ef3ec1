//! Peers that fall silent.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::peers::{Event, Node, Relay, connect, data, v4};

#[test]
fn a_silent_peer_stalls_the_link_and_its_return_resumes_it() {
    let (a, b) = (Node::new(&[]), Node::new(&[v4()]));
    let relay = Relay::new(b.listening());
    let (ours, theirs) = connect(&a, &b, relay.address);
    sleep(Duration::from_millis(300));
    relay.cut(true);
    let start = Instant::now();
    a.sink.push(ours, data(1, 500));
    a.log.stalled(ours, true);
    let silence = start.elapsed();
    assert!(
        silence >= Duration::from_millis(100) && silence < Duration::from_millis(700),
        "{silence:?}"
    );
    assert!(a.sink.links()[0].stalled);

    sleep(Duration::from_secs(1));
    relay.cut(false);
    let start = Instant::now();
    a.log.stalled(ours, false);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert!(!a.sink.links()[0].stalled);
    a.sink.push(ours, data(2, 500));
    // What a datagram lost stays lost; the link goes on.
    assert_eq!(b.log.packets(theirs, 2)[1], data(2, 500));
}

#[test]
fn an_idle_link_never_stalls() {
    let (a, b) = (Node::new(&[]), Node::new(&[v4()]));
    let relay = Relay::new(b.listening());
    connect(&a, &b, relay.address);
    sleep(Duration::from_millis(500));
    relay.cut(true);
    let stalled = a.log.try_wait(Duration::from_secs(1), |events| {
        events
            .iter()
            .any(|event| matches!(event, Event::Stalled(..)))
            .then_some(())
    });
    assert_eq!(stalled, None);
}

#[test]
fn the_successor_of_a_killed_node_tells_its_peers() {
    let (a, b, successor) = (Node::new(&[]), Node::new(&[v4()]), Node::new(&[v4()]));
    let relay = Relay::new(b.listening());
    let (ours, _) = connect(&a, &b, relay.address);
    relay.move_to(successor.listening());
    a.sink.push(ours, data(1, 500));
    assert_eq!(a.log.down(ours), "the peer has restarted");
}
