//! Who is held to sessions; and whose pins find room, whatever strangers do.

use zosnet_core::address_of;
use zosnet_core::session::{Action, Config, INITIATION, Keeper, Limits};

use crate::world::{Numbers, Told, World, answers, secret, secret_of, stranger};

#[test]
fn pins_and_what_mycelium_s_suite_does_to_them() {
    let mut world = World::pair(1);
    let (key, other) = (world.key(1), [9; 32]);
    let keeper = &mut world.nodes[0].keeper;
    keeper.plain(&other, false, 1000.0);
    assert!(keeper.poll().is_none(), "who shows nothing is left alone");
    keeper.plain(&key, true, 1000.0);
    world.act(0);
    assert_eq!(
        (world.told(0, Told::Pinned), world.told(0, Told::Sent(INITIATION))),
        (1, 1)
    );
    for _ in 0..100 {
        let now = world.now;
        world.nodes[0].keeper.plain(&key, false, now);
        world.act(0);
        world.run(1.0);
    }
    assert_eq!(world.told(0, Told::Downgraded), 2, "once a minute");
    assert!(world.told(0, Told::Sent(INITIATION)) <= 101);
    assert!(world.agree());
    // The operator forgets the pin; a replay of an old packet doesn't bring it back, a handshake does.
    let now = world.now;
    world.nodes[0].keeper.unpin(&key);
    world.nodes[0].pins.clear();
    world.path.drops = Some(|_| true);
    world.nodes[0].keeper.plain(&key, true, now);
    world.act(0);
    assert_eq!(world.told(0, Told::Pinned), 1);
    world.path.drops = None;
    world.run(1.0);
    assert_eq!(world.told(0, Told::Pinned), 2);
}

#[test]
fn a_pinned_node_is_asked_and_nothing_falls_back() {
    let mut world = World::running(1);
    world.restart(0, true);
    world.path.drops = Some(|_| true);
    world.offer(0, 1);
    world.run(30.0);
    assert!(world.told(0, Told::Unanswered) == 1 && world.told(0, Told::Failed) == 1);
    assert_eq!(world.nodes[0].waiting.len(), 1);
    world.path.drops = None;
    world.offer(0, 1);
    world.run(1.0);
    assert_eq!(world.got(1), 3);
}

/// Whom the keeper has begun to hold to sessions.
fn pinned(keeper: &mut Keeper) -> Vec<[u8; 32]> {
    let actions = std::iter::from_fn(|| keeper.poll());
    let pins = actions.filter_map(|action| match action {
        Action::Pinned { peer } => Some(peer),
        _ => None,
    });
    pins.collect()
}

/// A whole handshake that `asker` begins, up to its first frame. Whom the keepers pinned by it.
fn shake(asker: &mut Keeper, asked: &mut Keeper) -> [Vec<[u8; 32]>; 2] {
    let sent = answers(asker).remove(0);
    asked.receive(&sent, stranger(1), 1.0);
    let mut response = None;
    let mut index = None;
    while let Some(action) = asked.poll() {
        match action {
            Action::Send { frame, .. } => response = Some(frame),
            Action::Receive(transport) => index = Some(transport.local_index()),
            _ => {}
        }
    }
    asker.receive(&response.unwrap(), stranger(2), 1.0);
    asked.heard(index.unwrap(), 1.0);
    [pinned(asker), pinned(asked)]
}

#[test]
fn who_only_calls_takes_no_pin_and_no_room_from_who_was_called_or_named() {
    let limits = Limits {
        pins: 8,
        ..Limits::default()
    };
    let config = |secret| {
        Config::new(
            secret,
            address_of(&Keeper::new(Config::new(secret, [0; 16]), Numbers(1).fill()).public()),
        )
    };
    let mut keeper = Keeper::new(
        Config {
            limits,
            ..config(secret_of(0))
        },
        Numbers(1).fill(),
    );
    let own = keeper.public();
    let node = |number: usize| Keeper::new(config(secret(number)), Numbers(number as u64).fill());
    let mut first = node(900);
    keeper.want(&first.public(), 1.0);
    assert_eq!(shake(&mut keeper, &mut first)[0], [first.public()]);
    let mut held = vec![first.public()];
    for number in 0..60 {
        let mut caller = node(number);
        match number % 3 {
            0 => {
                caller.want(&own, 1.0);
                held.extend(shake(&mut caller, &mut keeper)[1].iter());
            }
            // It says in a packet of Mycelium's suite that it can do better, and this end asks.
            1 => {
                caller.want(&own, 1.0);
                held.extend(shake(&mut caller, &mut keeper)[1].iter());
                keeper.plain(&caller.public(), true, 2.0);
                held.extend(shake(&mut keeper, &mut caller)[0].iter());
            }
            _ => {
                keeper.plain(&caller.public(), true, 1.0);
                held.extend(pinned(&mut keeper));
            }
        }
    }
    assert_eq!((held.len(), keeper.sizes()[2]), (6, 6));
    // The operator named one, which calls; another one is called; both find room.
    let mut named = node(901);
    keeper.named(&named.public());
    named.want(&own, 1.0);
    assert_eq!(shake(&mut named, &mut keeper)[1], [named.public()]);
    let mut called = node(902);
    keeper.want(&called.public(), 1.0);
    assert_eq!(shake(&mut keeper, &mut called)[0], [called.public()]);
    held.extend([named.public(), called.public()]);
    // Then it is full, and every one that is held is held still: Mycelium's suite from it is told.
    let mut late = node(903);
    keeper.want(&late.public(), 1.0);
    assert_eq!(shake(&mut keeper, &mut late)[0], [[0; 32]; 0]);
    for key in held {
        keeper.plain(&key, false, 100.0);
        let told = std::iter::from_fn(|| keeper.poll())
            .any(|action| matches!(action, Action::Downgraded { peer } if peer == key));
        assert!(told);
    }
}
