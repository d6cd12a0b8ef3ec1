//! Repair of frames that a lossy link swallowed: two sums over a group of frames follow it, and give back what is missing.
//!
//! ```text
//! repair: counter of the first frame, below its lane (7) | frames (1) | which sum (1) | sum
//! symbol: length (2) | the frame's entries | zeros, as many as the longest of the group needs
//! ```
//! Sums 0 and 1 of the symbols S[0] … S[n-1] are Σ S[i] and Σ 2^(n-1-i) S[i] in GF(2^8), polynomial 0x11d: those of RAID 6
//! (Anvin, "The mathematics of RAID-6"), the second by Horner's rule. One missing frame comes out of either, two out of
//! both. The code is systematic: what arrives is used at once, and whoever doesn't know repairs skips them.
//!
//! [`Group`] is the sending end, [`Mender`] the receiving one. When it is worth it, `datagram`'s links tell.

mod field;
mod group;
mod mender;

pub use group::Group;
pub use mender::{Malformed, Mender};

use crate::session::ENTRY_HEADER;

/// Frames of a group at most. One in a hundred lost, the loss of a frame that no sum gives back is one in eight thousand.
pub const FRAMES: usize = 16;
/// What is in front of a sum.
const HEADER: usize = 9;
/// The length of a frame, in front of its symbol.
const LENGTH: usize = 2;
/// Bytes of entries that a repair is longer than the longest frame of its group, its entry header included.
pub const OVERHEAD: usize = ENTRY_HEADER + 1 + HEADER + LENGTH;
/// Bytes of entries of a frame that can be repaired, at most: an entry has 14 bits for the length of its body and its kind.
pub const LONGEST: usize = (1 << 14) - 1 - (OVERHEAD - ENTRY_HEADER);

/// Add the symbol of a frame, of at most 65,535 bytes, to a sum.
fn add_symbol(sum: &mut Vec<u8>, entries: &[u8]) {
    field::add(sum, 0, &(entries.len() as u16).to_be_bytes());
    field::add(sum, LENGTH, entries);
}
