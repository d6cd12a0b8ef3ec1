//! Frames that are altered, sent again, sent back or held back.

use crate::world::{World, entry, seal};
use zosnet_core::session::{EntryKind, OpenError, TRANSPORT};

#[test]
fn every_recorded_frame_is_opened_once_whatever_is_done_to_copies() {
    let world = World::running(1);
    let (sender, receiver) = (
        world.current(0, 1).unwrap().clone(),
        world.current(1, 0).unwrap().clone(),
    );
    let frames: Vec<_> = (0u8..50)
        .map(|number| seal(&sender, 0, &entry(EntryKind::Message, &[number; 40])).unwrap())
        .collect();
    for frame in frames.iter().rev() {
        for at in 0..frame.len() {
            let mut altered = frame.clone();
            altered[at] ^= 0x80;
            assert!(receiver.open(&mut altered).is_err());
            assert!(receiver.open(&mut frame[..at].to_vec()).is_err());
        }
        assert!(receiver.open(&mut frame.clone()).is_ok());
        assert_eq!(receiver.open(&mut frame.clone()), Err(OpenError::Replayed));
        assert_eq!(
            sender.open(&mut frame.clone()),
            Err(OpenError::Forged),
            "reflected"
        );
        assert!(sender.reopen(&mut frame.clone()).is_ok() && receiver.reopen(&mut frame.clone()).is_err());
    }
    assert!(receiver.open(&mut [4, 0, 0, 0]).is_err());
}

#[test]
fn counters_far_ahead_move_nothing_unless_authentic() {
    let world = World::running(1);
    let (sender, receiver) = (
        world.current(0, 1).unwrap().clone(),
        world.current(1, 0).unwrap().clone(),
    );
    let frame = seal(&sender, 0, &[0; 4]).unwrap();
    let mut ahead = frame.clone();
    ahead[8..16].copy_from_slice(&[0, 255, 255, 255, 255, 255, 255, 255]);
    assert_eq!(receiver.open(&mut ahead), Err(OpenError::Forged));
    let mut lane = frame.clone();
    lane[8] = 200;
    assert_eq!(receiver.open(&mut lane), Err(OpenError::Forged));
    assert!(receiver.open(&mut frame.clone()).is_ok());
}

#[test]
fn an_old_first_frame_that_was_held_back_brings_nothing_back() {
    let mut world = World::pair(1);
    world.path.hints = false;
    world.record = true;
    world.path.drops = Some(|flight| flight.kind() == TRANSPORT);
    world.offer(0, 1);
    world.run(1.0);
    let held = world
        .tape
        .iter()
        .find(|flight| flight.kind() == TRANSPORT)
        .unwrap()
        .clone();
    world.path.drops = None;
    let (key, now) = (world.key(1), world.now);
    world.nodes[0].keeper.renew(&key, now);
    world.act(0);
    world.run(1.0);
    assert!(world.agree());
    let current = world.current(1, 0).unwrap().local_index();
    world.arrive(held);
    world.run(0.1);
    assert!(world.agree());
    assert_eq!(world.current(1, 0).unwrap().local_index(), current);
}
