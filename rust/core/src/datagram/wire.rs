//! Headers of the link's datagrams but the relayed packet's.
//!
//! ```text
//! 0x11 initiation: type | version 1 | pattern | 0 | 4 sender index | 8 noise message | mac1 (16) | mac2 (16)
//! 0x12 response:   type | version 1 | pattern | 0 | 4 sender index | 8 receiver index | 12 noise message
//! 0x13 finish:     type | version 1 | 0 (2) | 4 receiver index | 8 noise message
//! 0x14 cookie:     type | version 1 | 0 (2) | 4 receiver index | 8 nonce (24) | 32 sealed cookie (32)
//! 0x15 control:    type | epoch | 0 (2) | 4 receiver index | 8 counter (8) | 16 ciphertext | tag (16)
//! ```

use super::noise::Pattern;

pub(super) const INITIATION: u8 = 0x11;
pub(super) const RESPONSE: u8 = 0x12;
pub(super) const FINISH: u8 = 0x13;
pub(super) const COOKIE: u8 = 0x14;
pub(super) const CONTROL: u8 = 0x15;
pub(super) const VERSION: u8 = 1;

/// No initiation is shorter, no response longer: a forged source gets no more than was sent in its name.
pub(super) const MIN_INITIATION: usize = 192;
/// Longer ones are none of ours, and not worth a hash.
pub(super) const MAX_INITIATION: usize = 512;
/// mac1 and mac2.
pub(super) const MACS: usize = 32;
/// Header of a control frame.
pub(super) const CONTROL_HEADER: usize = 16;

/// An initiation, not yet authentic.
#[derive(Debug, Clone, Copy)]
pub(super) struct Initiation<'a> {
    pub(super) header: &'a [u8; 8],
    pub(super) pattern: Pattern,
    pub(super) sender: u32,
    pub(super) noise: &'a [u8],
    /// What mac1 covers.
    pub(super) before_mac1: &'a [u8],
    pub(super) mac1: &'a [u8; 16],
    /// What mac2 covers.
    pub(super) before_mac2: &'a [u8],
    pub(super) mac2: &'a [u8; 16],
}

impl<'a> Initiation<'a> {
    pub(super) fn parse(datagram: &'a [u8]) -> Option<Self> {
        if !(MIN_INITIATION..=MAX_INITIATION).contains(&datagram.len()) {
            return None;
        }
        let (before_mac2, mac2) = datagram.split_last_chunk::<16>()?;
        let (before_mac1, mac1) = before_mac2.split_last_chunk::<16>()?;
        let (header, noise) = before_mac1.split_first_chunk::<8>()?;
        let [INITIATION, VERSION, pattern, 0, sender @ ..] = header else {
            return None;
        };
        Some(Self {
            header,
            pattern: Pattern::from_byte(*pattern)?,
            sender: u32::from_be_bytes(*sender),
            noise,
            before_mac1,
            mac1,
            before_mac2,
            mac2,
        })
    }
}

/// The clear header of an initiation.
pub(super) fn initiation_header(pattern: Pattern, sender: u32) -> [u8; 8] {
    let [a, b, c, d] = sender.to_be_bytes();
    [INITIATION, VERSION, pattern as u8, 0, a, b, c, d]
}

/// A response, not yet authentic.
#[derive(Debug, Clone, Copy)]
pub(super) struct Response<'a> {
    pub(super) pattern: Pattern,
    pub(super) sender: u32,
    pub(super) receiver: u32,
    pub(super) noise: &'a [u8],
}

impl<'a> Response<'a> {
    pub(super) fn parse(datagram: &'a [u8]) -> Option<Self> {
        let (header, noise) = datagram.split_first_chunk::<12>()?;
        let [RESPONSE, VERSION, pattern, 0, s0, s1, s2, s3, receiver @ ..] = header else {
            return None;
        };
        Some(Self {
            pattern: Pattern::from_byte(*pattern)?,
            sender: u32::from_be_bytes([*s0, *s1, *s2, *s3]),
            receiver: u32::from_be_bytes(*receiver),
            noise,
        })
    }

    pub(super) fn header(pattern: Pattern, sender: u32, receiver: u32) -> Vec<u8> {
        let mut out = vec![RESPONSE, VERSION, pattern as u8, 0];
        out.extend_from_slice(&sender.to_be_bytes());
        out.extend_from_slice(&receiver.to_be_bytes());
        out
    }
}

/// Index and body of a finish or of a cookie.
pub(super) fn addressed(kind: u8, datagram: &[u8]) -> Option<(u32, &[u8])> {
    let (header, body) = datagram.split_first_chunk::<8>()?;
    let [first, VERSION, 0, 0, receiver @ ..] = header else {
        return None;
    };
    (*first == kind).then_some((u32::from_be_bytes(*receiver), body))
}

/// The header of a finish or of a cookie.
pub(super) fn address(kind: u8, receiver: u32) -> Vec<u8> {
    let mut out = vec![kind, VERSION, 0, 0];
    out.extend_from_slice(&receiver.to_be_bytes());
    out
}

/// Epoch, receiver index and counter of a control frame, and its header.
pub(super) fn control(datagram: &[u8]) -> Option<(u8, u32, u64, [u8; CONTROL_HEADER])> {
    let header = *datagram.first_chunk::<CONTROL_HEADER>()?;
    let [CONTROL, epoch, 0, 0, i0, i1, i2, i3, counter @ ..] = header else {
        return None;
    };
    let index = u32::from_be_bytes([i0, i1, i2, i3]);
    Some((epoch, index, u64::from_be_bytes(counter), header))
}

/// The header of a control frame.
pub(super) fn control_header(epoch: u8, receiver: u32, counter: u64) -> [u8; CONTROL_HEADER] {
    let [i0, i1, i2, i3] = receiver.to_be_bytes();
    let [c0, c1, c2, c3, c4, c5, c6, c7] = counter.to_be_bytes();
    [
        CONTROL, epoch, 0, 0, i0, i1, i2, i3, c0, c1, c2, c3, c4, c5, c6, c7,
    ]
}
