//! ICMPv6 (RFC 4443): errors for the local host, errors that a transit node sends to the source of a packet
//! it can't read (*out of band*, reference section 5.6), and answers to pings.
//!
//! ```text
//! out-of-band error, after the inner header:
//! destination of the offending packet (16) | IPv6 header, from the transit node's prefix:: (40)
//! | ICMPv6 header (8) | the offending packet's sealed payload, or nothing if that was longer than 1232
//! ```
//! Errors are rare but strangers can cause them: whoever sends them limits their rate.

use crate::frame::{DATA_HEADER, DataHeader, PACKET_HEADER};
use crate::inner::{self, INNER_HEADER, InnerType};
use crate::ipv6::{self, Header, ICMPV6};
use crate::suite::OVERHEAD;
use crate::{Address, checksum, in_overlay, upper};

/// Length of the ICMPv6 header.
pub const ICMP_HEADER: usize = 8;
/// The most that an error quotes: 1280 bytes less the headers (RFC 4443, section 2.4 c).
pub const MAX_QUOTE: usize = ipv6::MIN_MTU - ipv6::HEADER - ICMP_HEADER;
/// Hop limit of what is made here; as the reference.
const HOP_LIMIT: u8 = 64;

/// Where the checksum lies in the ICMPv6 header.
const CHECKSUM_AT: usize = 2;
const ECHO_REQUEST: u8 = 128;
const ECHO_REPLY: u8 = 129;
const REDIRECT: u8 = 137;
/// Types from here on inform; below are errors.
const FIRST_INFORMATIONAL: u8 = 128;
/// Before the sealed payload in an out-of-band error: destination, IPv6 header, ICMPv6 header.
const OUT_OF_BAND_HEADER: usize = 16 + ipv6::HEADER + ICMP_HEADER;

/// What went wrong with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Problem {
    /// 1/0: no route to the destination.
    NoRoute,
    /// 1/1: nobody lets the sender in there.
    Prohibited,
    /// 1/3: the destination is in this node's own /64, where nobody has that address.
    AddressUnreachable,
    /// 1/5: the source address isn't this node's.
    SourcePolicy,
    /// 3/0: the hop limit ran out.
    HopLimit,
    /// 2/0: the packet is longer than the path carries.
    TooBig {
        /// What the path carries, in bytes of IPv6 packet; at least 1280.
        mtu: u32,
    },
}

impl Problem {
    /// Type, code and the 32 bits after the checksum.
    const fn fields(self) -> (u8, u8, u32) {
        match self {
            Self::NoRoute => (1, 0, 0),
            Self::Prohibited => (1, 1, 0),
            Self::AddressUnreachable => (1, 3, 0),
            Self::SourcePolicy => (1, 5, 0),
            Self::HopLimit => (3, 0, 0),
            Self::TooBig { mtu } => (2, 0, mtu),
        }
    }

    /// The name of its counter.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoRoute => "no_route",
            Self::Prohibited => "prohibited",
            Self::AddressUnreachable => "address_unreachable",
            Self::SourcePolicy => "source_policy",
            Self::HopLimit => "hop_limit",
            Self::TooBig { .. } => "too_big",
        }
    }
}

/// An ICMPv6 error about `offending`, an IPv6 packet, for the one who sent it: the local host, or another one
/// whose packet came in. `node` is this node's address; the packet's own source stands in for it where the reference does so (3/0 and 1/0).
///
/// None where RFC 4443, section 2.4 e, forbids an error: about another error or a redirect, about multicast
/// (unless it is too big), to no single node. None too for what isn't IPv6.
#[must_use]
pub fn local(problem: Problem, node: &Address, offending: &[u8]) -> Option<Vec<u8>> {
    // A super-packet, cut to what is quoted: only its header must be whole.
    let (head, _) = offending.split_first_chunk::<{ ipv6::HEADER }>()?;
    let src: Address = *head.get(8..24)?.first_chunk()?;
    let dst: Address = *head.get(24..40)?.first_chunk()?;
    let too_big = matches!(problem, Problem::TooBig { .. });
    let unanswerable = head[0] >> 4 != 6
        || src == [0; 16]
        || src[0] == 0xff
        || (dst[0] == 0xff && !too_big)
        || is_error(offending);
    if unanswerable {
        return None;
    }
    let from = match problem {
        Problem::NoRoute | Problem::HopLimit => &src,
        _ => node,
    };
    let quote = offending.get(..MAX_QUOTE).unwrap_or(offending);
    Some(build(problem, from, &src, quote))
}

/// An ICMPv6 error of the router `from` to the sender of `offending`, a whole IPv6 packet that ended at that router.
///
/// None where RFC 4443, section 2.4 e, forbids one.
#[must_use]
pub fn of_router(problem: Problem, from: &Address, offending: &[u8]) -> Option<Vec<u8>> {
    let mut error = local(problem, from, offending)?;
    // `local` may let the host speak to itself, which only makes sense on that host.
    let dst: Address = *error.get(24..40)?.first_chunk()?;
    let quote = error.split_off(ipv6::HEADER + ICMP_HEADER);
    Some(build(problem, from, &dst, &quote))
}

/// Whether `packet` is itself an ICMPv6 error or a redirect. An ICMPv6 packet without its type counts too.
fn is_error(packet: &[u8]) -> bool {
    match ipv6::transport(packet) {
        Some((ICMPV6, at)) => packet
            .get(at)
            .is_none_or(|kind| *kind < FIRST_INFORMATIONAL || *kind == REDIRECT),
        _ => false,
    }
}

/// The whole ICMPv6 error, IPv6 header included.
fn build(problem: Problem, src: &Address, dst: &Address, quote: &[u8]) -> Vec<u8> {
    let (kind, code, rest) = problem.fields();
    let mut body = Vec::with_capacity(ipv6::HEADER + ICMP_HEADER + quote.len());
    let len = u16::try_from(ICMP_HEADER + quote.len()).unwrap_or(u16::MAX);
    let header = Header {
        traffic_class: 0,
        flow_label: 0,
        len,
        next_header: ICMPV6,
        hop_limit: HOP_LIMIT,
        src: *src,
        dst: *dst,
    };
    let [r0, r1, r2, r3] = rest.to_be_bytes();
    let bare = [kind, code, 0, 0, r0, r1, r2, r3];
    let sum =
        checksum::pseudo_ipv6(src, dst, ICMPV6, len.into()) + checksum::sum(&bare) + checksum::sum(quote);
    let [c0, c1] = checksum::finish(sum).to_be_bytes();
    body.extend_from_slice(&header.to_bytes());
    body.extend_from_slice(&[kind, code, c0, c1, r0, r1, r2, r3]);
    body.extend_from_slice(quote);
    body
}

/// A transit node's error about a data packet, as a whole data packet to its source: packet header, data
/// header (hop limit 63: this node has already counted itself), plaintext, and room for tag and nonce.
/// Seal `[SEALED_AT..]` with the session of `offender.src`.
///
/// `transit` is the node's `prefix::` ([`crate::forward::Node::network`]). None for a problem that transit
/// nodes don't report, when the source isn't in the overlay, and when it is a `prefix::`: then the offender
/// is such an error itself, and errors about errors could chase each other through a routing loop.
#[must_use]
pub fn out_of_band(
    problem: Problem,
    transit: &Address,
    offender: &DataHeader,
    payload: &[u8],
) -> Option<Vec<u8>> {
    let from_transit = offender.src[8..] == [0; 8];
    if !matches!(problem, Problem::NoRoute | Problem::HopLimit) || !in_overlay(&offender.src) || from_transit
    {
        return None;
    }
    let quote = if payload.len() <= MAX_QUOTE { payload } else { &[] };
    let error = build(problem, transit, &offender.src, quote);
    let len = u16::try_from(INNER_HEADER + 16 + error.len() + OVERHEAD).ok()?;
    let header = DataHeader {
        len,
        hop_limit: HOP_LIMIT - 1,
        src: *transit,
        dst: offender.src,
    };
    let mut packet = vec![0; SEALED_AT];
    header.write_packet(&mut packet).ok()?;
    packet.extend_from_slice(&inner::header(InnerType::Icmp));
    packet.extend_from_slice(&offender.dst);
    packet.extend_from_slice(&error);
    packet.resize(packet.len() + OVERHEAD, 0);
    Some(packet)
}

/// Where the part to be sealed begins in a data packet.
pub const SEALED_AT: usize = PACKET_HEADER + DATA_HEADER;

/// Why an out-of-band error is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    /// Shorter than its headers, longer than any error may be, or of inconsistent lengths.
    #[error("an out-of-band error of {0} bytes")]
    Length(usize),
    /// Not an ICMPv6 error for this node, or its checksum is wrong.
    #[error("not an ICMPv6 error for this node")]
    Malformed,
    /// The inner addresses aren't those of the node that sealed it.
    #[error("the error isn't from the node that sealed it")]
    Source,
    /// It doesn't carry the offending payload: that was longer than 1232 bytes.
    #[error("the offending packet isn't in it")]
    Empty,
    /// The recovered packet isn't one that this node sent to that destination.
    #[error("the offending packet isn't this node's")]
    NotOurs,
}

/// An out-of-band error, checked as far as it can be without the offending packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutOfBand<'p> {
    /// The transit node, always the `prefix::` form with a stock node.
    pub transit: Address,
    /// Where the offending packet was going: open `sealed` with the session of this address.
    pub destination: Address,
    /// This node's address, to which the error goes.
    pub local: Address,
    /// What went wrong.
    pub problem: Problem,
    /// The offending packet's payload, as this node sealed it. Never empty.
    pub sealed: &'p [u8],
}

/// Read the body (after the inner header) of an out-of-band error that was opened with the key of the owner
/// of `outer.src`.
///
/// # Errors
/// It makes no sense, or its transit node isn't the one that sealed it.
pub fn recover<'p>(outer: &DataHeader, body: &'p [u8]) -> Result<OutOfBand<'p>, RecoverError> {
    let length = RecoverError::Length(body.len());
    if body.len() > OUT_OF_BAND_HEADER + MAX_QUOTE {
        return Err(length);
    }
    let (destination, packet) = body.split_first_chunk::<16>().ok_or(length)?;
    let header = Header::parse(packet).map_err(|_| length)?;
    if header.total_len() != packet.len() || header.next_header != ICMPV6 {
        return Err(RecoverError::Malformed);
    }
    let icmp = packet.get(ipv6::HEADER..).ok_or(length)?;
    let (fields, sealed) = icmp.split_first_chunk::<ICMP_HEADER>().ok_or(length)?;
    if !checksum::is_valid(ipv6::transport_sum(&header.src, &header.dst, ICMPV6, icmp)) {
        return Err(RecoverError::Malformed);
    }
    if upper(&header.src) != upper(&outer.src) || upper(&header.dst) != upper(&outer.dst) {
        return Err(RecoverError::Source);
    }
    let problem = match fields {
        [1, 0, ..] => Problem::NoRoute,
        [3, 0, ..] => Problem::HopLimit,
        _ => return Err(RecoverError::Malformed),
    };
    if sealed.is_empty() {
        return Err(RecoverError::Empty);
    }
    Ok(OutOfBand {
        transit: header.src,
        destination: *destination,
        local: header.dst,
        problem,
        sealed,
    })
}

impl OutOfBand<'_> {
    /// The ICMPv6 error for the local host, once `sealed` is opened: `offending` is the IPv6 packet in it,
    /// after the inner header. None where an error must not be answered by one.
    ///
    /// # Errors
    /// [`RecoverError::NotOurs`] if the packet didn't go from this node to that destination. The key is the
    /// same in both directions, so without this check the other end could make up errors about its own.
    pub fn for_host(&self, offending: &[u8]) -> Result<Option<Vec<u8>>, RecoverError> {
        let header = Header::parse(offending).map_err(|_| RecoverError::NotOurs)?;
        let ours = upper(&header.src) == upper(&self.local);
        if !ours || upper(&header.dst) != upper(&self.destination) {
            return Err(RecoverError::NotOurs);
        }
        if is_error(offending) {
            return Ok(None);
        }
        let quote = offending.get(..MAX_QUOTE).unwrap_or(offending);
        Ok(Some(build(self.problem, &self.transit, &header.src, quote)))
    }
}

/// The answer to an ICMPv6 echo request, for nodes without a TUN device. None unless `packet` is one, whole
/// and with a right checksum, to a single node.
#[must_use]
pub fn echo_reply(packet: &[u8]) -> Option<Vec<u8>> {
    let header = Header::parse(packet).ok()?;
    let request = packet.get(ipv6::HEADER..header.total_len())?;
    let sum = ipv6::transport_sum(&header.src, &header.dst, ICMPV6, request);
    let [ECHO_REQUEST, 0, ..] = request else {
        return None;
    };
    let unicast = header.dst[0] != 0xff && header.src[0] != 0xff && header.src != [0; 16];
    if header.next_header != ICMPV6 || request.len() < ICMP_HEADER || !checksum::is_valid(sum) || !unicast {
        return None;
    }
    let answer = Header {
        src: header.dst,
        dst: header.src,
        hop_limit: HOP_LIMIT,
        ..header
    };
    let mut reply = answer.to_bytes().to_vec();
    reply.extend_from_slice(request);
    let body = reply.get_mut(ipv6::HEADER..)?;
    *body.first_chunk_mut()? = [ECHO_REPLY, 0, 0, 0];
    let sum = ipv6::transport_sum(&answer.src, &answer.dst, ICMPV6, body);
    body.get_mut(CHECKSUM_AT..)?
        .first_chunk_mut()
        .map(|at| *at = checksum::finish(sum).to_be_bytes())?;
    Some(reply)
}
