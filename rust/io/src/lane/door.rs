//! The door of this host: what the filter lets in over the overlay, and what goes out through it.
//!
//! A lane asks before it delivers a packet or a message, and tells of each packet of this host that it sends.

use std::sync::Arc;

use zosnet_core::Address;
use zosnet_core::filter::flows::Recent;
use zosnet_core::filter::{Filter, Verdict};
use zosnet_core::forward::DropReason;
use zosnet_core::icmp::{self, Problem};

use crate::counters::Counter;

use super::Lane;
use super::bounds::Allowance;

/// The filter that all lanes share, and what this lane keeps of it.
pub struct Door {
    filter: Arc<Filter>,
    recent: Recent,
    /// Refusals that may still be answered: strangers cause them.
    answers: Allowance,
}

impl Door {
    /// The way in and out of one lane.
    pub fn new(filter: Arc<Filter>) -> Self {
        Self {
            filter,
            recent: Recent::default(),
            answers: Allowance::default(),
        }
    }

    /// A packet of this host goes out to the node of `key`: its answers may come in.
    pub fn packet_out(&mut self, key: &[u8; 32], packet: &[u8], now: f64) {
        self.filter.outbound(&mut self.recent, key, packet, now);
    }

    /// A packet of the message protocol goes out: its answers may come in.
    pub fn message_out(&mut self, destination: &Address, body: &[u8], now: f64) {
        self.filter.message_out(&mut self.recent, destination, body, now);
    }
}

impl Lane {
    /// Whether a packet that was opened with the session of `key` may come in. One that may not is counted, and its
    /// sender told if that helps it.
    pub(super) fn lets_in(&mut self, key: &[u8; 32], packet: &[u8]) -> bool {
        let (door, now) = (&mut self.door, self.carrier.now);
        let Verdict::Refuse { reason, tell } = door.filter.inbound(&mut door.recent, key, packet, now) else {
            return true;
        };
        self.carrier.dropped(reason, 1);
        if tell
            && self.door.answers.allow(now)
            && let Some(error) = icmp::local(Problem::Prohibited, &self.node.address, packet)
        {
            self.count(Counter::IcmpErrors, 1);
            self.inject(error);
        }
        false
    }

    /// The same for a packet of the message protocol.
    pub(super) fn lets_message_in(&mut self, key: &[u8; 32], source: &Address, body: &[u8]) -> bool {
        let (door, now) = (&mut self.door, self.carrier.now);
        let may = door.filter.message_in(&mut door.recent, key, source, body, now);
        if !may {
            self.carrier.dropped(DropReason::RefusedMessage, 1);
        }
        may
    }
}
