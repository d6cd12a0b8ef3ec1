//! What to do with a packet: decisions as values, in the order of checks of the reference (sections 5.4 to
//! 5.6), and the address checks that it lacks (section 9.1).
//!
//! Nothing here sends, queues or allocates. A lane asks, and carries the answer out.

use std::sync::Arc;

pub use crate::reason::DropReason;

use crate::fib::{Entry, SPREAD, Table};
use crate::frame::DataHeader;
use crate::icmp::Problem;
use crate::inner::{self, InnerError, InnerType};
use crate::{Address, in_overlay, ipv6, suite, upper};

/// How a link does, as the lane sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// Packets get through.
    Up,
    /// Nothing is acknowledged at the moment: use another one if there is one.
    Stalled,
    /// It doesn't exist any more.
    Gone,
}

/// The link to use for `entry`: the primary; while it is silent or gone the backup, if that is up; a stalled
/// one rather than none. None when neither exists.
#[inline]
#[must_use]
pub fn next_hop(entry: &Entry, links: impl Fn(u32) -> LinkState) -> Option<u32> {
    let state = |link: u32| if link == 0 { LinkState::Gone } else { links(link) };
    let primary = state(entry.primary);
    if primary == LinkState::Up {
        return Some(entry.primary);
    }
    match (primary, state(entry.backup)) {
        (_, LinkState::Up) => Some(entry.backup),
        (LinkState::Stalled, _) => Some(entry.primary),
        (_, LinkState::Stalled) => Some(entry.backup),
        _ => None,
    }
}

/// The same for packets of one flow: spread over both links where they are equally good and both up. A flow keeps its
/// link, so its packets keep their order.
#[inline]
fn next_hop_of(entry: &Entry, links: impl Fn(u32) -> LinkState, flow: impl FnOnce() -> u64) -> Option<u32> {
    let spread = entry.flags & SPREAD != 0
        && links(entry.primary) == LinkState::Up
        && links(entry.backup) == LinkState::Up;
    if !spread {
        return next_hop(entry, links);
    }
    let odd = flow() & 1 == 1;
    Some(if odd { entry.backup } else { entry.primary })
}

/// A number that all packets of a flow have in common: of addresses, protocol and ports of an IPv6 packet.
#[inline]
fn flow_of(packet: &[u8]) -> u64 {
    let addresses = packet.get(8..ipv6::HEADER).unwrap_or_default();
    let ports = match packet.get(6) {
        Some(&(ipv6::TCP | ipv6::UDP)) => packet.get(ipv6::HEADER..ipv6::HEADER + 4),
        _ => None,
    };
    mix(addresses) ^ mix(ports.unwrap_or_default())
}

/// Mix bytes to a number: FNV-1a, its upper half folded into the lower. Only for balance; nobody is kept out by it.
#[inline]
fn mix(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash ^ hash >> 32 ^ hash >> 17
}

/// The overlay place of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// Its address.
    pub address: Address,
}

impl Node {
    /// Whether `address` is in this node's own /64.
    #[inline]
    #[must_use]
    pub fn owns(&self, address: &Address) -> bool {
        upper(&self.address) == upper(address)
    }

    /// The network address of its /64, from which errors of transit nodes come.
    #[must_use]
    pub fn network(&self) -> Address {
        (u128::from(upper(&self.address)) << 64).to_be_bytes()
    }
}

/// What to do with a data packet that came over a link.
#[derive(Debug)]
#[must_use]
pub enum FromLink<'t> {
    /// It is for this node: open it with the session of `sender`, then ask [`opened`].
    Open {
        /// The entry whose key it must be sealed under.
        sender: &'t Arc<Entry>,
        /// What remains of the hop limit.
        hop_limit: u8,
    },
    /// It is for this node, but its sender's key isn't known: keep the whole packet as it came, and ask for
    /// the route to `prefix`.
    AwaitKey {
        /// The sender's /64.
        prefix: u64,
    },
    /// Send it on, with this hop limit ([`crate::frame::prepare_forward`]).
    Forward {
        /// The link to use.
        link: u32,
        /// The hop limit to write.
        hop_limit: u8,
    },
    /// Keep the whole packet as it came, and ask for the route to `prefix`.
    AwaitRoute {
        /// The destination's /64.
        prefix: u64,
    },
    /// Tell the sender out of band ([`crate::icmp::out_of_band`]), if its key and a route to it are known;
    /// else ask for the route to it, and drop the error.
    Report {
        /// What to tell.
        problem: Problem,
        /// The sender's entry.
        sender: Option<&'t Arc<Entry>>,
    },
    /// Count it and forget it.
    Drop(DropReason),
}

/// Decide about a data packet that came over a link. Marks the entry that it uses.
#[inline]
pub fn from_link<'t>(
    node: &Node,
    table: &'t Table,
    header: &DataHeader,
    links: impl Fn(u32) -> LinkState,
) -> FromLink<'t> {
    if !in_overlay(&header.src) || !in_overlay(&header.dst) {
        return FromLink::Drop(DropReason::NotOverlay);
    }
    // The final node counts as a hop too, as in the reference.
    if header.hop_limit < 2 {
        return report(node, table, header, Problem::HopLimit);
    }
    let hop_limit = header.hop_limit - 1;
    if node.owns(&header.dst) {
        return to_this_node(node, table, header, hop_limit);
    }
    let Some(entry) = table.lookup(&header.dst) else {
        return FromLink::AwaitRoute {
            prefix: upper(&header.dst),
        };
    };
    match next_hop_of(entry, links, || mix(&header.src) ^ mix(&header.dst)) {
        Some(link) => {
            entry.mark_used();
            FromLink::Forward { link, hop_limit }
        }
        None => report(node, table, header, Problem::NoRoute),
    }
}

fn to_this_node<'t>(node: &Node, table: &'t Table, header: &DataHeader, hop_limit: u8) -> FromLink<'t> {
    if node.owns(&header.src) {
        return FromLink::Drop(DropReason::OwnSource);
    }
    if usize::from(header.len) < inner::INNER_HEADER + suite::OVERHEAD {
        return FromLink::Drop(DropReason::ShortPayload);
    }
    match table.lookup(&header.src) {
        Some(sender) => {
            sender.mark_used();
            FromLink::Open { sender, hop_limit }
        }
        None => FromLink::AwaitKey {
            prefix: upper(&header.src),
        },
    }
}

/// An error about a packet that says it is from this node would go to this node: nobody to tell.
fn report<'t>(node: &Node, table: &'t Table, header: &DataHeader, problem: Problem) -> FromLink<'t> {
    if node.owns(&header.src) {
        return FromLink::Drop(DropReason::NoRoute);
    }
    FromLink::Report {
        problem,
        sender: table.lookup(&header.src),
    }
}

/// What to do with a packet from the TUN device, or injected in its place.
#[derive(Debug)]
#[must_use]
pub enum FromTun<'t> {
    /// Seal it for the node of `entry` and send it, with this hop limit in the data header. The IPv6 packet
    /// itself isn't changed.
    Send {
        /// The entry whose key it is sealed under.
        entry: &'t Arc<Entry>,
        /// The link to use.
        link: u32,
        /// The hop limit of the data header.
        hop_limit: u8,
    },
    /// Keep the packet, and ask for the route to `prefix`.
    Await {
        /// The destination's /64.
        prefix: u64,
    },
    /// Tell the host ([`crate::icmp::local`]).
    Refuse(Problem),
    /// Count it and forget it.
    Drop(DropReason),
}

/// Decide about an IPv6 packet of this host, whole or a super-packet: only its header is looked at.
#[inline]
pub fn from_tun<'t>(
    node: &Node,
    table: &'t Table,
    packet: &[u8],
    links: impl Fn(u32) -> LinkState,
) -> FromTun<'t> {
    let Ok(header) = ipv6::Header::parse(packet) else {
        return FromTun::Drop(DropReason::NotIpv6);
    };
    if header.dst[0] == 0xff {
        return FromTun::Drop(DropReason::Multicast);
    }
    if node.owns(&header.dst) {
        return FromTun::Refuse(Problem::AddressUnreachable);
    }
    // The reference lets any source of 400::/7 pass. Nobody could answer outside this /64, and nodes that
    // check, as this one does, would drop it.
    if !node.owns(&header.src) {
        return FromTun::Refuse(Problem::SourcePolicy);
    }
    if header.hop_limit < 2 {
        return FromTun::Refuse(Problem::HopLimit);
    }
    match outgoing_in(table, &header.dst, links, || flow_of(packet)) {
        Outgoing::Send { entry, link } => FromTun::Send {
            entry,
            link,
            hop_limit: header.hop_limit - 1,
        },
        Outgoing::Await { prefix } => FromTun::Await { prefix },
        Outgoing::NoRoute => FromTun::Refuse(Problem::NoRoute),
    }
}

/// Where something that this node itself sends has to go.
#[derive(Debug)]
#[must_use]
pub enum Outgoing<'t> {
    /// Seal it for the node of `entry` and send it.
    Send {
        /// The entry whose key it is sealed under.
        entry: &'t Arc<Entry>,
        /// The link to use.
        link: u32,
    },
    /// Keep it, and ask for the route to `prefix`. Also when the prefix is known but retracted: a new route
    /// may be found within the time that it waits.
    Await {
        /// The destination's /64.
        prefix: u64,
    },
    /// Not an address of the overlay: no route will ever be found.
    NoRoute,
}

/// Decide about something that this node sends to `dst`, a message for instance. Marks the entry.
#[inline]
pub fn outgoing<'t>(table: &'t Table, dst: &Address, links: impl Fn(u32) -> LinkState) -> Outgoing<'t> {
    outgoing_in(table, dst, links, || mix(dst))
}

#[inline]
fn outgoing_in<'t>(
    table: &'t Table,
    dst: &Address,
    links: impl Fn(u32) -> LinkState,
    flow: impl FnOnce() -> u64,
) -> Outgoing<'t> {
    if let Some(entry) = table.lookup(dst)
        && let Some(link) = next_hop_of(entry, links, flow)
    {
        entry.mark_used();
        return Outgoing::Send { entry, link };
    }
    if in_overlay(dst) {
        Outgoing::Await { prefix: upper(dst) }
    } else {
        Outgoing::NoRoute
    }
}

/// What to do with an opened payload.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Opened<'p> {
    /// Write this whole IPv6 packet to the TUN device. Its hop limit is already what remains.
    Tun(&'p mut [u8]),
    /// A piece of the message protocol, without the inner header.
    Message(&'p [u8]),
    /// An error of a transit node, for [`crate::icmp::recover`].
    Error(&'p [u8]),
    /// Count it and forget it.
    Drop(DropReason),
}

/// Decide about a payload that was opened with the key of the owner of `outer.src`.
///
/// The outer header isn't authenticated, the inner one is: so the inner source must be in the /64 of the key
/// and the inner destination in this node's, or any node could speak in another's name.
#[inline]
pub fn opened<'p>(node: &Node, outer: &DataHeader, hop_limit: u8, plaintext: &'p mut [u8]) -> Opened<'p> {
    match inner::parse(plaintext) {
        Ok((InnerType::L3, packet)) => opened_l3(node, outer, hop_limit, packet),
        Ok((InnerType::Message, body)) => Opened::Message(body),
        Ok((InnerType::Icmp, body)) => Opened::Error(body),
        Err(InnerError::Short | InnerError::Version(_) | InnerError::Type(_)) => {
            Opened::Drop(DropReason::UnknownInner)
        }
    }
}

#[inline]
fn opened_l3<'p>(node: &Node, outer: &DataHeader, hop_limit: u8, packet: &'p mut [u8]) -> Opened<'p> {
    let Ok(header) = ipv6::Header::parse(packet) else {
        return Opened::Drop(DropReason::BadInner);
    };
    if upper(&header.src) != upper(&outer.src) {
        return Opened::Drop(DropReason::InnerSource);
    }
    if !node.owns(&header.dst) {
        return Opened::Drop(DropReason::InnerDestination);
    }
    let Some(packet) = packet.get_mut(..header.total_len()) else {
        return Opened::Drop(DropReason::BadInner);
    };
    if let Some(byte) = packet.get_mut(ipv6::HOP_LIMIT_AT) {
        *byte = hop_limit;
    }
    Opened::Tun(packet)
}
