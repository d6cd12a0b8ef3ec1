//! Properties of the pure parts, against naive models.
#![allow(clippy::unwrap_used)]

mod common;

use common::naive_sum;
use proptest::collection::vec;
use proptest::prelude::*;
use zosnet_core::fib::{Builder, FibError};
use zosnet_core::frame::{self, DataHeader};
use zosnet_core::{checksum, upper};

fn packet() -> impl Strategy<Value = Vec<u8>> {
    let data = (
        vec(any::<u8>(), 0..200),
        any::<u8>(),
        any::<[u8; 16]>(),
        any::<[u8; 16]>(),
    )
        .prop_map(|(payload, hop_limit, src, dst)| {
            let mut packet = vec![0; 40];
            let header = DataHeader {
                len: payload.len() as u16,
                hop_limit,
                src,
                dst,
            };
            header.write_packet(&mut packet).unwrap();
            packet.extend_from_slice(&payload);
            packet
        });
    let control = (vec(any::<u8>(), 2..300), any::<[u8; 2]>()).prop_map(|(body, reserved)| {
        let mut packet = vec![1, 1, reserved[0], reserved[1], 42, 3];
        packet.extend_from_slice(&(body.len() as u16).to_be_bytes());
        packet.extend_from_slice(&body);
        packet
    });
    prop_oneof![data, control]
}

proptest! {
    #[test]
    fn the_fast_checksum_is_the_naive_one(bytes in vec(any::<u8>(), 0..700), offset in 0usize..9) {
        let part = bytes.get(offset..).unwrap_or_default();
        prop_assert_eq!(checksum::fold(checksum::sum(part)) % 0xffff, naive_sum(part) % 0xffff);
    }

    #[test]
    fn sums_of_parts_add_up(bytes in vec(any::<u8>(), 0..300), at in 0usize..300) {
        let (head, tail) = bytes.split_at(at.min(bytes.len()));
        let tail = match head.len() % 2 {
            0 => checksum::sum(tail),
            _ => checksum::swap(checksum::sum(tail)),
        };
        prop_assert_eq!(checksum::fold(checksum::sum(head) + tail) % 0xffff, naive_sum(&bytes) % 0xffff);
    }

    #[test]
    fn a_stream_cut_anywhere_gives_the_same_packets(packets in vec(packet(), 0..8), cuts in vec(1usize..90, 1..40)) {
        let stream = packets.concat();
        let (mut buf, mut found, mut sent, mut at) = (Vec::new(), Vec::new(), 0, 0);
        for cut in cuts.iter().cycle() {
            while let Some(frame) = frame::next(&buf, at).unwrap() {
                prop_assert_eq!(frame.start, at);
                found.push(buf[frame.start..frame.end].to_vec());
                at = frame.end;
            }
            let more = frame::needed(&buf[at..]);
            prop_assert!(more > buf.len() - at && more <= frame::MAX_PACKET);
            if sent == stream.len() {
                break;
            }
            let to = stream.len().min(sent + cut);
            buf.extend_from_slice(&stream[sent..to]);
            sent = to;
        }
        prop_assert_eq!(found, packets);
    }

    #[test]
    fn any_bytes_are_framed_within_bounds(bytes in vec(any::<u8>(), 0..100), at in 0usize..120) {
        if let Ok(Some(frame)) = frame::next(&bytes, at) {
            prop_assert!(frame.start == at && frame.end > at && frame.end <= bytes.len());
        }
        let _ = frame::needed(&bytes);
    }

    #[test]
    fn the_longest_prefix_wins_as_in_a_linear_scan(
        routes in vec((any::<bool>(), 0u8..=128, 0u8..4, any::<bool>()), 0..60),
        probes in vec((0u8..4, 0u8..4), 1..20),
    ) {
        let mut builder = Builder::new(1000, 42);
        let mut model: Vec<(u128, u8, u32)> = Vec::new();
        for (index, (set, length, which, half)) in routes.into_iter().enumerate() {
            let length = if half { 64 } else { length };
            let network = masked(pattern(which, which), length);
            model.retain(|(prefix, plen, _)| (*prefix, *plen) != (network, length));
            if set {
                model.push((network, length, index as u32 + 1));
            }
            builder.apply(&record(set, network, length, index as u32 + 1)).unwrap();
        }
        let table = builder.snapshot();
        prop_assert_eq!(table.len(), model.len());
        for (high, low) in probes {
            let address = pattern(high, low);
            let best = model.iter().filter(|(prefix, plen, _)| masked(address, *plen) == *prefix)
                .max_by_key(|(_, plen, _)| *plen).map(|(_, _, link)| *link);
            let found = table.lookup(&address.to_be_bytes()).map(|entry| entry.primary);
            prop_assert_eq!(found, best);
        }
    }

    #[test]
    fn any_records_are_applied_or_refused_whole(bytes in vec(any::<u8>(), 0..300)) {
        let mut builder = Builder::new(2, 1);
        match builder.apply(&bytes) {
            Ok(count) => prop_assert_eq!(count * 64, bytes.len()),
            Err(FibError::Full(at)) => prop_assert!(at < bytes.len() / 64),
            Err(_) => prop_assert!(builder.is_empty()),
        }
        prop_assert!(builder.len() <= 2);
    }
}

/// Addresses that share long prefixes, so that prefixes nest.
fn pattern(high: u8, low: u8) -> u128 {
    let high = 0x0400_0000_0000_0000 | u64::from(high & 1) | u64::from(high & 2) << 40;
    u128::from(high) << 64 | u128::from(low)
}

fn masked(word: u128, length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0) & word
}

fn record(set: bool, prefix: u128, length: u8, primary: u32) -> Vec<u8> {
    let mut record = vec![u8::from(set), length, 0, 0];
    record.extend_from_slice(&prefix.to_be_bytes());
    record.extend_from_slice(&[9; 32]);
    record.extend_from_slice(&primary.to_be_bytes());
    record.extend_from_slice(&[0; 8]);
    record
}

#[test]
fn a_full_table_keeps_what_it_has_and_still_changes_it() {
    let mut builder = Builder::new(2, 3);
    let all: Vec<u8> = (0..3u8)
        .flat_map(|n| record(true, u128::from(n) << 64, 64, 1))
        .collect();
    assert_eq!(builder.apply(&all), Err(FibError::Full(2)));
    assert_eq!(builder.apply(&record(true, 0, 64, 8)), Ok(1));
    assert_eq!(builder.apply(&record(false, 1 << 64, 64, 0)), Ok(1));
    assert_eq!(builder.apply(&record(true, 2 << 64, 64, 9)), Ok(1));
    assert_eq!(builder.len(), 2);
    assert_eq!(builder.snapshot().lookup(&[0; 16]).unwrap().primary, 8);
}

#[test]
fn malformed_records_change_nothing() {
    let mut builder = Builder::new(10, 3);
    let good = record(true, 1 << 64, 64, 1);
    let bad_op = [&good[..], &[2], &good[1..]].concat();
    assert_eq!(builder.apply(&bad_op), Err(FibError::Record(1)));
    assert_eq!(builder.apply(&record(true, 1, 64, 1)), Err(FibError::Record(0)));
    assert_eq!(builder.apply(&record(true, 0, 129, 1)), Err(FibError::Record(0)));
    assert_eq!(builder.apply(&good[1..]), Err(FibError::Length(63)));
    assert!(builder.is_empty());
}

#[test]
fn used_marks_survive_swaps_and_changes() {
    let mut builder = Builder::new(10, 3);
    let address = (5u128 << 64 | 77).to_be_bytes();
    builder.apply(&record(true, 5 << 64, 64, 1)).unwrap();
    let old = builder.snapshot();
    builder.apply(&record(true, 6 << 64, 64, 1)).unwrap();
    let new = builder.snapshot();
    old.lookup(&address).unwrap().mark_used();
    assert!(
        new.lookup(&address)
            .unwrap()
            .used
            .load(std::sync::atomic::Ordering::Relaxed)
    );
    builder.apply(&record(true, 5 << 64, 64, 2)).unwrap();
    assert_eq!(builder.drain_used(), [((5u128 << 64).to_be_bytes(), 64)]);
    assert_eq!(builder.drain_used(), []);
    assert_eq!(upper(&address), 5);
}

#[test]
fn a_large_sum_does_not_overflow() {
    let bytes = vec![0xff; 70_000_003];
    assert_eq!(
        checksum::fold(checksum::sum(&bytes)) % 0xffff,
        naive_sum(&bytes) % 0xffff
    );
}
