//! What cannot be: nobody there, impossible keys, no randomness.

use zosnet_core::session::INITIATION;

use crate::exchange_within;
use crate::world::{self, Told, World, config};

#[test]
fn nobody_there_is_told_soon_and_asked_again_later() {
    let mut world = World::pair(1);
    world.path.drops = Some(|_| true);
    world.offer(0, 1);
    world.run(0.26);
    assert_eq!(world.told(0, Told::Unanswered), 1);
    world.start(0, 1, 0.1);
    world.run(100.0);
    let at = |what: Told| -> Vec<f64> {
        let all = world.nodes[0].told.iter().filter(|(_, told)| *told == what);
        all.map(|(at, _)| at - 1000.0).collect()
    };
    assert!((at(Told::Unanswered)[0] - 0.25).abs() < 0.01);
    let (failed, sent) = (at(Told::Failed), at(Told::Sent(INITIATION)));
    assert!((20.0..26.0).contains(&failed[0]), "{failed:?}");
    for end in &failed {
        assert!(
            !sent.iter().any(|sent| *sent > *end && *sent < end + 5.0),
            "{failed:?} {sent:?}"
        );
    }
    assert!(sent.len() < 45 && failed.len() >= 3, "{}", sent.len());
    assert_eq!(
        world.nodes[0].keeper.sizes()[1],
        1,
        "one index for the attempt under way"
    );
    world.stop_traffic();
    world.run(60.0);
    assert_eq!(world.nodes[0].keeper.sizes()[1], 0);
    assert!(world.nodes[0].keeper.deadline().is_none());
}

#[test]
fn a_peer_that_is_gone_while_we_send_is_asked_with_pauses() {
    let mut world = World::running(1);
    world.path.drops = Some(|flight| flight.is_of(1));
    world.start(0, 1, 0.1);
    world.run(170.0);
    let asked = world.told(0, Told::Sent(INITIATION));
    assert!((20..70).contains(&asked), "{asked}");
    world.path.drops = None;
    world.stop_traffic();
    exchange_within(&mut world, 6.0);
}

#[test]
fn impossible_keys_fail_at_once() {
    let mut world = World::pair(1);
    let own = world.key(0);
    for key in [own, [0; 32], {
        let mut one = [0; 32];
        one[0] = 1;
        one
    }] {
        let before = world.told(0, Told::Failed);
        world.nodes[0].keeper.want(&key, 1000.0);
        world.act(0);
        assert_eq!(world.told(0, Told::Failed), before + 1);
    }
    assert_eq!(world.nodes[0].keeper.sizes()[1], 0);
    assert_eq!(world.told(0, Told::Sent(INITIATION)), 0);
}

#[test]
fn without_randomness_nothing_is_made() {
    let mut keeper = zosnet_core::session::Keeper::new(
        config(0),
        Box::new(|_| Err(zosnet_core::suite::SuiteError::Random)),
    );
    keeper.want(&world::public_of(1), 1.0);
    assert!(matches!(
        keeper.poll(),
        Some(zosnet_core::session::Action::Failed { .. })
    ));
    assert!(keeper.poll().is_none() && keeper.sizes()[1] == 0);
}
