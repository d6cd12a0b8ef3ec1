//! Closed doors, packet by packet; and against naive models.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod connections;
mod messages;
mod model;
#[path = "../common/packets.rs"]
mod packets;
mod recall;
mod refusals;
mod rules;
mod single;
mod table;

use packets::ipv6;
use zosnet_core::Address;
use zosnet_core::filter::flows::{Limits, Recent};
use zosnet_core::filter::rules::RECORD;
use zosnet_core::filter::{Filter, Verdict};
use zosnet_core::forward::DropReason;

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 58;
const KEY: [u8; 32] = [7; 32];

/// The address `host` of node `node`.
fn address(node: u8, host: u8) -> Address {
    let mut address = [0; 16];
    (address[0], address[7], address[15]) = (4, node, host);
    address
}

fn here() -> Address {
    address(1, 1)
}

fn there() -> Address {
    address(2, 1)
}

/// A filter, what one lane keeps of it, and the time.
struct World {
    filter: Filter,
    recent: Recent,
    now: f64,
}

impl World {
    fn new() -> Self {
        Self::bounded(Limits::default())
    }

    fn bounded(limits: Limits) -> Self {
        Self {
            filter: Filter::new(99, limits),
            recent: Recent::default(),
            now: 1000.0,
        }
    }

    fn allowing(records: &[[u8; RECORD]]) -> Self {
        let world = Self::new();
        world.filter.replace(false, &records.concat()).unwrap();
        world
    }

    fn sends(&mut self, protocol: u8, payload: &[u8]) {
        let packet = ipv6(&here(), &there(), protocol, payload);
        self.filter.outbound(&mut self.recent, &KEY, &packet, self.now);
    }

    fn gets(&mut self, protocol: u8, payload: &[u8]) -> Verdict {
        self.gets_as(&KEY, &ipv6(&there(), &here(), protocol, payload))
    }

    fn gets_as(&mut self, key: &[u8; 32], packet: &[u8]) -> Verdict {
        self.filter.inbound(&mut self.recent, key, packet, self.now)
    }
}

fn refused(reason: DropReason) -> Verdict {
    Verdict::Refuse { reason, tell: false }
}

fn refused_and_told() -> Verdict {
    Verdict::Refuse {
        reason: DropReason::RefusedService,
        tell: true,
    }
}

/// A record: whom (none: anyone), protocol (none: every), ports, number.
fn allow(from: Option<&[u8; 32]>, protocol: Option<u8>, first: u16, last: u16, rule: u16) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[0] = 1;
    record[1] = u8::from(from.is_some());
    record[3] = u8::from(protocol.is_none());
    record[4] = protocol.unwrap_or(0);
    record[6..8].copy_from_slice(&rule.to_be_bytes());
    record[8..10].copy_from_slice(&first.to_be_bytes());
    record[10..12].copy_from_slice(&last.to_be_bytes());
    if let Some(key) = from {
        record[32..64].copy_from_slice(key);
    }
    record
}

fn from_prefix(mut record: [u8; RECORD], prefix: &Address, length: u8) -> [u8; RECORD] {
    (record[1], record[2]) = (2, length);
    record[16..32].copy_from_slice(prefix);
    record
}
