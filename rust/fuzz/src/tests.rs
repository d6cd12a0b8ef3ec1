//! Every property over a fixed corpus: random bytes, and valid input with a few bytes changed.

use super::*;
use numbers::Numbers;

const CASES: usize = 1000;
/// Each of these makes a handshake first.
const DEAR_CASES: usize = 40;

/// Run `property` over random bytes, `seeds`, and changed `seeds`.
fn check(property: impl Fn(&[u8]), seeds: &[Vec<u8>]) {
    check_times(CASES, property, seeds);
}

/// The same for a property that is dear.
fn check_times(cases: usize, property: impl Fn(&[u8]), seeds: &[Vec<u8>]) {
    let mut numbers = Numbers(1);
    seeds.iter().for_each(|seed| property(seed));
    for _ in 0..cases {
        property(&numbers.bytes(400));
        let mut input = seeds.get(numbers.below(seeds.len())).cloned().unwrap_or_default();
        for _ in 0..numbers.below(4) {
            let at = numbers.below(input.len());
            if let Some(byte) = input.get_mut(at) {
                *byte = numbers.next() as u8;
            }
        }
        if numbers.below(4) == 0 {
            input.truncate(numbers.below(input.len() + 1));
        }
        property(&input);
    }
}

fn data(src: &Address, dst: &Address, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 40];
    let header = DataHeader {
        len: payload.len() as u16,
        hop_limit: 64,
        src: *src,
        dst: *dst,
    };
    header.write_packet(&mut packet).unwrap();
    packet.extend_from_slice(payload);
    packet
}

fn ping(src: &Address, dst: &Address) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 8, 58, 64];
    packet.extend_from_slice(src);
    packet.extend_from_slice(dst);
    packet.extend_from_slice(&[128, 0, 0, 0, 1, 2, 3, 4]);
    let sum = ipv6::transport_sum(src, dst, 58, &packet[40..]);
    packet[42..44].copy_from_slice(&checksum::finish(sum).to_be_bytes());
    packet
}

#[test]
fn frame_stream_holds() {
    let hello = [1, 1, 0, 0, 42, 3, 0, 8, 4, 6, 0x80, 0, 0, 5, 7, 0xd0];
    let packet = data(&FRIEND, &NODE.address, &[9; 50]);
    let seed = [&[3][..], &hello, &packet, &hello, &packet].concat();
    check(frame_stream, &[seed.clone(), [&[1][..], &seed[1..]].concat()]);
}

#[test]
fn data_packet_holds() {
    let inside = [&[1, 0, 0, 0][..], &ping(&FRIEND, &NODE.address)].concat();
    let other = [5; 16];
    check(
        data_packet,
        &[
            data(&FRIEND, &NODE.address, &inside),
            data(&other, &FRIEND, &inside),
            data(&other, &NODE.address, &inside),
            inside,
            ping(&NODE.address, &FRIEND),
        ],
    );
}

#[test]
fn icmp_recover_holds() {
    let offending = ping(&NODE.address, &FRIEND);
    let header = DataHeader {
        len: 0,
        hop_limit: 1,
        src: NODE.address,
        dst: FRIEND,
    };
    let error = icmp::out_of_band(icmp::Problem::HopLimit, &FRIEND, &header, &offending).unwrap();
    let body = error[44..error.len() - 28].to_vec();
    check(icmp_recover, &[body, offending, ping(&FRIEND, &NODE.address)]);
}

#[test]
fn offload_split_holds() {
    let mut seeds = Vec::new();
    for (kind, gso) in [(0x40u8, 4u8), (0x60, 4), (0x06, 1), (0x11, 5), (0x60, 0)] {
        let mut read = vec![1, gso, 0, 0, 50, 0, 40, 0, 16, 0];
        let protocol = if gso == 5 { 17 } else { 6 };
        if kind & 0xf == 0 {
            read.extend_from_slice(&[0x60, 0, 0, 0, 0, 220, protocol, 64]);
            read.extend_from_slice(&[4; 32]);
        } else {
            read.extend_from_slice(&[
                0x45, 0, 0, 240, 0, 1, 0, 0, 64, protocol, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8,
            ]);
        }
        read.extend_from_slice(&[0, 1, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x99, 1, 1, 0, 0, 0, 0]);
        read.extend((0..200u8).map(|byte| byte.wrapping_mul(7)));
        seeds.push(read);
    }
    check(offload_split, &seeds);
}

#[test]
fn coalesce_holds() {
    let run: Vec<u8> = (0..40).flat_map(|n| [0, 0x60, n]).collect();
    let mixed: Vec<u8> = (0..40).flat_map(|n| [n % 8, 0xe0, n]).collect();
    let odd: Vec<u8> = (0..60u8)
        .flat_map(|n| [n.wrapping_mul(37) & 0xfe, n.wrapping_mul(91), n])
        .collect();
    let raw = [&[255, 48][..], &ping(&FRIEND, &NODE.address), &run].concat();
    check(coalesce, &[run, mixed, odd, raw]);
}

#[test]
fn fib_records_holds() {
    let mut seed = FRIEND.to_vec();
    for (op, length) in [(1, 64), (1, 48), (1, 128), (0, 48), (1, 0), (1, 64)] {
        seed.extend_from_slice(&record(op, length, &FRIEND, length));
    }
    let full: Vec<u8> = (0..12)
        .flat_map(|length| record(1, length * 8, &FRIEND, length))
        .collect();
    check(fib_records, &[seed, [&FRIEND[..], &full].concat()]);
}

#[test]
fn filter_packet_holds() {
    let packet = |protocol: u8, payload: &[u8]| {
        let mut packet = vec![0x60, 0, 0, 0, 0, payload.len() as u8, protocol, 64];
        packet.extend_from_slice(&FRIEND);
        packet.extend_from_slice(&NODE.address);
        packet.extend_from_slice(payload);
        packet
    };
    let tcp = [&[0, 80, 0, 81, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 2][..], &[0; 6]].concat();
    let options = [&[60, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0][..], &tcp].concat();
    let fragment = [
        &[17, 0, 0, 1, 0, 0, 0, 9][..],
        &[0, 80, 0, 81, 0, 16, 0, 0],
        &[0; 8],
    ]
    .concat();
    let ping = ping(&FRIEND, &NODE.address);
    let error = [&[1, 0, 0, 0, 0, 0, 0, 0][..], &ping].concat();
    let mut record = [0; 64];
    (record[0], record[1], record[2], record[16]) = (1, 2, 7, 4);
    check(
        filter_packet,
        &[
            packet(6, &tcp),
            packet(0, &options),
            packet(44, &fragment),
            packet(58, &error),
            ping,
            [record, record].concat(),
        ],
    );
}

#[test]
fn link_offer_holds() {
    let seed = [
        &[1, 3, 4, 0, 5, 220, 0, 0, 1, 2, 3, 4, 9, 9, 9, 9, 9, 9, 9, 9][..],
        &[1, 0, 4, 1, 2, 3, 4, 7, 0, 1, 8, 0, 0, 2, 0, 0],
    ]
    .concat();
    check(link_offer, &[seed]);
}

#[test]
fn link_frames_hold() {
    let ping = [&[1, 0, 12][..], &[0, 0, 0, 1], &[0; 8]].concat();
    let data = [&[3, 0, 12][..], &[0; 8], b"abcd"].concat();
    let ahead = [&[3, 0, 10][..], &[0, 0, 0, 0, 0, 0, 0, 6], b"gh"].concat();
    let ack = [
        &[4, 0, 20][..],
        &[0, 0, 0, 0, 0, 0, 4, 0],
        &[0, 1, 0, 0],
        &[0, 0, 0, 4, 0, 0, 4, 0],
    ]
    .concat();
    let others = [
        5, 0, 2, 111, 107, 6, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 8, 0, 4, 0, 0, 0, 1, 9, 0, 4, 0, 0, 0, 1,
    ];
    let seeds: Vec<Vec<u8>> = [&ping, &data, &ahead, &ack, &others.to_vec()]
        .iter()
        .map(|frame| [&[frame.len() as u8][..], frame, &[frame.len() as u8], frame].concat())
        .collect();
    check_times(
        DEAR_CASES,
        link_frames,
        &[seeds.clone(), vec![seeds.concat()]].concat(),
    );
}

#[test]
fn link_datagrams_hold() {
    let control = [&[0x15, 0, 0, 0, 0, 0, 0, 0][..], &[0; 40]].concat();
    let seeds = [control.clone(), [&[0x16][..], &control[1..], &[1; 30]].concat()];
    let seeds: Vec<Vec<u8>> = seeds
        .iter()
        .map(|one| [&[one.len() as u8][..], one].concat())
        .collect();
    check_times(DEAR_CASES, link_datagrams, &seeds);
}

#[test]
fn session_properties() {
    let (mut one, mut other) = (session::keeper(1), session::keeper(0x21));
    one.want(&other.public(), 1.0);
    let initiation = keepers::drain(&mut one).0.remove(0);
    other.receive(&initiation, zosnet_core::session::From::Overlay([4; 16]), 1.0);
    let response = keepers::drain(&mut other).0.remove(0);
    let cookie = [&[3, 1, 0, 0][..], &[7; 60]].concat();
    let unknown = zosnet_core::session::unknown_frame(7);
    let seeds = [initiation, response, cookie, unknown];
    check(session_messages, &seeds);
    check(
        session_messages,
        &[
            vec![1, 3, 2, 0, 5, 0, 0, 0],
            vec![1, 3, 2, 0, 5, 0, 0, 0, 9, 0, 1, 5],
        ],
    );
    let entries = [&[0x80, 3, 1, 2, 3][..], &[0x40, 2, 4, 9], &[0x40, 1, 0], &[0, 0]].concat();
    check(session_entries, std::slice::from_ref(&entries));
    let short = [&[0x40, 11, 6, 64, 6, 0x60, 0, 0, 1, 9, 9, 9, 9][..], &entries].concat();
    check(session_entries, &[short]);
    check(session_frames, &[entries]);
    check(
        fragments,
        &[(0..=255).collect(), vec![0, 0, 0, 0, 1, 0, 4, 0, 0, 1, 2, 3, 4]],
    );
    let body = [&[0, 0, 0, 0, 0, 0, 0, 2, 0][..], &[0, 9], &[7; 10]].concat();
    check(repairs, &[body.repeat(3), (0..=255).collect(), Vec::new()]);
    let mut numbers = Numbers(2);
    seeds.iter().for_each(|seed| session_keeper(seed));
    for _ in 0..CASES / 10 {
        let mut input = seeds[numbers.below(seeds.len())].clone();
        let at = numbers.below(input.len());
        input[at] ^= 1 << numbers.below(8);
        session_keeper(&input);
        session_keeper(&numbers.bytes(400));
    }
}
