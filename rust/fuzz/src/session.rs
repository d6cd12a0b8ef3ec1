//! The session suite: messages, offers, entries, frames, the state machine, and packets in pieces.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use zosnet_core::address_of;
use zosnet_core::fragments::{Fragments, cut};
use zosnet_core::repair::{FRAMES, Group, Mender};
use zosnet_core::session::compact::{HEADROOM, compact, expand, first_packet};
use zosnet_core::session::{
    Config, Entries, EntryKind, From, HEADER, Handshake, Keeper, Offer, TAG, Transport, decode,
};
use zosnet_core::suite::StaticKey;

use crate::keepers::drain;
use crate::numbers::counting;

const OTHER: From = From::Overlay([4; 16]);

/// A keeper with this secret.
pub(crate) fn keeper(first: u8) -> Keeper {
    keeper_with(first, first)
}

/// A keeper with this secret and these random bytes.
fn keeper_with(first: u8, random: u8) -> Keeper {
    let secret = std::array::from_fn(|at| first.wrapping_add(at as u8));
    let public = StaticKey::from_secret(&secret).unwrap().public();
    Keeper::new(Config::new(secret, address_of(&public)), counting(random))
}

/// A handshake message is taken apart within its bounds, and so is an offer.
pub fn session_messages(data: &[u8]) {
    match decode(data) {
        Some(Handshake::Initiation(it)) => {
            assert_eq!([it.covered, &it.mac1, &it.mac2].concat(), data);
            assert_eq!([it.header, it.noise].concat(), it.covered);
        }
        Some(Handshake::Response(it)) => assert_eq!([it.covered, &it.mac1].concat(), data),
        Some(Handshake::Cookie { body, .. }) => assert!(data.ends_with(body) && body.len() == 56),
        Some(Handshake::Unknown { .. }) => assert_eq!(data.len(), 8),
        None => {}
    }
    if let Some(offer) = Offer::decode(data) {
        assert!((1..=16).contains(&offer.lanes) && offer.max_frame >= 700);
    }
}

/// Entries lie inside the plaintext, one behind the other. A short packet becomes a whole one in place, and in a copy.
pub fn session_entries(data: &[u8]) {
    let (src, dst) = ([4; 16], [5; 16]);
    let mut entries = Entries::of(data);
    let mut end = 0;
    for (kind, range) in entries.by_ref() {
        assert!(range.start >= end + 2 && range.end >= range.start && range.end <= data.len());
        end = range.end;
        if let EntryKind::Compact { .. } = kind {
            let mut buffer = [&[0; HEADROOM][..], data].concat();
            let body = range.start + HEADROOM..range.end + HEADROOM;
            let whole = expand(&mut buffer, body, &src, &dst).map(|at| buffer[at].to_vec());
            assert_eq!(buffer[range.end + HEADROOM..], data[range.end..]);
            if range.start == 3 {
                assert_eq!(whole, first_packet(data, &src, &dst));
            }
            if let Some(whole) = whole {
                let short = compact(&whole, whole.len(), &src, &dst).unwrap();
                assert_eq!([&short, &whole[40..]].concat(), data[range]);
            }
        }
    }
    assert_eq!(entries.rest(), data.len() - end);
    assert_eq!(entries.next(), None);
}

/// Nothing that a stranger sends changes what there is, or makes a keeper say more than it was told.
pub fn session_keeper(data: &[u8]) {
    // Random bytes that were never used before, so that no recorded response is right.
    let (mut one, mut other) = (keeper_with(1, 0x81), keeper_with(0x21, 0xa1));
    one.want(&other.public(), 1.0);
    let before = one.sizes();
    drain(&mut one);
    let mut rest = data;
    let mut messages = 0;
    while let Some((length, tail)) = rest.split_first() {
        let (message, tail) = tail.split_at(tail.len().min(usize::from(*length)));
        rest = tail;
        messages += 1;
        one.receive(message, OTHER, 1.0);
        other.receive(message, OTHER, 1.0);
    }
    one.receive(data, OTHER, 1.0);
    other.receive(data, OTHER, 1.0);
    // `other` may have been asked by a recorded initiation; nobody else can make one.
    assert!(drain(&mut other).0.len() <= messages + 1 && other.sizes()[1] <= 4);
    assert_eq!(one.sizes(), before);
    one.wake(1.3);
    assert_eq!(drain(&mut one).0.len(), 1);
}

thread_local! {
    static PAIR: RefCell<Option<(Arc<Transport>, Arc<Transport>)>> = const { RefCell::new(None) };
}

/// Two ends of one session.
pub(crate) fn pair() -> (Arc<Transport>, Arc<Transport>) {
    PAIR.with_borrow_mut(|pair| pair.get_or_insert_with(make_pair).clone())
}

fn make_pair() -> (Arc<Transport>, Arc<Transport>) {
    let (mut one, mut other) = (keeper(1), keeper(0x21));
    one.want(&other.public(), 1.0);
    other.receive(&drain(&mut one).0[0], OTHER, 1.0);
    let (frames, mut theirs) = drain(&mut other);
    one.receive(&frames[0], OTHER, 1.0);
    let mine = drain(&mut one).1.remove(0);
    // A keeper that ends kills its keys.
    std::mem::forget((one, other));
    (mine, theirs.remove(0))
}

/// What wasn't sealed doesn't open; what was opens once.
pub fn session_frames(data: &[u8]) {
    let (sender, receiver) = pair();
    assert!(receiver.open(&mut data.to_vec()).is_err());
    let mut frame = [&[0; HEADER][..], data, &[0; TAG]].concat();
    sender.seal(0, &mut frame).unwrap();
    let at = data.first().map_or(0, |first| usize::from(*first) % frame.len());
    let mut altered = frame.clone();
    altered[at] ^= 1;
    assert!(receiver.open(&mut altered).is_err());
    assert_eq!(receiver.open(&mut frame.clone()).unwrap(), data);
    assert!(receiver.open(&mut frame).is_err());
}

/// Repairs that nobody made give no more than they have; those of frames cut from `data` give back what they must.
pub fn repairs(data: &[u8]) {
    let mut mender = Mender::new(1.0);
    for (counter, piece) in (0..).zip(data.chunks(21)) {
        let given = mender.repair(counter, piece, 1.0).unwrap_or_default();
        assert!(
            given
                .iter()
                .all(|(at, entries)| *at < counter && entries.len() < piece.len())
        );
        mender.keep(counter, piece);
    }
    let size = 1 + usize::from(data.first().copied().unwrap_or_default());
    let frames: Vec<_> = (100..).zip(data.chunks(size).take(FRAMES)).collect();
    let lost = |counter: u64| usize::from(data[(counter - 100) as usize % data.len()]) % 3 == 0;
    let (mut group, mut mender) = (Group::default(), Mender::new(1.0));
    for (counter, frame) in &frames {
        group.add(*counter, frame, 1.0);
        if !lost(*counter) {
            mender.keep(*counter, frame);
        }
    }
    let bodies = group.close();
    let own = 100 + frames.len() as u64;
    let given: Vec<_> = (own..)
        .zip(&bodies)
        .flat_map(|(counter, body)| mender.repair(counter, body, 1.0).unwrap())
        .collect();
    let missing: Vec<_> = frames.iter().filter(|(counter, _)| lost(*counter)).collect();
    let wanted = if missing.len() > bodies.len() {
        &[][..]
    } else {
        &missing[..]
    };
    assert!(
        given
            .iter()
            .map(|(at, entries)| (*at, &entries[..]))
            .eq(wanted.iter().map(|frame| **frame))
    );
}

/// Pieces in any order give the packet; other pieces give nothing that is longer than what came.
pub fn fragments(data: &[u8]) {
    let mut whole = Fragments::new();
    let mut came: HashMap<u32, usize> = HashMap::new();
    for piece in data.chunks(24) {
        let index = u32::from(piece[0] & 3);
        *came.entry(index).or_default() += piece.len();
        if let Some(packet) = whole.take(index, piece.get(1..).unwrap_or_default(), 1.0) {
            assert!(packet.len() <= came[&index]);
        }
    }
    let room = 9 + usize::from(data.first().copied().unwrap_or_default());
    let mut pieces: Vec<_> = cut(7, data, room).collect();
    assert!(pieces.iter().all(|piece| piece.len() <= room));
    pieces.reverse();
    let mut whole = Fragments::new();
    let given: Vec<_> = pieces
        .iter()
        .filter_map(|piece| whole.take(9, piece, 1.0))
        .collect();
    // More than so many pieces aren't taken.
    let fits = !pieces.is_empty() && pieces.len() <= 32;
    assert!(!fits || given == [data]);
}
