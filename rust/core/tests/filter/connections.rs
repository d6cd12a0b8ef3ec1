//! What this host begins, and what comes back.

use zosnet_core::filter::Verdict;
use zosnet_core::forward::DropReason;

use crate::packets::{ACK, FIN, RST, SYN, echo, ipv6, tcp, udp};
use crate::{ICMP, TCP, UDP, World, address, allow, here, refused, refused_and_told};

#[test]
fn answers_to_what_this_host_sent_come_in_and_nothing_beside_them() {
    let mut world = World::new();
    world.sends(TCP, &tcp(4000, 80, SYN));
    world.sends(UDP, &udp(5000, 53));
    world.sends(ICMP, &echo(128, 9));
    assert_eq!(world.gets(TCP, &tcp(80, 4000, SYN | ACK)), Verdict::Pass);
    assert_eq!(world.gets(UDP, &udp(53, 5000)), Verdict::Pass);
    assert_eq!(world.gets(ICMP, &echo(129, 9)), Verdict::Pass);
    assert_eq!(
        world.gets(TCP, &tcp(80, 4001, SYN | ACK)),
        refused(DropReason::RefusedStray)
    );
    assert_eq!(world.gets(UDP, &udp(54, 5000)), refused_and_told());
    assert_eq!(world.gets(ICMP, &echo(129, 8)), refused(DropReason::RefusedStray));
    let other = ipv6(&address(3, 1), &here(), UDP, &udp(53, 5000));
    assert_eq!(world.gets_as(&[3; 32], &other), refused_and_told());
}

#[test]
fn answering_a_ping_or_refusing_a_connection_opens_no_door() {
    let mut world = World::new();
    world.sends(ICMP, &echo(129, 9));
    world.sends(TCP, &tcp(22, 4000, RST | ACK));
    assert_eq!(world.gets(ICMP, &echo(129, 9)), refused(DropReason::RefusedStray));
    assert_eq!(world.gets(TCP, &tcp(4000, 22, SYN)), refused_and_told());
}

#[test]
fn agreeing_to_a_connection_whose_flow_is_forgotten_does_not_make_it_this_hosts_own() {
    let mut world = World::allowing(&[allow(None, Some(TCP), 22, 22, 0)]);
    assert_eq!(world.gets(TCP, &tcp(4000, 22, SYN)), Verdict::Pass);
    world.now += 241.0;
    world.sends(TCP, &tcp(22, 4000, SYN | ACK));
    assert_eq!(
        world.gets(TCP, &tcp(4000, 22, ACK)),
        Verdict::Pass,
        "the rule does"
    );
    world.filter.replace(false, &[]).unwrap();
    assert_eq!(
        world.gets(TCP, &tcp(4000, 22, ACK)),
        refused(DropReason::RefusedService)
    );
}

#[test]
fn a_request_for_a_connection_answers_only_one_that_is_being_opened() {
    let mut world = World::new();
    world.sends(TCP, &tcp(4000, 80, SYN));
    assert_eq!(
        world.gets(TCP, &tcp(80, 4000, SYN)),
        Verdict::Pass,
        "both ends open it at once"
    );
    world.sends(TCP, &tcp(4000, 80, SYN | ACK));
    assert_eq!(world.gets(TCP, &tcp(80, 4000, SYN)), Verdict::Pass, "sent again");
    world.sends(TCP, &tcp(4000, 80, ACK));
    assert_eq!(world.gets(TCP, &tcp(80, 4000, SYN)), refused_and_told());
    assert_eq!(world.gets(TCP, &tcp(80, 4000, ACK)), Verdict::Pass);
}

#[test]
fn tcp_is_remembered_for_as_long_as_its_state_deserves() {
    let cases: [(&[(bool, u8)], f64); 5] = [
        (&[(true, SYN)], 240.0),
        (&[(true, SYN), (false, SYN | ACK), (true, ACK)], 7440.0),
        (&[(true, SYN), (false, SYN | ACK), (false, FIN | ACK)], 7440.0),
        (
            &[
                (true, SYN),
                (false, SYN | ACK),
                (false, FIN | ACK),
                (true, FIN | ACK),
            ],
            120.0,
        ),
        (&[(true, SYN), (false, RST | ACK)], 10.0),
    ];
    for (packets, lifetime) in cases {
        for late in [0.0, 1.0] {
            let mut world = World::new();
            for (out, flags) in packets {
                match out {
                    true => world.sends(TCP, &tcp(4000, 80, *flags)),
                    false => assert_eq!(world.gets(TCP, &tcp(80, 4000, *flags)), Verdict::Pass),
                }
            }
            world.now += lifetime + late;
            let passes = world.gets(TCP, &tcp(80, 4000, ACK)) == Verdict::Pass;
            assert_eq!(passes, late == 0.0, "{packets:?} after {lifetime} s and {late} s");
        }
    }
}

#[test]
fn a_connection_may_begin_anew_under_the_same_ports() {
    let mut world = World::new();
    world.sends(TCP, &tcp(4000, 80, SYN));
    assert_eq!(world.gets(TCP, &tcp(80, 4000, RST | ACK)), Verdict::Pass);
    world.sends(TCP, &tcp(4000, 80, SYN));
    world.now += 100.0;
    assert_eq!(world.gets(TCP, &tcp(80, 4000, SYN | ACK)), Verdict::Pass);
}
