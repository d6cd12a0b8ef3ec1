//! What one packet costs, on one core: `cargo run --release -p zosnet-core --example throughput`.
//!
//! Each figure is the best of five rounds, in processor time where Linux tells it, so that other work on
//! the machine counts least.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use zosnet_core::checksum;
use zosnet_core::fib::Builder;
use zosnet_core::filter::flows::{Limits, Recent};
use zosnet_core::filter::{Filter, Verdict};
use zosnet_core::ipv6::{TCP, transport_sum};
use zosnet_core::offload::{Coalescer, Gso, VirtioNetHdr, split};
use zosnet_core::suite::{Nonces, OVERHEAD, StaticKey};

/// Payload of one TCP segment: MTU 1360 less 40, 20 and 12 bytes of headers.
const SEGMENT: usize = 1288;
const SEGMENTS: usize = 48;
const HEADERS: usize = 72;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(300);

/// What this thread has spent on a processor; it doesn't grow while others run.
fn processor_seconds() -> Option<f64> {
    let line = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(line.split(' ').next()?.parse::<f64>().ok()? / 1e9)
}

/// Run `work`, which handles `packets` packets of `bytes` bytes in all, and print what one costs.
fn measure(name: &str, packets: usize, bytes: usize, mut work: impl FnMut()) {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let (start, processor, mut runs) = (Instant::now(), processor_seconds(), 0u32);
        while start.elapsed() < ROUND {
            for _ in 0..16 {
                work();
            }
            runs += 16;
        }
        let wall = start.elapsed().as_secs_f64();
        let spent = processor
            .zip(processor_seconds())
            .map_or(wall, |(before, after)| after - before);
        best = best.min(spent / f64::from(runs));
    }
    let (each, rate) = (best * 1e9 / packets as f64, bytes as f64 * 8.0 / best / 1e9);
    println!("{name:<32} {each:>10.1} ns/packet {rate:>9.1} Gbit/s");
}

/// A TCP super-packet as the TUN device hands it over.
fn super_packet() -> (VirtioNetHdr, Vec<u8>) {
    let payload = SEGMENT * SEGMENTS;
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend_from_slice(&((HEADERS - 40 + payload) as u16).to_be_bytes());
    packet.extend_from_slice(&[TCP, 64]);
    packet.extend_from_slice(&[4; 32]);
    packet.extend_from_slice(&[0, 80, 0, 81, 0, 0, 0, 1, 0, 0, 0, 1, 0x80, 0x10, 1, 0, 0, 0, 0, 0]);
    packet.extend_from_slice(&[1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0]);
    packet.extend((0..payload).map(|at| at as u8));
    let gso_type = Gso::TcpV6.number();
    let hdr = VirtioNetHdr {
        flags: 1,
        gso_type,
        gso_size: SEGMENT as u16,
        ..VirtioNetHdr::default()
    };
    (hdr, packet)
}

fn crypto() {
    let (one, other) = (
        StaticKey::from_secret(&[1; 32]).unwrap(),
        StaticKey::from_secret(&[2; 32]).unwrap(),
    );
    let session = one.session(&other.public()).unwrap();
    let mut nonces = Nonces::new(|buffer| {
        buffer.fill(7);
        Ok(())
    });
    for length in [64, 1364] {
        let mut buf = vec![0; length + OVERHEAD];
        measure(&format!("seal {length} B"), 1, length, || {
            session.seal(nonces.take().unwrap(), black_box(&mut buf)).unwrap();
        });
        session.seal([9; 12], &mut buf).unwrap();
        let mut copy = buf.clone();
        measure(&format!("open {length} B (and copy)"), 1, length, || {
            copy.copy_from_slice(&buf);
            black_box(session.open(&mut copy).unwrap());
        });
    }
}

fn sums() {
    for length in [40, SEGMENT, 65_536] {
        let bytes = vec![0xa5; length];
        measure(&format!("checksum {length} B"), 1, length, || {
            black_box(checksum::sum(black_box(&bytes)));
        });
    }
}

fn offload() {
    let (hdr, packet) = super_packet();
    let mut work = packet.clone();
    let bytes = SEGMENT * SEGMENTS;
    measure("split, no copy", SEGMENTS, bytes, || {
        // Headers are patched in place.
        work[..HEADERS].copy_from_slice(&packet[..HEADERS]);
        split(hdr, black_box(&mut work), |head, body| {
            black_box((head, body));
        })
        .unwrap();
    });
    work.copy_from_slice(&packet);
    let (mut buffer, mut ranges) = (Vec::new(), Vec::new());
    split(hdr, &mut work, |head, body| {
        let start = buffer.len();
        buffer.extend_from_slice(head);
        buffer.extend_from_slice(body);
        ranges.push(start..buffer.len());
        buffer.extend_from_slice(&[0; 72]);
    })
    .unwrap();
    let address = [4; 16];
    assert!(ranges.iter().all(|range| {
        checksum::is_valid(transport_sum(
            &address,
            &address,
            TCP,
            &buffer[range.start + 40..range.end],
        ))
    }));
    let mut coalescer = Coalescer::new(true);
    measure("coalesce, no copy", SEGMENTS, bytes, || {
        coalescer.clear();
        for range in &ranges {
            coalescer.push(black_box(&buffer), range.clone());
        }
        coalescer.finish(&buffer);
        assert_eq!(coalescer.len(), 1);
    });
}

fn table() {
    let mut builder = Builder::new(100_000, 12_345);
    let mut packed = Vec::new();
    for n in 0..10_000u32 {
        packed.extend_from_slice(&[1, 64, 0, 0, 4, 0, 0, 0]);
        packed.extend_from_slice(&n.to_be_bytes());
        packed.extend_from_slice(&[0; 52]);
    }
    measure("apply 10,000 records, each", 10_000, packed.len(), || {
        builder.apply(black_box(&packed)).unwrap();
    });
    measure("snapshot of 10,000 entries", 1, packed.len(), || {
        black_box(builder.snapshot());
    });
    let table = builder.snapshot();
    let mut n = 0u32;
    measure("lookup among 10,000", 1, 16, || {
        n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let mut address = [4, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
        address[4..8].copy_from_slice(&(n % 10_000).to_be_bytes());
        black_box(table.lookup(&address).is_some());
    });
}

/// A TCP packet of one connection, as it goes out or as it comes in.
fn of_connection(port: u16, inbound: bool) -> Vec<u8> {
    let (mut packet, mut ports) = (vec![0x60, 0, 0, 0, 0, 20, TCP, 64], [port, 80]);
    let (here, there) = ([4; 16], [5; 16]);
    packet.extend_from_slice(if inbound { &there } else { &here });
    packet.extend_from_slice(if inbound { &here } else { &there });
    if inbound {
        ports.reverse();
    }
    packet.extend(ports.into_iter().flat_map(u16::to_be_bytes));
    packet.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
    packet
}

fn filter() {
    let (filter, mut recent, key) = (Filter::new(7, Limits::default()), Recent::default(), [7; 32]);
    let coming: Vec<_> = (0..10_000).map(|port| of_connection(port, true)).collect();
    for port in 0..10_000 {
        filter.outbound(&mut recent, &key, &of_connection(port, false), 1.0);
    }
    let (mut inbound, mut at) = (Recent::default(), 0);
    for flows in [1, 100, 10_000] {
        measure(&format!("filter: in, {flows} flows"), 1, 0, || {
            at = (at + 1) % flows;
            let verdict = filter.inbound(&mut inbound, &key, black_box(&coming[at]), 2.0);
            assert_eq!(verdict, Verdict::Pass);
        });
    }
    let out = of_connection(1, false);
    measure("filter: out, 1 flow", 1, 0, || {
        filter.outbound(&mut recent, &key, black_box(&out), 2.0);
    });
    let stranger = of_connection(20_000, true);
    measure("filter: refused", 1, 0, || {
        let verdict = filter.inbound(&mut inbound, &key, black_box(&stranger), 2.0);
        assert_ne!(verdict, Verdict::Pass);
    });
    filter.replace(true, &[]).unwrap();
    measure("filter: in, doors open", 1, 0, || {
        let _ = black_box(filter.inbound(&mut inbound, &key, black_box(&stranger), 2.0));
    });
}

fn main() {
    crypto();
    sums();
    offload();
    table();
    filter();
}
