//! Super-packets: cutting, merging, and both together.
#![allow(clippy::unwrap_used)]

mod coalesce;
#[path = "../common/mod.rs"]
mod common;
mod round_trip;
mod split;

use common::Flow;
use proptest::prelude::*;
use zosnet_core::offload::{self, Coalescer, Gso, OffloadError, VirtioNetHdr};

const ACK: u8 = 0x10;

fn gso_of(flow: &Flow) -> Gso {
    match (flow.tcp, flow.v6) {
        (false, _) => Gso::UdpL4,
        (true, true) => Gso::TcpV6,
        (true, false) => Gso::TcpV4,
    }
}

fn header(flow: &Flow, size: u16) -> VirtioNetHdr {
    VirtioNetHdr {
        flags: VirtioNetHdr::NEEDS_CSUM,
        gso_type: gso_of(flow).number(),
        hdr_len: flow.headers_len() as u16,
        gso_size: size,
        csum_start: flow.transport_at() as u16,
        csum_offset: if flow.tcp { 16 } else { 6 },
    }
}

fn cut(hdr: VirtioNetHdr, packet: &[u8]) -> Result<Vec<Vec<u8>>, OffloadError> {
    let mut all = Vec::new();
    let count = offload::split(hdr, &mut packet.to_vec(), |head, body| {
        all.push([head, body].concat())
    })?;
    assert_eq!(count, all.len());
    Ok(all)
}

/// Merge packets and return what would be written.
fn merge(packets: &[Vec<u8>]) -> Vec<(VirtioNetHdr, Vec<u8>)> {
    merge_as(packets, false)
}

fn merge_as(packets: &[Vec<u8>], partial: bool) -> Vec<(VirtioNetHdr, Vec<u8>)> {
    let mut buffer = vec![0xee; 3];
    let mut coalescer = Coalescer::new(true);
    let mut ranges = Vec::new();
    for packet in packets {
        let start = buffer.len();
        buffer.extend_from_slice(packet);
        ranges.push(start..buffer.len());
        buffer.extend_from_slice(&[0xee; 68]);
    }
    // The second round must not remember the first.
    let mut written = Vec::new();
    for _ in 0..2 {
        coalescer.clear();
        for range in &ranges {
            coalescer.push_as(&buffer, range.clone(), partial);
        }
        coalescer.finish(&buffer);
        written = coalescer
            .items()
            .map(|item| {
                let mut bytes = item.headers().to_vec();
                item.ranges()
                    .for_each(|range| bytes.extend_from_slice(&buffer[range]));
                assert_eq!(bytes.len(), item.len());
                (item.virtio(), bytes)
            })
            .collect();
    }
    written
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
}

fn flow() -> impl Strategy<Value = Flow> {
    (
        any::<bool>(),
        any::<bool>(),
        any::<u32>(),
        any::<u16>(),
        0usize..10,
    )
        .prop_map(|(v6, tcp, sequence, id, words)| Flow {
            v6,
            tcp,
            sequence,
            id,
            options: vec![1; words * 4],
            ..Flow::default()
        })
}
