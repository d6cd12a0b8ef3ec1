//! The Internet checksum (RFC 1071) over headers and payloads, wide enough for the packet path.
//!
//! A *sum* here is a ones'-complement sum of big-endian 16-bit words, not yet folded or complemented, in a
//! u64 with room for some 2^48 folded addends. Parts are added with `+`, provided each part but the last
//! has an even length (see [`swap`] for the odd ones).

use crate::Address;

/// Bytes per round of the unrolled loop: sixteen u32 words, which compilers turn into vector additions.
const BLOCK: usize = 64;
const LANES: usize = BLOCK / 4;
/// Rounds before the lanes are emptied: a lane grows by less than 2^32 a round, and all of them are added.
const ROUNDS: usize = 1 << 24;

/// The sum over `bytes`, of any length; an odd last byte counts as if a zero followed.
#[inline]
#[must_use]
pub fn sum(bytes: &[u8]) -> u64 {
    // Ones'-complement sums don't depend on the byte order, so native words are added, and swapped once.
    let mut total = 0u64;
    for piece in bytes.chunks(BLOCK * ROUNDS) {
        total += u64::from(fold(sum_native(piece)));
    }
    u64::from(fold(total).swap_bytes())
}

/// The sum over at most `BLOCK * ROUNDS` bytes, in little-endian words.
#[inline]
fn sum_native(bytes: &[u8]) -> u64 {
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    // Headers are shorter than a block, and there are two of them for every payload.
    let mut total = if blocks.is_empty() { 0 } else { sum_blocks(blocks) };
    let (words, rest) = rest.as_chunks::<4>();
    total += words
        .iter()
        .map(|word| u64::from(u32::from_le_bytes(*word)))
        .sum::<u64>();
    let mut last = [0; 4];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    total + u64::from(u32::from_le_bytes(last))
}

#[inline]
fn sum_blocks(blocks: &[[u8; BLOCK]]) -> u64 {
    let mut lanes = [0u64; LANES];
    for block in blocks {
        let (words, _) = block.as_chunks::<4>();
        for (lane, word) in lanes.iter_mut().zip(words) {
            *lane += u64::from(u32::from_le_bytes(*word));
        }
    }
    lanes.iter().sum()
}

/// Fold a sum into 16 bits.
#[inline]
#[must_use]
pub const fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// The checksum field for a sum over everything else.
#[inline]
#[must_use]
pub const fn finish(sum: u64) -> u16 {
    !fold(sum)
}

/// As [`finish`], with zero replaced by its other representation. UDP has no choice (RFC 768: zero means
/// "none"), and for every other protocol the two are equal.
#[inline]
#[must_use]
pub const fn finish_nonzero(sum: u64) -> u16 {
    match finish(sum) {
        0 => 0xffff,
        other => other,
    }
}

/// The sum of a part that starts at an odd offset, from the sum computed as if it started at an even one.
#[inline]
#[must_use]
pub const fn swap(sum: u64) -> u64 {
    fold(sum).swap_bytes() as u64
}

/// Whether a sum over data that includes its checksum field is right.
#[inline]
#[must_use]
pub const fn is_valid(sum: u64) -> bool {
    fold(sum) == 0xffff
}

/// The sum of the IPv6 pseudo header (RFC 8200, section 8.1). `length` is that of transport header and data.
#[inline]
#[must_use]
pub fn pseudo_ipv6(src: &Address, dst: &Address, protocol: u8, length: u32) -> u64 {
    sum(src) + sum(dst) + u64::from(length >> 16) + u64::from(length & 0xffff) + u64::from(protocol)
}

/// The sum of the IPv4 pseudo header (RFC 9293, section 3.1).
#[inline]
#[must_use]
pub fn pseudo_ipv4(src: [u8; 4], dst: [u8; 4], protocol: u8, length: u16) -> u64 {
    sum(&src) + sum(&dst) + u64::from(length) + u64::from(protocol)
}
