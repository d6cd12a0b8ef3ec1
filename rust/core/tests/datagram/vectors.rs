//! Every datagram of a handshake, byte by byte. The secrets are the nodes of the Mycelium vectors; randomness
//! counts up from a first byte. `tests/wire/test_udp_link_vectors.py` checks the same file by other means.

use std::collections::BTreeMap;

use crate::network::Flight;
use crate::numbers::counting;
use crate::world::{World, address, config};
use zosnet_core::datagram::{Endpoint, RELAY_OVERHEAD};

const FILE: &str = include_str!("../vectors/udp-link.txt");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The datagrams of one handshake, the first control frames and a relayed packet, by name.
fn handshake(named: bool, aes: bool) -> Vec<(String, String)> {
    let configs = (0..2).map(|node| {
        let mut config = config(node);
        config.has_aes = aes;
        config
    });
    let mut world = World::new(0, configs.clone().collect());
    for (node, config) in configs.enumerate() {
        world.nodes[node].endpoint = Endpoint::new(config, counting(0x40 + 0x80 * node as u8));
    }
    world.record = true;
    let key = named.then(|| world.key(1));
    world.dial(0, 1, key, 5.0);
    world.run(0.065);
    let (here, there) = (world.link(0).link, world.link(1).link);
    let mut buf = vec![0xdd; 16 + RELAY_OVERHEAD];
    world.nodes[0].keys[&here]
        .wrap(0, 64, &[4; 16], &[5; 16], &mut buf)
        .unwrap();
    world.nodes[1].keys[&there].unwrap(&buf).unwrap();
    world.tape.push((
        0.0,
        Flight {
            from: address(0),
            to: address(1),
            datagram: buf,
        },
    ));
    let prefix = format!(
        "{}-{}",
        if named { "ik" } else { "xx" },
        if aes { "aes" } else { "chacha" }
    );
    let mut first: BTreeMap<(u8, bool), Vec<u8>> = BTreeMap::new();
    for (_, flight) in world.tape {
        let from_dialler = flight.from == address(0);
        first
            .entry((flight.datagram[0], from_dialler))
            .or_insert(flight.datagram);
    }
    first
        .into_iter()
        .map(|((kind, dialler), datagram)| {
            let side = if dialler { "dialler" } else { "dialled" };
            (format!("{prefix}-{kind:02x}-{side}"), hex(&datagram))
        })
        .collect()
}

fn all() -> String {
    let mut out = String::from(
        "# udp:// link: the first datagram of each kind from each side. Secrets: 0x01.. and 0x21.. counting up, 32 bytes.\n\
         # Randomness counts up, from 0x40 at the dialler: instance (8), jitter (1), index (4), ephemeral (32);\n\
         # from 0xc0 at the dialled end: instance (8), ephemeral (32), index (4).\n\
         # Type 16 is a relayed packet: hop limit 64, source 16 x 04, destination 16 x 05, payload 16 x dd.\n",
    );
    for (named, aes) in [(false, false), (false, true), (true, false), (true, true)] {
        for (name, datagram) in handshake(named, aes) {
            out.push_str(&format!("{name} {datagram}\n"));
        }
    }
    out
}

#[test]
fn every_datagram_of_a_handshake_is_as_written_down() {
    let made = all();
    if std::env::var_os("ZOSNET_WRITE_VECTORS").is_some() {
        std::fs::write(
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/udp-link.txt"),
            &made,
        )
        .unwrap();
        return;
    }
    for (made, written) in made.lines().zip(FILE.lines()) {
        assert_eq!(made, written);
    }
    assert_eq!(made.lines().count(), FILE.lines().count());
}
