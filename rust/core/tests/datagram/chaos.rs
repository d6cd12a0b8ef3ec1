//! Everything at once: whatever happened, links come back once the network is well, and streams never lie.

use std::collections::BTreeMap;

use crate::network::Path;
use crate::world::{World, address, config, pattern};
use zosnet_core::datagram::Id;

/// Something happens to the network or to a node.
fn happen(world: &mut World, homes: &mut usize) {
    let kind = world.numbers.next() % 10;
    let share = world.numbers.share();
    match kind {
        0 => world.path.cut = !world.path.cut,
        1 => world.path.loss = share * 0.4,
        2 => (world.path.delay, world.path.jitter) = (share * 0.2, share * 0.1),
        3 => world.path.mtu = 1280 + (share * 220.0) as usize,
        4 => world.path.twice = share,
        5 => {
            *homes += 1;
            world.nodes[0].address = address(*homes % 200 + 10);
        }
        6 => world.nodes[1].asleep = !world.nodes[1].asleep,
        7 if share < 0.3 => world.restart(1, config(1)),
        8 if share < 0.3 => world.restart(0, config(0)),
        _ => world.path = Path::default(),
    }
}

/// Without a link, begin anew to make one.
fn redial(world: &mut World) {
    if !world.is_up(0) {
        world.nodes[0].endpoint.cancel(7);
        world.dial(0, 1, Some(world.key(1)), 5.0);
    }
}

/// Keep node 0 linked with node 1, and say something on every link.
fn talk(world: &mut World, said: &mut BTreeMap<(usize, u32), Vec<u8>>) {
    redial(world);
    for node in 0..2 {
        let links: Vec<(Id, u32)> = world
            .links(node)
            .iter()
            .map(|link| (link.link, link.local_index))
            .collect();
        for (link, index) in links {
            let size = 1 + (world.numbers.next() % 5000) as usize;
            let bytes = pattern(size);
            world.push(node, link, &bytes);
            // Some of the links went down by it; that is told, too.
            said.entry((node, index)).or_default().extend_from_slice(&bytes);
            if world.nodes[node].keys.contains_key(&link) {
                let now = world.now;
                world.nodes[node].traffic.entry(link).or_insert((0.02, 300, now));
            }
        }
    }
}

/// What a node heard on each link is the beginning of what the other said on it.
fn check(world: &World, said: &BTreeMap<(usize, u32), Vec<u8>>) {
    for node in 0..2 {
        for (link, heard) in &world.nodes[node].control {
            let Some(keys) = world.nodes[node].keys.get(link) else {
                continue;
            };
            let all = said
                .get(&(1 - node, keys.remote_index()))
                .map_or(&[][..], Vec::as_slice);
            assert!(all.starts_with(heard), "node {node} heard what wasn't said");
        }
    }
}

#[test]
fn links_come_back_and_streams_never_lie() {
    for seed in 0..20 {
        let mut world = World::pair(seed);
        let (mut said, mut homes) = (BTreeMap::new(), 0);
        for _ in 0..60 {
            happen(&mut world, &mut homes);
            talk(&mut world, &mut said);
            world.run(1.0);
            check(&world, &said);
        }
        world.path = Path::default();
        world.nodes[1].asleep = false;
        for _ in 0..100 {
            redial(&mut world);
            world.run(1.0);
        }
        check(&world, &said);
        let (here, there) = (world.links(0), world.links(1));
        let well = |links: &[zosnet_core::datagram::Status]| {
            links.len() == 1
                && links
                    .iter()
                    .all(|link| !link.stalled && link.queued == 0 && link.max_datagram >= 1252)
        };
        assert!(well(&here) && well(&there), "seed {seed}: {here:?}\n{there:?}");
        assert_eq!(there[0].remote, world.nodes[0].address, "seed {seed}");
        assert_eq!(world.nodes[1].endpoint.half_open(), 0);
    }
}
