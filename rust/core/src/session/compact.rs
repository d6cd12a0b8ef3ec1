//! Packets between the two nodes of a session, without what both know of their headers: version, length, addresses.
//!
//! ```text
//! hop limit (1) | next header (1) | version, traffic class, flow label (4) | payload
//! ```
//! The header is built anew in front of the payload, where its place is free: the header of the frame lies there, and
//! before that bytes of the same packet or the tag of the last one. So such a packet comes first in its frame.

use std::ops::Range;

use super::wire::{Entries, EntryKind};
use crate::Address;
use crate::ipv6::{HEADER, HOP_LIMIT_AT};

/// Bytes in front of the payload.
pub const COMPACT: usize = 6;
/// Bytes in front of such an entry's body that are overwritten when its header is built.
pub const HEADROOM: usize = HEADER - COMPACT;
const LENGTH_AT: usize = 4;
const NEXT_HEADER_AT: usize = 6;
const ADDRESSES_AT: usize = 8;

/// What stands in place of the header of a packet that begins with `head` and is `length` bytes long. None if it isn't
/// one from `src` to `dst`, or there is more to it than its header says.
#[inline]
#[must_use]
pub fn compact(head: &[u8], length: usize, src: &Address, dst: &Address) -> Option<[u8; COMPACT]> {
    let header: &[u8; HEADER] = head.first_chunk()?;
    let ends = header.get(ADDRESSES_AT..)?.split_at_checked(16)?;
    let payload = usize::from(u16::from_be_bytes([header[LENGTH_AT], header[LENGTH_AT + 1]]));
    let fits = header[0] >> 4 == 6 && ends == (&src[..], &dst[..]) && HEADER + payload == length;
    fits.then(|| {
        let [v0, v1, v2, v3, ..] = *header;
        [header[HOP_LIMIT_AT], header[NEXT_HEADER_AT], v0, v1, v2, v3]
    })
}

/// The header of the packet with this body, from `src` to `dst`. None: it is none.
#[inline]
#[must_use]
pub fn header_of(body: &[u8], src: &Address, dst: &Address) -> Option<[u8; HEADER]> {
    let ([hop_limit, next_header, word @ ..], payload) = body.split_first_chunk::<COMPACT>()?;
    let length = u16::try_from(payload.len()).ok()?;
    if word[0] >> 4 != 6 {
        return None;
    }
    let mut header = [0; HEADER];
    header[..LENGTH_AT].copy_from_slice(word);
    header[LENGTH_AT..NEXT_HEADER_AT].copy_from_slice(&length.to_be_bytes());
    header[NEXT_HEADER_AT] = *next_header;
    header[HOP_LIMIT_AT] = *hop_limit;
    header[ADDRESSES_AT..24].copy_from_slice(src);
    header[24..].copy_from_slice(dst);
    Some(header)
}

/// Build the header in front of the body `buffer[body]`: where the whole packet lies then. None, and nothing changed: the
/// body is none, or less than [`HEADROOM`] bytes are in front of it.
#[inline]
#[must_use]
pub fn expand(buffer: &mut [u8], body: Range<usize>, src: &Address, dst: &Address) -> Option<Range<usize>> {
    let header = header_of(buffer.get(body.clone())?, src, dst)?;
    let start = body.start.checked_sub(HEADROOM)?;
    buffer.get_mut(start..start + HEADER)?.copy_from_slice(&header);
    Some(start..body.end)
}

/// The first packet of an opened frame that `src` sealed for `dst`.
#[must_use]
pub fn first_packet(entries: &[u8], src: &Address, dst: &Address) -> Option<Vec<u8>> {
    let is_packet = |kind: &EntryKind| matches!(kind, EntryKind::Packet { .. } | EntryKind::Compact { .. });
    let (kind, at) = Entries::of(entries).find(|(kind, _)| is_packet(kind))?;
    let body = entries.get(at)?;
    if let EntryKind::Packet { .. } = kind {
        return Some(body.to_vec());
    }
    Some([&header_of(body, src, dst)?, body.get(COMPACT..)?].concat())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ipv6::Header;
    use crate::session::entry_header;

    fn packet(header: Header, payload: &[u8]) -> Vec<u8> {
        let len = payload.len() as u16;
        [&Header { len, ..header }.to_bytes()[..], payload].concat()
    }

    prop_compose! {
        fn headers()(
            traffic_class: u8, flow_label in 0u32..1 << 20, next_header: u8, hop_limit: u8, src: Address, dst: Address,
        ) -> Header {
            Header { traffic_class, flow_label, len: 0, next_header, hop_limit, src, dst }
        }
    }

    proptest! {
        #[test]
        fn a_packet_comes_back_as_it_was(header in headers(), payload: Vec<u8>, before in HEADROOM..100) {
            let whole = packet(header, &payload);
            let short = compact(&whole, whole.len(), &header.src, &header.dst).unwrap();
            let body = [&vec![9; before][..], &short, &payload].concat();
            let mut buffer = body.clone();
            let at = expand(&mut buffer, before..body.len(), &header.src, &header.dst).unwrap();
            prop_assert_eq!(&buffer[at.clone()], &whole[..]);
            prop_assert_eq!(&buffer[..at.start], &body[..at.start]);
        }

        #[test]
        fn the_first_packet_of_a_frame_is_found_in_either_form(header in headers(), payload: Vec<u8>) {
            let whole = packet(header, &payload);
            let short = [&compact(&whole, whole.len(), &header.src, &header.dst).unwrap()[..], &payload].concat();
            let padding = entry_header(EntryKind::Padding, 0).to_vec();
            for (kind, body) in [
                (EntryKind::Packet { partial: false }, &whole),
                (EntryKind::Compact { partial: true }, &short),
            ] {
                let entries = [&padding[..], &entry_header(kind, body.len()), body].concat();
                prop_assert_eq!(first_packet(&entries, &header.src, &header.dst), Some(whole.clone()));
            }
            prop_assert_eq!(first_packet(&padding, &header.src, &header.dst), None);
        }

        #[test]
        fn of_other_ends_or_lengths_none_is_made(header in headers(), payload: Vec<u8>, other: Address) {
            prop_assume!(other != header.src && other != header.dst);
            let whole = packet(header, &payload);
            prop_assert_eq!(compact(&whole, whole.len(), &other, &header.dst), None);
            prop_assert_eq!(compact(&whole, whole.len(), &header.src, &other), None);
            prop_assert_eq!(compact(&whole, whole.len() + 1, &header.src, &header.dst), None);
            prop_assert_eq!(compact(&whole[..39], whole.len(), &header.src, &header.dst), None);
        }

        #[test]
        fn what_is_none_changes_nothing(mut buffer: Vec<u8>, start in 0usize..200, end in 0usize..200) {
            let before = buffer.clone();
            match expand(&mut buffer, start..end, &[4; 16], &[5; 16]) {
                Some(at) => {
                    let header = Header::parse(&buffer[at.clone()]).unwrap();
                    prop_assert_eq!(header.total_len(), at.len());
                    prop_assert_eq!((header.src, header.dst), ([4; 16], [5; 16]));
                }
                None => prop_assert_eq!(buffer, before),
            }
        }
    }
}
