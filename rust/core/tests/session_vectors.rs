//! Every message of the session suite, byte by byte. The secrets are nodes a and b of the Mycelium vectors; randomness
//! counts up from a first byte. `docs/protocols/session.md` has the same.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/keepers.rs"]
mod keepers;
#[path = "common/numbers.rs"]
mod numbers;

use std::fmt::Write as _;
use std::net::SocketAddr;

use keepers::drain;
use numbers::counting;
use zosnet_core::address_of;
use zosnet_core::repair::{Group, Mender};
use zosnet_core::session::{
    Config, EntryKind, From, HEADER, Keeper, Limits, TAG, Transport, compact::first_packet, counter_of,
    entry_header, unknown_frame,
};

const FILE: &str = include_str!("vectors/session.txt");

fn keeper(first: u8, aes: bool, rate: u32, random: u8) -> Keeper {
    let secret: [u8; 32] = std::array::from_fn(|at| first + at as u8);
    let public = if first == 1 {
        common::node_a()
    } else {
        common::node_b()
    }
    .public;
    let mut config = Config::new(secret, address_of(&public));
    (config.has_aes, config.lanes) = (aes, 2);
    config.limits = Limits {
        handshakes_per_second: rate,
        ..Limits::default()
    };
    Keeper::new(config, counting(random))
}

fn from() -> From {
    From::Link(SocketAddr::from(([192, 0, 2, 1], 9652)))
}

fn frame(transport: &Transport, lane: u8) -> Vec<u8> {
    let body = [0x60, 1, 2, 3];
    let header = entry_header(EntryKind::Packet { partial: true }, body.len());
    let mut frame = [
        &[0; HEADER][..],
        &header,
        &body,
        &entry_header(EntryKind::Padding, 0),
        &[0; TAG],
    ]
    .concat();
    transport.seal(lane, &mut frame).unwrap();
    frame
}

/// A packet with a short header, as the first entry.
fn short(transport: &Transport) -> Vec<u8> {
    let body = [64, 17, 0x6a, 0xb1, 2, 3, 1, 2, 3, 4, 5, 6, 7, 8];
    let header = entry_header(EntryKind::Compact { partial: false }, body.len());
    let mut frame = [&[0; HEADER][..], &header, &body, &[0; TAG]].concat();
    transport.seal(0, &mut frame).unwrap();
    frame
}

/// Both repairs of four frames of padding, after the frames above; two of the four come back out of them.
fn repairs(from: &Transport, to: &Transport) -> Vec<Vec<u8>> {
    let (mut group, mut mender) = (Group::default(), Mender::new(1.0));
    let sealed = |kind, body: &[u8]| {
        let header = entry_header(kind, body.len());
        let counter = from.next(0);
        let mut frame = [&[0; HEADER][..], &header, body, &[0; TAG]].concat();
        from.seal(0, &mut frame).unwrap();
        assert_eq!(counter_of(&frame), Some(counter));
        (counter, frame)
    };
    for length in 1..5 {
        let (counter, mut frame) = sealed(EntryKind::Padding, &vec![length; usize::from(length)]);
        let entries = to.open(&mut frame).unwrap();
        group.add(counter, entries, 1.0);
        if length % 2 == 0 {
            mender.keep(counter, entries);
        }
    }
    let bodies = group.close();
    let frames: Vec<_> = bodies
        .iter()
        .map(|body| sealed(EntryKind::Repair, body))
        .collect();
    let found = bodies.iter().zip(&frames);
    let found = found.flat_map(|(body, (counter, _))| mender.repair(*counter, body, 1.0).unwrap());
    let found: Vec<_> = found.map(|(_, entries)| entries).collect();
    assert_eq!(found, [vec![0x40, 2, 0, 1], vec![0x40, 4, 0, 3, 3, 3]]);
    frames.into_iter().map(|(_, frame)| frame).collect()
}

fn vectors() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for aes in [false, true] {
        let (mut a, mut b) = (keeper(0x01, aes, 10, 0x40), keeper(0x21, aes, 10, 0xc0));
        let cipher = if aes { "aes" } else { "chacha" };
        a.want(&b.public(), 1.0);
        let initiation = drain(&mut a).0.remove(0);
        b.receive(&initiation, from(), 1.0);
        let (mut responses, their_keys) = drain(&mut b);
        let response = responses.remove(0);
        a.receive(&response, from(), 1.0);
        let keys = drain(&mut a).1;
        let there = frame(&keys[0], 0);
        b.heard(their_keys[0].local_index(), 1.0);
        let back = frame(&their_keys[0], 1);
        let shortened = short(&keys[0]);
        let repairs = repairs(&keys[0], &their_keys[0]);
        assert_eq!(their_keys[0].open(&mut there.clone()).unwrap().len(), 9);
        let (from, to) = ([4; 16], [5; 16]);
        let opened = their_keys[0].open(&mut shortened.clone()).unwrap().to_vec();
        let whole = first_packet(&opened, &from, &to).unwrap();
        let expected = [
            &[0x6a, 0xb1, 2, 3, 0, 8, 17, 64][..],
            &from,
            &to,
            &[1, 2, 3, 4, 5, 6, 7, 8],
        ]
        .concat();
        assert_eq!(whole, expected);
        assert_eq!(keys[0].open(&mut back.clone()).unwrap().len(), 9);
        for (name, bytes) in [
            ("initiation", initiation),
            ("response", response),
            ("frame", there),
            ("frame-back", back),
            ("short", shortened),
        ] {
            all.push((format!("{cipher}-{name}"), bytes));
        }
        for (name, bytes) in ["repair-0", "repair-1"].into_iter().zip(repairs) {
            all.push((format!("{cipher}-{name}"), bytes));
        }
    }
    let (mut a, mut b) = (keeper(0x01, false, 10, 0x40), keeper(0x21, false, 0, 0xc0));
    a.want(&b.public(), 1.0);
    b.receive(&drain(&mut a).0[0], from(), 1.0);
    assert!(drain(&mut b).0.is_empty(), "a rate of 0 answers nothing at all");
    let mut b = keeper(0x21, false, 1, 0xc0);
    let mut other = keeper(0x01, false, 10, 0x10);
    other.want(&b.public(), 1.0);
    b.receive(&drain(&mut other).0[0], from(), 1.0);
    drain(&mut b);
    let mut a = keeper(0x01, false, 10, 0x40);
    a.want(&b.public(), 1.0);
    b.receive(&drain(&mut a).0[0], from(), 1.0);
    let cookie = drain(&mut b).0.remove(0);
    a.receive(&cookie, from(), 1.0);
    let proven = drain(&mut a).0.remove(0);
    all.push(("cookie-reply".to_owned(), cookie));
    all.push(("initiation-with-mac2".to_owned(), proven));
    all.push(("unknown".to_owned(), unknown_frame(0x0102_0304)));
    all
}

#[test]
fn the_bytes_are_those_of_the_file() {
    let mut text = String::new();
    for (name, bytes) in vectors() {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(text, "{name} {hex}").unwrap();
    }
    let wanted: Vec<_> = FILE.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(text.lines().eq(wanted), "{text}");
}
