//! Packets stay whole and in order however the socket takes them, and neither kind stops the other.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use zosnet_core::frame::Kind;

use super::*;
use crate::packets::tests::packet;

/// Takes at most `room` bytes, then would block.
struct Narrow {
    room: usize,
    seen: Vec<u8>,
}

impl Write for Narrow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.room);
        if taken == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.room -= taken;
        self.seen.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn narrow(room: usize) -> Narrow {
    Narrow {
        room,
        seen: Vec::new(),
    }
}

#[test]
fn control_goes_ahead_of_data_but_not_into_a_packet() {
    let (mut queue, mut pool) = (OutQueue::default(), Pool::default());
    let (first, second) = (packet(1, 60), packet(2, 60));
    queue.append(0.0, &mut pool, |tail| {
        tail.extend_from_slice(&first);
        tail.extend_from_slice(&second);
    });
    let mut out = narrow(10);
    assert_eq!(queue.write(&mut out, &mut pool).unwrap(), (10, false));
    queue.push_control(b"control", true).unwrap();
    out.room = 1000;
    assert_eq!(queue.write(&mut out, &mut pool).unwrap(), (197, true));
    assert_eq!(out.seen, [&first[..], b"control", &second[..]].concat());
    assert!(queue.is_empty());
}

#[test]
fn every_way_to_cut_the_writes_gives_whole_packets_in_order() {
    for step in 1..200 {
        let (mut queue, mut pool) = (OutQueue::default(), Pool::default());
        let packets: Vec<_> = (0..5).map(|n| packet(n, 20 + usize::from(n))).collect();
        let mut out = narrow(step);
        let all = packets.concat();
        queue.write_through(&all, &mut out, 0.0, &mut pool).unwrap();
        queue.push_control(b"CC", false).unwrap();
        while !queue.is_empty() {
            out.room = step;
            queue.write(&mut out, &mut pool).unwrap();
        }
        let at = out.seen.windows(2).position(|w| w == b"CC").unwrap();
        let mut boundary = 0;
        let mut boundaries = vec![0];
        for packet in &packets {
            boundary += packet.len();
            boundaries.push(boundary);
        }
        assert!(boundaries.contains(&at), "control at {at} with steps of {step}");
        out.seen.drain(at..at + 2);
        assert_eq!(out.seen, all);
    }
}

#[test]
fn old_data_stops_new_data_until_it_is_written() {
    let (mut queue, mut pool) = (OutQueue::default(), Pool::default());
    queue.append(0.0, &mut pool, |tail| tail.extend_from_slice(&packet(1, 10)));
    assert!(queue.accepts(1000, 0.09));
    assert!(!queue.accepts(1000, 0.2));
    assert!(!queue.accepts(DATA_LIMIT, 0.0));
    queue.write(&mut narrow(1000), &mut pool).unwrap();
    assert!(queue.accepts(1000, 0.2));
}

#[test]
fn a_dead_link_gives_back_the_packets_it_did_not_start() {
    let (mut queue, mut pool) = (OutQueue::default(), Pool::default());
    let packets = [packet(1, 10), packet(2, 10), packet(3, 10)];
    queue.append(0.0, &mut pool, |tail| tail.extend_from_slice(&packets.concat()));
    queue.write(&mut narrow(7), &mut pool).unwrap();
    assert_eq!(queue.take_unwritten().concat(), packets[1..].concat());
    let mut out = narrow(1000);
    queue.write(&mut out, &mut pool).unwrap();
    assert_eq!(out.seen, packets[0][7..]);
    assert!(queue.is_empty());
}

#[test]
fn too_much_control_is_refused() {
    let mut queue = OutQueue::default();
    assert_eq!(queue.push_control(&vec![0; CONTROL_LIMIT], false), Ok(()));
    assert_eq!(queue.push_control(&[0], false), Err(TooFarBehind));
}

/// A control packet of `size` bytes in all.
fn control(fill: u8, size: usize) -> Vec<u8> {
    let body = u16::try_from(size - 8).unwrap().to_be_bytes();
    let mut packet = vec![1, 1, 0, 0, 42, 3, body[0], body[1]];
    packet.resize(size, fill);
    packet
}

/// How many bytes of each kind follow each other, in whole packets.
fn runs(bytes: &[u8]) -> Vec<(Kind, usize)> {
    let mut found: Vec<(Kind, usize)> = Vec::new();
    let mut at = 0;
    while let Some(next) = frame::next(bytes, at).unwrap() {
        match found.last_mut() {
            Some((kind, length)) if *kind == next.kind => *length += next.end - next.start,
            _ => found.push((next.kind, next.end - next.start)),
        }
        at = next.end;
    }
    assert_eq!(at, bytes.len());
    found
}

#[test]
fn much_control_and_much_data_take_turns() {
    for step in [1000, 1500, 7 << 10, 100_000, 1 << 20] {
        let (mut queue, mut pool) = (OutQueue::default(), Pool::default());
        let news: Vec<u8> = (0..4000u16)
            .flat_map(|n| control(n as u8, 40 + usize::from(n % 50)))
            .collect();
        let data: Vec<u8> = (0..200).flat_map(|n| packet(n, 1300)).collect();
        queue.append(0.0, &mut pool, |tail| tail.extend_from_slice(&data));
        queue.push_control(&news, true).unwrap();
        let mut out = narrow(0);
        let mut hellos = 0;
        while !queue.is_empty() {
            out.room = step;
            hellos += usize::from(queue.write(&mut out, &mut pool).unwrap().1);
        }
        assert_eq!(hellos, 1);
        let runs = runs(&out.seen);
        let sum = |wanted| -> usize { runs.iter().filter(|run| run.0 == wanted).map(|run| run.1).sum() };
        assert_eq!((sum(Kind::Control), sum(Kind::Data)), (news.len(), data.len()));
        let last = runs.iter().rposition(|(kind, _)| *kind == Kind::Data).unwrap();
        for (kind, length) in &runs[..last] {
            // The write in which a turn of control ends takes along as much data as the socket takes.
            let more = if *kind == Kind::Data { step } else { 0 };
            assert!(
                *length <= TURN + 1340 + more,
                "{length} bytes of {kind:?} in steps of {step}"
            );
        }
    }
}

#[test]
fn data_that_comes_to_much_control_waits_for_one_turn_of_it() {
    let (mut queue, mut pool) = (OutQueue::default(), Pool::default());
    queue.push_control(&control(1, 100).repeat(5000), false).unwrap();
    let mut out = narrow(100_010);
    queue.write(&mut out, &mut pool).unwrap();
    queue.append(0.0, &mut pool, |tail| tail.extend_from_slice(&packet(2, 100)));
    out.room = 1 << 20;
    queue.write(&mut out, &mut pool).unwrap();
    let before = (100_010 + TURN).next_multiple_of(100);
    let wanted = [
        (Kind::Control, before),
        (Kind::Data, packet(2, 100).len()),
        (Kind::Control, 500_000 - before),
    ];
    assert_eq!(runs(&out.seen), wanted);
}

#[test]
fn little_control_goes_ahead_of_data_also_where_it_came_bit_by_bit() {
    let (mut queue, mut pool) = (OutQueue::default(), Pool::default());
    let data = packet(2, 1300).repeat(50);
    queue.append(0.0, &mut pool, |tail| tail.extend_from_slice(&data));
    queue.push_control(&control(1, 100), false).unwrap();
    let mut out = narrow(50);
    queue.write(&mut out, &mut pool).unwrap();
    queue.push_control(&control(1, 100), true).unwrap();
    out.room = 1 << 20;
    assert!(queue.write(&mut out, &mut pool).unwrap().1);
    assert_eq!(runs(&out.seen), [(Kind::Control, 200), (Kind::Data, data.len())]);
}

#[test]
fn control_that_was_written_takes_no_memory_though_more_always_waits() {
    let (mut queue, mut pool) = (OutQueue::default(), Pool::default());
    let mut out = narrow(0);
    queue.push_control(&control(1, 1000).repeat(20), false).unwrap();
    for n in 0..5000u16 {
        if n % 3 == 0 {
            queue.append(0.0, &mut pool, |tail| tail.extend_from_slice(&packet(2, 960)));
        }
        queue.push_control(&control(1, 1000), false).unwrap();
        out.room = 1300;
        queue.write(&mut out, &mut pool).unwrap();
        assert!(
            queue.control_bytes() > 0,
            "the reader sees to it that some always waits"
        );
        assert!(queue.control.len() <= CHUNK + 2 * queue.control_bytes() + 1000);
    }
    out.room = usize::MAX;
    queue.write(&mut out, &mut pool).unwrap();
    assert!(queue.is_empty());
    let found = runs(&out.seen);
    let sum = |wanted| -> usize { found.iter().filter(|run| run.0 == wanted).map(|run| run.1).sum() };
    assert_eq!((sum(Kind::Control), sum(Kind::Data)), (5020 * 1000, 1667 * 1000));
}
