//! Two of our own.

use std::time::{Duration, Instant};

use super::peers::{Event, Node, connect, data, hello, number, pair, v4, v6};
use crate::quic::queue::DATA_LIMIT;

#[test]
fn control_and_data_pass_both_ways_over_ipv4() {
    let (a, ours, b, theirs) = pair(v4());
    let up = a.log.up();
    assert_eq!((up.token, up.proto, up.remote), (Some(1), "quic", b.listening()));
    assert!(b.log.up().remote.is_ipv4() && b.log.up().token.is_none());
    assert_eq!((up.local, b.log.up().local), (b.log.up().remote, b.listening()));

    a.sink.push(ours, [data(1, 100), data(2, 1000)].concat());
    assert_eq!(
        b.log.packets(theirs, 3).split_off(1),
        [data(1, 100), data(2, 1000)]
    );
    b.sink.push_control(theirs, [hello(), hello()].concat());
    b.sink.push(theirs, data(3, 10));
    let mut back = a.log.packets(ours, 3);
    back.sort();
    assert_eq!(back, [data(3, 10), hello(), hello()]);

    let info = b.sink.links().remove(0);
    assert_eq!(
        (info.rx_packets, info.tx_packets, info.dropped, info.queued_bytes),
        (3, 3, 0, 0)
    );
    assert_eq!(
        info.rx_bytes,
        (hello().len() + data(1, 100).len() + data(2, 1000).len()) as u64
    );
    assert!(info.rtt.unwrap() < 0.5);
}

#[test]
fn control_and_data_pass_over_ipv6() {
    let (a, ours, b, theirs) = pair(v6());
    a.sink.push(ours, data(1, 100));
    b.log.packets(theirs, 2);
    assert!(b.log.up().remote.is_ipv6());
}

#[test]
fn one_dual_stack_socket_serves_and_dials_both_families() {
    let b = Node::new(&["[::]:0".parse().unwrap()]);
    let port = b.listening().port();
    let four = Node::new(&[v4()]);
    connect(&four, &b, format!("127.0.0.1:{port}").parse().unwrap());
    let remote = b.log.up().remote;
    assert!(
        remote.is_ipv4(),
        "{remote} should not be written as a mapped address"
    );
    b.sink.dial(9, four.listening(), 5.0);
    b.log.wait(|events| {
        events
            .iter()
            .any(|e| matches!(e, Event::Up(up) if up.token == Some(9)))
            .then_some(())
    });
}

#[test]
fn packets_beyond_a_datagram_go_on_the_stream() {
    let (a, ours, b, theirs) = pair(v4());
    let sizes = [20, 1400, 60_000, 65_535, 1300, 30];
    let batch: Vec<u8> = sizes
        .iter()
        .zip(0..)
        .flat_map(|(size, n)| data(n, *size))
        .collect();
    a.sink.push(ours, batch);
    let mut got = b.log.packets(theirs, 1 + sizes.len()).split_off(1);
    got.sort_by_key(|packet| number(packet));
    let wanted: Vec<_> = sizes.iter().zip(0..).map(|(size, n)| data(n, *size)).collect();
    assert_eq!(got, wanted);
    assert!(a.counter("quic.data_on_stream") >= 2);
    assert_eq!(a.counter("drop.quic_queue"), 0);
}

#[test]
fn a_flood_stays_within_the_queue() {
    let (a, ours, b, theirs) = pair(v4());
    let mut most = 0;
    for n in 0..10_000 {
        a.sink.push(ours, data(n, 1200));
        most = most.max(a.sink.queued(ours));
    }
    assert!(most <= DATA_LIMIT + (128 << 10), "{most} bytes were queued");
    a.sink.push_control(ours, hello());
    let deadline = Instant::now() + Duration::from_secs(5);
    while b
        .log
        .now(theirs)
        .iter()
        .filter(|packet| **packet == hello())
        .count()
        < 2
    {
        assert!(Instant::now() < deadline, "control packets get through");
        std::thread::sleep(Duration::from_millis(5));
    }
    let start = Instant::now();
    while a.sink.queued(ours) > 0 && start.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let (dropped, sent) = (a.sink.links()[0].dropped, a.sink.links()[0].tx_packets);
    assert_eq!(dropped + sent, 10_002);
    assert!(b.log.now(theirs).len() > 500);
}

#[test]
fn a_paused_link_keeps_its_control_packets() {
    let (a, ours, b, theirs) = pair(v4());
    b.sink.pause(theirs, true);
    std::thread::sleep(Duration::from_millis(50));
    a.sink.push_control(ours, hello().repeat(1000));
    a.sink.push(ours, data(1, 100));
    // The datagram arrives, the stream waits.
    assert_eq!(b.log.packets(theirs, 2).len(), 2);
    b.sink.pause(theirs, false);
    b.log.packets(theirs, 1002);
}

#[test]
fn a_crowd_waits_outside_until_there_is_room() {
    let (a, b) = (Node::new(&[]), Node::new(&[v4()]));
    b.log.crowded.store(true, std::sync::atomic::Ordering::Relaxed);
    a.sink.dial(1, b.listening(), 10.0);
    std::thread::sleep(Duration::from_millis(300));
    assert!(b.counter("quic.refused") > 0);
    assert!(b.sink.links().is_empty());
    b.log.crowded.store(false, std::sync::atomic::Ordering::Relaxed);
    a.log.up();
}

#[test]
fn a_peer_that_reads_no_control_packets_loses_its_link() {
    let (a, ours, b, theirs) = pair(v4());
    b.sink.pause(theirs, true);
    let (dump, mut most) = (hello().repeat(8 << 10), 0);
    for _ in 0..200 {
        a.sink.push_control(ours, dump.clone());
        most = most.max(a.sink.queued(ours));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(most < 16 << 20, "{most} bytes wait");
    assert_eq!(a.log.down(ours), "the peer takes no control packets");
}

#[test]
fn closing_says_good_bye_to_both_sides() {
    let (a, ours, b, theirs) = pair(v4());
    a.sink.push_control(ours, hello());
    a.sink.close(ours);
    assert_eq!(a.log.down(ours), "closed by this node");
    b.log.down(theirs);
    assert_eq!(b.log.now(theirs).len(), 2, "what was sent before the end arrives");
    assert!(a.sink.links().is_empty() && b.sink.links().is_empty());
}

#[test]
fn shutting_down_is_quick_and_final() {
    let (a, ours, b, theirs) = pair(v4());
    a.sink.push_control(ours, hello());
    let start = Instant::now();
    a.sink.shutdown(0.5);
    assert!(
        start.elapsed() < Duration::from_millis(600),
        "{:?}",
        start.elapsed()
    );
    a.log.down(ours);
    b.log.down(theirs);
    assert_eq!(b.log.now(theirs).len(), 2);
    a.sink.shutdown(0.5);
    a.sink.dial(5, b.listening(), 1.0);
    a.log
        .wait(|events| events.contains(&Event::DialFailed(5, 0)).then_some(()));
}

#[test]
fn a_dial_without_an_answer_fails_in_time() {
    let nobody = std::net::UdpSocket::bind(v4()).unwrap();
    let a = Node::new(&[]);
    let start = Instant::now();
    a.sink.dial(3, nobody.local_addr().unwrap(), 0.3);
    a.log.wait(|events| {
        events
            .contains(&Event::DialFailed(3, libc::ETIMEDOUT))
            .then_some(())
    });
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_taken_port_is_an_error() {
    let b = Node::new(&[v4()]);
    let config = crate::handoff::RemoteConfig {
        listen: vec![b.listening()],
        firewall_mark: 0,
        router_id_text: "x".to_owned(),
        reset_seed: [0; 32],
    };
    let error = crate::quic::start(config, b.log.clone()).err().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
}

#[test]
fn a_restarted_peer_replaces_its_old_link() {
    let (a, b) = (Node::new(&[v4()]), Node::new(&[v4()]));
    let (_, theirs) = connect(&a, &b, b.listening());
    a.sink.dial(2, b.listening(), 5.0);
    let second = a.log.wait(|events| {
        events.iter().find_map(|event| match event {
            Event::Up(up) if up.token == Some(2) => Some(up.link),
            _ => None,
        })
    });
    a.sink.push_control(second, hello());
    assert_eq!(b.log.down(theirs), "replaced by a new connection of the peer");
}
