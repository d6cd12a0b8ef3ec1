//! What is told of refusals.

use crate::packets::{SYN, ipv6, tcp, udp};
use crate::{KEY, TCP, UDP, World, address, here, there};

#[test]
fn refusals_say_who_wanted_what_and_how_often() {
    let mut world = World::new();
    for _ in 0..3 {
        world.now += 1.0;
        let _ = world.gets(TCP, &tcp(4000, 22, SYN));
    }
    world.now += 1.0;
    let _ = world.gets(UDP, &udp(4000, 53));
    let latest = world.filter.refusals(10);
    assert_eq!(latest.len(), 2);
    assert_eq!((latest[0].protocol, latest[0].port), (UDP, 53));
    let ssh = &latest[1];
    assert_eq!(
        (ssh.key, ssh.source, ssh.protocol, ssh.port),
        (KEY, there(), TCP, 22)
    );
    assert_eq!((ssh.count, ssh.first, ssh.last), (3, 1001.0, 1003.0));
    assert_eq!(world.filter.refusals(1).len(), 1);
}

#[test]
fn one_that_tries_all_ports_hides_no_other() {
    let mut world = World::new();
    let _ = world.gets(TCP, &tcp(4000, 22, SYN));
    for port in 0..5000 {
        world.now += 1.0;
        let scan = ipv6(&address(3, 1), &here(), TCP, &tcp(4000, port, SYN));
        let _ = world.gets_as(&[3; 32], &scan);
    }
    let latest = world.filter.refusals(1000);
    assert_eq!(latest.len(), 17);
    assert!(latest.iter().any(|refusal| refusal.key == KEY));
    assert_eq!(latest[0].port, 4999);
    for key in 0..=255 {
        let scan = ipv6(&address(key, 1), &here(), TCP, &tcp(4000, 1, SYN));
        let _ = world.gets_as(&[key; 32], &scan);
        let _ = world.gets_as(&[key; 32], &ipv6(&address(key, 1), &here(), UDP, &udp(1, 1)));
    }
    assert_eq!(world.filter.refusals(1000).len(), 256);
}
