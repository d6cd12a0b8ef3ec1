//! The properties that the fuzz targets check, as plain functions: `cargo test` runs each over a small fixed
//! corpus on a stable compiler, `cargo fuzz run --fuzz-dir . <target>` over what the fuzzer finds (nightly, or
//! stable with `RUSTC_BOOTSTRAP=1`). They panic when broken.

mod datagram;
mod filter;
#[path = "../../core/tests/common/keepers.rs"]
mod keepers;
#[path = "../../core/tests/common/numbers.rs"]
mod numbers;
mod offload;
mod session;

use zosnet_core::fib::{Builder, FibError, RECORD, Table};
use zosnet_core::forward::{FromLink, FromTun, LinkState, Node, Opened, from_link, from_tun, opened};
use zosnet_core::frame::{self, DataHeader, Frame, FrameError};
use zosnet_core::{Address, checksum, icmp, ipv6, upper};

pub use datagram::{link_datagrams, link_frames, link_offer};
pub use filter::filter_packet;
pub use offload::{coalesce, offload_split};
pub use session::{fragments, repairs, session_entries, session_frames, session_keeper, session_messages};

/// The node that receives, and its only friend.
const NODE: Node = Node {
    address: [4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
};
const FRIEND: Address = [5, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

/// Frames of `stream`, which becomes visible in pieces of `step` bytes, and how it ended.
fn frames(stream: &[u8], step: usize) -> (Vec<Frame>, Option<FrameError>) {
    let (mut found, mut at, mut seen) = (Vec::new(), 0, 0);
    loop {
        let visible = &stream[..seen];
        match frame::next(visible, at) {
            Ok(Some(next)) => {
                assert!(next.start == at && next.end > at && next.end <= seen);
                assert_eq!(frame::needed(&visible[at..]), next.end - next.start);
                at = next.end;
                found.push(next);
            }
            Ok(None) => {
                let needed = frame::needed(&visible[at..]);
                assert!(needed > seen - at && needed <= frame::MAX_PACKET);
                if seen == stream.len() {
                    return (found, None);
                }
                seen = stream.len().min(seen + step);
            }
            Err(error) => return (found, Some(error)),
        }
    }
}

/// A stream gives the same packets however it is cut. The first byte says how.
pub fn frame_stream(data: &[u8]) {
    let Some((step, stream)) = data.split_first() else {
        return;
    };
    let whole = frames(stream, stream.len().max(1));
    assert_eq!(frames(stream, usize::from(*step).max(1)), whole);
    for frame in whole.0 {
        if let Ok((header, payload)) = DataHeader::parse_packet(&mut stream[frame.start..frame.end].to_vec())
        {
            assert_eq!(usize::from(header.len), payload.len());
        }
    }
}

/// A table with a route to FRIEND only.
fn table() -> std::sync::Arc<Table> {
    let mut builder = Builder::new(1, 0);
    assert_eq!(builder.apply(&record(1, 64, &FRIEND, 1)), Ok(1));
    builder.snapshot()
}

fn record(op: u8, length: u8, prefix: &Address, primary: u8) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[0] = op;
    record[1] = length;
    let kept = 16.min(usize::from(length) / 8);
    record[4..4 + kept].copy_from_slice(&prefix[..kept]);
    record[55] = primary;
    record
}

/// Any data packet gets a decision, and so does what it might decrypt to and what a host might send.
pub fn data_packet(data: &[u8]) {
    let table = table();
    let links = |_| LinkState::Up;
    let mut packet = data.to_vec();
    if let Ok((header, payload)) = DataHeader::parse_packet(&mut packet) {
        match from_link(&NODE, &table, &header, links) {
            FromLink::Open { hop_limit, .. } => {
                assert!(NODE.owns(&header.dst) && hop_limit == header.hop_limit - 1);
                check_opened(&header, hop_limit, payload);
            }
            FromLink::Forward { link, hop_limit } => {
                assert!(link == 1 && hop_limit == header.hop_limit - 1 && !NODE.owns(&header.dst));
            }
            FromLink::Report { problem, sender } => {
                assert!(!NODE.owns(&header.src));
                assert_eq!(sender.is_some(), upper(&header.src) == upper(&FRIEND));
                if let Some(error) = icmp::out_of_band(problem, &NODE.network(), &header, payload) {
                    assert_eq!(frame::needed(&error), error.len());
                }
            }
            FromLink::AwaitKey { .. } | FromLink::AwaitRoute { .. } | FromLink::Drop(_) => {}
        }
    }
    let outer = DataHeader {
        len: 0,
        hop_limit: 9,
        src: FRIEND,
        dst: NODE.address,
    };
    check_opened(&outer, 8, &mut data.to_vec());
    if let FromTun::Send { hop_limit, .. } = from_tun(&NODE, &table, data, links) {
        assert!(
            hop_limit == data[7] - 1
                && upper(&FRIEND) == u64::from_be_bytes(data[24..32].try_into().unwrap())
        );
    }
}

fn check_opened(outer: &DataHeader, hop_limit: u8, plaintext: &mut [u8]) {
    if let Opened::Tun(packet) = opened(&NODE, outer, hop_limit, plaintext) {
        assert_eq!(
            (packet[8..16].to_vec(), packet[7]),
            (outer.src[..8].to_vec(), hop_limit)
        );
        assert_eq!(packet[24..32], NODE.address[..8]);
        assert_eq!(packet.len(), ipv6::Header::parse(packet).unwrap().total_len());
    }
}

/// Whatever an out-of-band error carries, the host gets a whole ICMPv6 error or nothing.
pub fn icmp_recover(data: &[u8]) {
    let outer = DataHeader {
        len: 0,
        hop_limit: 9,
        src: FRIEND,
        dst: NODE.address,
    };
    if let Ok(error) = icmp::recover(&outer, data) {
        assert!(data.ends_with(error.sealed) && upper(&error.transit) == upper(&FRIEND));
        if let Ok(Some(told)) = error.for_host(error.sealed) {
            check_icmp(&told);
        }
    }
    for problem in [icmp::Problem::NoRoute, icmp::Problem::TooBig { mtu: 1300 }] {
        if let Some(error) = icmp::local(problem, &NODE.address, data) {
            check_icmp(&error);
            assert_eq!(icmp::local(problem, &NODE.address, &error), None);
        }
    }
    if let Some(reply) = icmp::echo_reply(data) {
        check_icmp(&reply);
        assert_eq!(icmp::echo_reply(&reply), None);
    }
}

fn check_icmp(packet: &[u8]) {
    let header = ipv6::Header::parse(packet).unwrap();
    assert_eq!(
        (header.total_len(), header.next_header),
        (packet.len(), ipv6::ICMPV6)
    );
    let sum = ipv6::transport_sum(&header.src, &header.dst, ipv6::ICMPV6, &packet[ipv6::HEADER..]);
    assert!(checksum::is_valid(sum));
}

/// Records are applied or refused as a list says that is searched linearly. The first 16 bytes are looked up.
pub fn fib_records(data: &[u8]) {
    const LIMIT: usize = 8;
    let Some((probe, packed)) = data.split_first_chunk::<16>() else {
        return;
    };
    let mut builder = Builder::new(LIMIT, 99);
    let outcome = builder.apply(packed);
    let applied = match outcome {
        Ok(count) => count,
        Err(FibError::Full(at)) => at,
        Err(FibError::Length(_) | FibError::Record(_)) => 0,
    };
    let mut model: Vec<(u8, u128, u32)> = Vec::new();
    for record in packed.chunks(RECORD).take(applied) {
        let prefix = u128::from_be_bytes(record[4..20].try_into().unwrap());
        model.retain(|(length, network, _)| (*length, *network) != (record[1], prefix));
        if record[0] == 1 {
            model.push((
                record[1],
                prefix,
                u32::from_be_bytes(record[52..56].try_into().unwrap()),
            ));
        }
    }
    assert!(model.len() <= LIMIT);
    assert_eq!(builder.len(), model.len());
    let address = u128::from_be_bytes(*probe);
    let inside =
        |length: u8, network: u128| length == 0 || (address ^ network) >> (128 - u32::from(length)) == 0;
    let best = model
        .iter()
        .filter(|(length, network, _)| inside(*length, *network))
        .max_by_key(|found| found.0);
    let table = builder.snapshot();
    assert_eq!(
        table.lookup(probe).map(|entry| entry.primary),
        best.map(|found| found.2)
    );
}

#[cfg(test)]
mod tests;
