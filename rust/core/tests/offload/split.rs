//! Cutting super-packets as the host's kernel would have.

use proptest::collection::vec;
use proptest::prelude::*;
use zosnet_core::offload::{OffloadError, VirtioNetHdr};

use crate::common::Flow;
use crate::{ACK, bytes, cut, flow, header};

const ALL_FLAGS: u8 = 0x80 | 0x10 | 0x08 | 0x01;

proptest! {
    #[test]
    fn cutting_makes_the_packets_that_the_host_would_have_made(
        flow in flow(), payload in vec(any::<u8>(), 1..3000), size in 1usize..1500,
    ) {
        let flow = Flow { flags: ALL_FLAGS, ..flow };
        let parts = cut(header(&flow, size as u16), &flow.packet(&payload, true)).unwrap();
        let count = payload.len().div_ceil(size);
        for (index, piece) in payload.chunks(size).enumerate() {
            let mut flags = ACK;
            flags |= if index == 0 { 0x80 } else { 0 };
            flags |= if index + 1 == count { 0x09 } else { 0 };
            let wanted = Flow {
                flags,
                sequence: flow.sequence.wrapping_add((index * size) as u32),
                id: flow.id.wrapping_add(index as u16),
                ..flow.clone()
            };
            prop_assert_eq!(&parts[index], &wanted.packet(piece, false));
        }
        prop_assert_eq!(parts.len(), count);
    }

    #[test]
    fn an_ordinary_packet_gets_its_checksum_completed(flow in flow(), payload in vec(any::<u8>(), 0..1300)) {
        let hdr = VirtioNetHdr { gso_type: 0, gso_size: 0, hdr_len: 0, ..header(&flow, 0) };
        prop_assert_eq!(cut(hdr, &flow.packet(&payload, true)).unwrap(), [flow.packet(&payload, false)]);
        let done = VirtioNetHdr::default();
        prop_assert_eq!(cut(done, &flow.packet(&payload, false)).unwrap(), [flow.packet(&payload, false)]);
    }

    #[test]
    fn any_bytes_are_cut_or_refused(hdr in any::<[u8; 10]>(), kind in 0u8..6, packet in vec(any::<u8>(), 0..200)) {
        let (mut hdr, _) = VirtioNetHdr::parse(&mut hdr.clone()).map(|(hdr, _)| (hdr, ())).unwrap();
        hdr.gso_type = kind;
        let mut sized = packet.clone();
        if let Some(first) = sized.first_mut() {
            *first = if *first & 1 == 0 { 0x60 } else { 0x45 };
        }
        let _ = cut(hdr, &packet);
        let _ = cut(hdr, &sized);
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    let flow = Flow::default();
    let packet = flow.packet(&bytes(3000), true);
    let hdr = header(&flow, 1000);
    assert_eq!(
        cut(VirtioNetHdr { gso_size: 0, ..hdr }, &packet),
        Err(OffloadError::Size)
    );
    assert_eq!(
        cut(VirtioNetHdr { gso_type: 1, ..hdr }, &packet),
        Err(OffloadError::Type(1))
    );
    assert_eq!(
        cut(VirtioNetHdr { gso_type: 3, ..hdr }, &packet),
        Err(OffloadError::Type(3))
    );
    assert_eq!(cut(hdr, &packet[..2999]), Err(OffloadError::Short));
    assert_eq!(cut(hdr, &[0x10; 60]), Err(OffloadError::Version));
    let outside = VirtioNetHdr {
        gso_type: 0,
        csum_start: 4000,
        ..hdr
    };
    assert_eq!(cut(outside, &packet), Err(OffloadError::Checksum));
    // The ECN bit of the type and a wrong header length change nothing.
    let parts = cut(hdr, &packet).unwrap();
    assert_eq!(
        cut(
            VirtioNetHdr {
                gso_type: hdr.gso_type | 0x80,
                hdr_len: 9,
                ..hdr
            },
            &packet
        )
        .unwrap(),
        parts
    );
}
