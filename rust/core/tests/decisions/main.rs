//! Decisions, queues and errors: what happens to a packet and in which order that is checked.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod errors;
mod forwarding;
mod waiting;

use common::{address, transport_is_right};
use zosnet_core::fib::{Builder, Table};
use zosnet_core::forward::{LinkState, Node};
use zosnet_core::ipv6::{self, Header};

const OWN: &str = "401:1::1";
const FRIEND: &str = "402:2::2";
const RETRACTED: &str = "403:3::3";
const STRANGER: &str = "404:4::4";

fn node() -> Node {
    Node {
        address: address(OWN),
    }
}

/// Routes to FRIEND (link 1, backup 2) and to RETRACTED (none).
fn table() -> std::sync::Arc<Table> {
    let mut builder = Builder::new(10, 0);
    for (to, primary, backup) in [(FRIEND, 1u32, 2u32), (RETRACTED, 0, 0)] {
        let mut record = vec![1, 64, 0, 0];
        record.extend_from_slice(&address(to)[..8]);
        record.extend_from_slice(&[0; 8]);
        record.extend_from_slice(&[7; 32]);
        record.extend_from_slice(&primary.to_be_bytes());
        record.extend_from_slice(&backup.to_be_bytes());
        record.extend_from_slice(&[0; 4]);
        builder.apply(&record).unwrap();
    }
    builder.snapshot()
}

fn up(_: u32) -> LinkState {
    LinkState::Up
}

fn ping(src: &str, dst: &str, hop_limit: u8) -> Vec<u8> {
    let header = Header {
        traffic_class: 0x2e,
        flow_label: 0xabcde,
        len: 16,
        next_header: 58,
        hop_limit,
        src: address(src),
        dst: address(dst),
    };
    let mut packet = header.to_bytes().to_vec();
    assert_eq!(Header::parse(&[&packet[..], &[0; 16]].concat()), Ok(header));
    packet.extend_from_slice(&[128, 0, 0, 0, 0x12, 0x34, 0, 1]);
    packet.extend_from_slice(b"mycelium");
    let sum = ipv6::transport_sum(&header.src, &header.dst, 58, &packet[40..]);
    packet[42..44].copy_from_slice(&zosnet_core::checksum::finish(sum).to_be_bytes());
    assert!(transport_is_right(&packet));
    packet
}
