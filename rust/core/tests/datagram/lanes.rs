//! What lanes do with a link's keys.

use crate::world::World;
use zosnet_core::datagram::{OpenError, RELAY_OVERHEAD, WrapError};

#[test]
fn relayed_packets_are_verified_once_and_only_whole() {
    let mut world = World::pair(1);
    let (here, there) = world.connect(0, 1);
    let (sender, receiver) = (
        world.nodes[0].keys[&here].clone(),
        world.nodes[1].keys[&there].clone(),
    );
    let mut buf = vec![7; 100 + RELAY_OVERHEAD];
    sender.wrap(0, 63, &[4; 16], &[5; 16], &mut buf).unwrap();
    assert_eq!(receiver.local_index(), sender.remote_index());
    for at in 0..48 {
        let mut altered = buf.clone();
        altered[at] ^= 1;
        let refused = receiver.unwrap(&altered);
        assert!(refused.is_err(), "byte {at}");
    }
    let relayed = receiver.unwrap(&buf).unwrap();
    assert_eq!(
        (relayed.hop_limit, relayed.src, relayed.dst),
        (63, [4; 16], [5; 16])
    );
    assert_eq!(&buf[relayed.payload], &[7; 100]);
    assert_eq!(receiver.unwrap(&buf), Err(OpenError::Replayed));
    assert_eq!(sender.unwrap(&buf), Err(OpenError::NotOurs));
    assert_eq!(receiver.unwrap(&buf[..55]), Err(OpenError::NotOurs));
    assert_eq!(
        sender.wrap(1, 63, &[4; 16], &[5; 16], &mut buf),
        Err(WrapError::Lane)
    );
    assert_eq!(
        sender.wrap(0, 63, &[4; 16], &[5; 16], &mut buf[..50]),
        Err(WrapError::Short)
    );
    assert_eq!(receiver.refused().1, 1);
    assert!(receiver.refused().0 > 30);
}

#[test]
fn each_lane_has_its_own_window_and_any_thread_may_verify() {
    let configs = (0..2).map(|node| {
        let mut config = crate::world::config(node);
        (config.lanes, config.has_aes) = (4, node == 1);
        config
    });
    let mut world = World::new(2, configs.collect());
    let (here, there) = world.connect(0, 1);
    let (sender, receiver) = (
        world.nodes[0].keys[&here].clone(),
        world.nodes[1].keys[&there].clone(),
    );
    let mut packets = Vec::new();
    for _ in 0..2000 {
        for lane in 0..4 {
            let mut buf = vec![0; RELAY_OVERHEAD];
            sender.wrap(lane, 1, &[4; 16], &[5; 16], &mut buf).unwrap();
            packets.push(buf);
        }
    }
    // Twice, by two threads, from both ends.
    let opened: usize = std::thread::scope(|scope| {
        let forwards = scope.spawn(|| {
            packets
                .iter()
                .filter(|packet| receiver.unwrap(packet).is_ok())
                .count()
        });
        let backwards = scope.spawn(|| {
            packets
                .iter()
                .rev()
                .filter(|packet| receiver.unwrap(packet).is_ok())
                .count()
        });
        forwards.join().unwrap() + backwards.join().unwrap()
    });
    assert_eq!(opened, packets.len());
}
