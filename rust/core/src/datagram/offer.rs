//! What the two ends tell each other inside the handshake.
//!
//! ```text
//! 0 version 1 | 1 ciphers | 2 lanes | 3 flags 0 | 4 max datagram (2) | 6 reserved 0 (2) | 8 sender index (4)
//! 12 instance (8) | then values: type (1) | length (2) | body; unknown types are skipped
//! ```
//! Value 0 is padding; value 1, in an initiation, is the receiver's index of a link whose peer doesn't answer.

use super::keys::MAX_LANES;

/// Length without values.
pub(super) const OFFER: usize = 20;
const VERSION: u8 = 1;
const PADDING: u8 = 0;
const REVIVES: u8 = 1;
/// A value's type and length.
const VALUE: usize = 3;

/// One end's half of the agreement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offer {
    /// Ciphers as bits; the responder's has one.
    pub(super) ciphers: u8,
    pub(super) lanes: u8,
    /// The largest UDP payload that this end takes.
    pub(super) max_datagram: u16,
    pub(super) index: u32,
    /// Random, new at each start of a node; zero in the clear.
    pub(super) instance: [u8; 8],
    pub(super) revives: Option<u32>,
}

impl Offer {
    /// Bytes, at least `length` of them.
    pub(super) fn encode(&self, length: usize) -> Vec<u8> {
        let mut out = vec![VERSION, self.ciphers, self.lanes, 0];
        out.extend_from_slice(&self.max_datagram.to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&self.index.to_be_bytes());
        out.extend_from_slice(&self.instance);
        if let Some(index) = self.revives {
            out.extend_from_slice(&[REVIVES, 0, 4]);
            out.extend_from_slice(&index.to_be_bytes());
        }
        if let Some(missing) = length.checked_sub(out.len() + VALUE) {
            let padding = u16::try_from(missing).unwrap_or(0);
            out.push(PADDING);
            out.extend_from_slice(&padding.to_be_bytes());
            out.resize(out.len() + usize::from(padding), 0);
        }
        out
    }

    /// `None` if it is no offer of this version, or offers nothing that can be.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (fixed, mut rest) = bytes.split_first_chunk::<OFFER>()?;
        let [
            VERSION,
            ciphers,
            lanes,
            _,
            m0,
            m1,
            _,
            _,
            i0,
            i1,
            i2,
            i3,
            instance @ ..,
        ] = fixed
        else {
            return None;
        };
        if *lanes == 0 || *lanes > MAX_LANES {
            return None;
        }
        let mut offer = Self {
            ciphers: *ciphers,
            lanes: *lanes,
            max_datagram: u16::from_be_bytes([*m0, *m1]),
            index: u32::from_be_bytes([*i0, *i1, *i2, *i3]),
            instance: *instance,
            revives: None,
        };
        while let Some(([kind, l0, l1], after)) = rest.split_first_chunk::<VALUE>() {
            let length = usize::from(u16::from_be_bytes([*l0, *l1]));
            let (body, after) = after.split_at_checked(length)?;
            if let (REVIVES, Ok(index)) = (*kind, body.try_into()) {
                offer.revives = Some(u32::from_be_bytes(index));
            }
            rest = after;
        }
        rest.is_empty().then_some(offer)
    }
}
