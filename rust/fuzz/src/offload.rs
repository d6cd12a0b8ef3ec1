//! Properties of cutting and merging.

use zosnet_core::offload::{Coalescer, VirtioNetHdr, split};

/// The ones'-complement sum, one word after the other: a second opinion.
fn naive_sum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for pair in parts.concat().chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Where transport header begins, if there are neither IPv6 extension headers nor fragments.
fn transport_at(packet: &[u8]) -> Option<usize> {
    match packet.first()? >> 4 {
        6 if matches!(packet.get(6)?, 6 | 17) => Some(40),
        4 => Some(usize::from(packet[0] & 15) * 4),
        _ => None,
    }
}

/// A segment must be as long as it says, and its checksums right.
fn check_segment(segment: &[u8]) {
    let Some(at) = transport_at(segment) else { return };
    let (declared, addresses, protocol) = if segment[0] >> 4 == 6 {
        (
            40 + usize::from(u16::from_be_bytes([segment[4], segment[5]])),
            &segment[8..40],
            segment[6],
        )
    } else {
        assert_eq!(naive_sum(&[&segment[..at]]), 0xffff);
        (
            usize::from(u16::from_be_bytes([segment[2], segment[3]])),
            &segment[12..20],
            segment[9],
        )
    };
    assert_eq!(declared, segment.len());
    let length = ((segment.len() - at) as u32).to_be_bytes();
    assert_eq!(
        naive_sum(&[addresses, &length, &[0, 0, 0, protocol], &segment[at..]]),
        0xffff
    );
}

/// A read of the TUN device is refused whole or cut into whole packets.
pub fn offload_split(data: &[u8]) {
    let mut read = data.to_vec();
    let Ok((hdr, packet)) = VirtioNetHdr::parse(&mut read) else {
        return;
    };
    assert_eq!(hdr.to_bytes(), data[..10]);
    let original = packet.to_vec();
    let (mut segments, mut payload) = (0, Vec::new());
    let outcome = split(hdr, packet, |head, body| {
        segments += 1;
        payload.extend_from_slice(body);
        if hdr.gso_type & 0x7f == 0 {
            assert!(body.is_empty() && head.len() == original.len());
        } else {
            assert!(body.len() <= usize::from(hdr.gso_size));
            check_segment(&[head, body].concat());
        }
    });
    assert_eq!(outcome.unwrap_or(0), segments);
    if !payload.is_empty() {
        assert!(original.windows(payload.len()).any(|window| window == payload));
    }
}

/// A packet with the checksums that have two equal representations brought to one.
fn normal(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    let fields = match (packet.first().map(|byte| byte >> 4), transport_at(&packet)) {
        (Some(6), Some(at)) => vec![at + if packet[6] == 6 { 16 } else { 6 }],
        (Some(4), Some(at)) if packet.len() > 20 => vec![10, at + if packet[9] == 6 { 16 } else { 6 }],
        _ => Vec::new(),
    };
    for at in fields {
        if let Some(field) = packet.get_mut(at..at + 2).filter(|field| **field == [0xff, 0xff]) {
            field.fill(0);
        }
    }
    packet
}

/// What keeps its order: protocol, addresses and ports.
fn flow(packet: &[u8]) -> Vec<u8> {
    let Some(at) = transport_at(packet) else {
        return Vec::new();
    };
    let (protocol, addresses) = if packet[0] >> 4 == 6 {
        (6..7, 8..40)
    } else {
        (9..10, 12..20)
    };
    [protocol, addresses, at..at + 4]
        .map(|range| packet.get(range).unwrap_or_default())
        .concat()
}

/// A packet made from three bytes: flow and oddities, size, number.
fn compose(recipe: [u8; 3], next: &mut [u32; 4]) -> Vec<u8> {
    let [kind, size, number] = recipe;
    let (v6, tcp, which) = (kind & 1 == 0, kind & 2 == 0, usize::from(kind >> 2 & 1));
    let payload = vec![number; usize::from(size >> 5) * 37 + 1];
    let options = if kind & 0x10 == 0 { 0 } else { 4 };
    let transport = if tcp { 20 + options } else { 8 } + payload.len();
    let mut packet = Vec::new();
    if v6 {
        packet.extend_from_slice(&[0x60, 0, 0, 0, 0, 0, if tcp { 6 } else { 17 }, 64]);
        packet[4..6].copy_from_slice(&(transport as u16).to_be_bytes());
        packet.extend_from_slice(&[4; 32]);
    } else {
        let id = next[2 + which] as u16;
        next[2 + which] = next[2 + which].wrapping_add(u32::from(number & 7 != 7));
        packet.extend_from_slice(&[0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, if tcp { 6 } else { 17 }, 0, 0]);
        packet.extend_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        packet[2..4].copy_from_slice(&(20 + transport as u16).to_be_bytes());
        packet[4..6].copy_from_slice(&id.to_be_bytes());
        let sum = !naive_sum(&[&packet]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    let at = packet.len();
    packet.extend_from_slice(&[0, which as u8, 0, 80]);
    if tcp {
        packet.extend_from_slice(&next[which].to_be_bytes());
        next[which] = next[which].wrapping_add(payload.len() as u32 + u32::from(kind & 0x80 != 0));
        let flags = if kind & 0x60 == 0x60 { number } else { 0x10 };
        packet.extend_from_slice(&[0, 0, 0, 1, ((20 + options) as u8) << 2, flags, 1, 1, 0, 0, 0, 0]);
        packet.extend_from_slice(&[1, 1, 1, 1][..options]);
    } else {
        packet.extend_from_slice(&(transport as u16).to_be_bytes());
        packet.extend_from_slice(&[0, 0]);
    }
    packet.extend_from_slice(&payload);
    let addresses = if v6 {
        packet[8..40].to_vec()
    } else {
        packet[12..20].to_vec()
    };
    let protocol = if tcp { 6 } else { 17 };
    let length = (transport as u32).to_be_bytes();
    let mut sum = !naive_sum(&[&addresses, &length, &[0, 0, 0, protocol], &packet[at..]]);
    if sum == 0 {
        sum = 0xffff;
    }
    let field = at + if tcp { 16 } else { 6 };
    packet[field..field + 2].copy_from_slice(&sum.wrapping_add(u16::from(size & 31 == 31)).to_be_bytes());
    packet
}

/// Cutting what was merged gives back every packet. The input is a list of recipes and of raw packets: a
/// first byte of 255 takes the next byte's number of bytes as they are.
pub fn coalesce(data: &[u8]) {
    let (mut buffer, mut ranges, mut next, mut rest) =
        (vec![0xcc], Vec::new(), [u32::MAX - 90, 7, 65_530, 1], data);
    while let [kind, size, tail @ ..] = rest {
        let (packet, after) = match (kind, tail) {
            (255, tail) => {
                let (raw, after) = tail.split_at(tail.len().min(usize::from(*size)));
                (raw.to_vec(), after)
            }
            (_, [number, after @ ..]) => (compose([*kind, *size, *number], &mut next), after),
            (_, []) => break,
        };
        ranges.push(buffer.len()..buffer.len() + packet.len());
        buffer.extend_from_slice(&packet);
        rest = after;
    }
    let mut coalescer = Coalescer::new(true);
    for range in &ranges {
        coalescer.push(&buffer, range.clone());
    }
    coalescer.finish(&buffer);
    let mut again = Vec::new();
    for item in coalescer.items() {
        let mut whole = item.headers().to_vec();
        item.ranges()
            .for_each(|range| whole.extend_from_slice(&buffer[range]));
        assert!(whole.len() == item.len() && whole.len() <= 65_535 && item.segments() <= 128);
        if item.segments() == 1 {
            assert_eq!(item.virtio(), VirtioNetHdr::default());
        }
        let count = split(item.virtio(), &mut whole, |head, body| {
            again.push([head, body].concat())
        });
        assert_eq!(count, Ok(item.segments()));
    }
    let mut wanted: Vec<_> = ranges
        .iter()
        .map(|range| normal(&buffer[range.clone()]))
        .collect();
    let mut given: Vec<_> = again.iter().map(|packet| normal(packet)).collect();
    // Stable: the order inside a flow stays and is compared.
    wanted.sort_by_key(|packet| flow(packet));
    given.sort_by_key(|packet| flow(packet));
    assert_eq!(given.len(), wanted.len());
    for (given, wanted) in given.iter().zip(&wanted) {
        assert_eq!(given, wanted);
    }
}
