//! Where packets start and end on a link, and the header of data packets (reference, sections 2.7, 3.1, 5.1).
//!
//! A link is a byte stream of packets without any outer length: each packet says its own. Control packets
//! are framed by the body length of their Babel header, so an unknown TLV never costs the synchronisation.
//! What a control packet *means* is none of this module's business.
//!
//! ```text
//! 0        1       2          4
//! | ver 1  | type  | reserved | body ...
//! control: 4 | 2a | 03 | body length (2) | TLV ...
//! data:    4 | 0  | length (2) | hop limit | source (16) | destination (16) | payload ...
//! ```

use crate::Address;

/// Length of the header in front of every packet.
pub const PACKET_HEADER: usize = 4;
/// Length of the header of a data packet, after the packet header.
pub const DATA_HEADER: usize = 36;
/// Length of the Babel header of a control packet, after the packet header.
pub const BABEL_HEADER: usize = 4;
/// The longest packet that the length fields can describe.
pub const MAX_PACKET: usize = PACKET_HEADER + DATA_HEADER + u16::MAX as usize;
/// Where the hop limit of a data packet lies, from the start of the packet.
pub const HOP_LIMIT_AT: usize = PACKET_HEADER + 3;

const VERSION: u8 = 1;
const TYPE_DATA: u8 = 0;
const TYPE_CONTROL: u8 = 1;
const BABEL_MAGIC: u8 = 42;
const BABEL_VERSION: u8 = 3;
/// A TLV is at least a type and a length; the reference dies of anything shorter.
const MIN_BABEL_BODY: usize = 2;

/// Why a stream can't be followed any further. The link must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The first byte isn't 1: another protocol, or the sender lost its place.
    #[error("packet version {0} instead of 1")]
    Version(u8),
    /// A packet type that nobody sends without having negotiated it.
    #[error("unknown packet type {0}")]
    Type(u8),
    /// A control packet that doesn't start with Babel's magic and version, so its length is unknown.
    #[error("a control packet without a Babel header")]
    Babel,
    /// A Babel body too short for any TLV.
    #[error("a Babel body of {0} bytes")]
    Body(u16),
    /// Fewer bytes than the header has. Only for slices that should hold a whole packet.
    #[error("the packet ends inside its header")]
    Short,
}

/// What a packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A data packet: [`DataHeader`] and payload follow the packet header.
    Data,
    /// A control packet: a Babel header and a TLV follow the packet header.
    Control,
}

/// A whole packet in the caller's buffer, packet header included: `buf[start..end]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// What it carries.
    pub kind: Kind,
    /// Its first byte.
    pub start: usize,
    /// One past its last byte.
    pub end: usize,
}

/// What the first bytes of a packet say about its length.
enum Length {
    /// So many bytes must be there before more can be said.
    AtLeast(usize),
    /// The whole packet.
    Known(Kind, usize),
}

/// Read the length of the packet that starts `packet`. Judges every byte as soon as it is there.
#[inline]
fn length(packet: &[u8]) -> Result<Length, FrameError> {
    match packet {
        [VERSION, TYPE_DATA, _, _, _, high, low, ..] => {
            let payload = usize::from(u16::from_be_bytes([*high, *low]));
            Ok(Length::Known(Kind::Data, PACKET_HEADER + DATA_HEADER + payload))
        }
        [
            VERSION,
            TYPE_CONTROL,
            _,
            _,
            BABEL_MAGIC,
            BABEL_VERSION,
            high,
            low,
            ..,
        ] => {
            let body = u16::from_be_bytes([*high, *low]);
            if usize::from(body) < MIN_BABEL_BODY {
                return Err(FrameError::Body(body));
            }
            Ok(Length::Known(
                Kind::Control,
                PACKET_HEADER + BABEL_HEADER + usize::from(body),
            ))
        }
        [] | [VERSION] => Ok(Length::AtLeast(PACKET_HEADER + 1)),
        [VERSION, TYPE_DATA, ..] => Ok(Length::AtLeast(PACKET_HEADER + DATA_HEADER)),
        [VERSION, TYPE_CONTROL, rest @ ..] => match rest.get(2..) {
            None | Some([] | [BABEL_MAGIC] | [BABEL_MAGIC, BABEL_VERSION, ..]) => {
                Ok(Length::AtLeast(PACKET_HEADER + BABEL_HEADER + MIN_BABEL_BODY))
            }
            Some(_) => Err(FrameError::Babel),
        },
        [VERSION, kind, ..] => Err(FrameError::Type(*kind)),
        [version, ..] => Err(FrameError::Version(*version)),
    }
}

/// The next whole packet in `buf[at..]`, or None when more bytes are needed. Never allocates.
///
/// # Errors
/// The stream can't be followed any further: close the link. What was framed before stays good.
#[inline]
pub fn next(buf: &[u8], at: usize) -> Result<Option<Frame>, FrameError> {
    let Some(rest) = buf.get(at..) else {
        return Ok(None);
    };
    match length(rest)? {
        Length::Known(kind, total) if total <= rest.len() => Ok(Some(Frame {
            kind,
            start: at,
            end: at + total,
        })),
        _ => Ok(None),
    }
}

/// How many bytes the packet that starts in `buf` has in all, as far as its first bytes tell.
///
/// Always more than `buf.len()` while the packet is incomplete, never above [`MAX_PACKET`]; a lower bound
/// (5, 10 or 40) as long as the length field isn't there. 5 for what [`next()`] refuses.
#[inline]
#[must_use]
pub fn needed(buf: &[u8]) -> usize {
    match length(buf) {
        Ok(Length::Known(_, total)) => total,
        Ok(Length::AtLeast(bytes)) => bytes,
        Err(_) => PACKET_HEADER + 1,
    }
}

/// The header of a data packet. Nothing in it is authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataHeader {
    /// Bytes of payload after the header.
    pub len: u16,
    /// How many nodes may still handle the packet.
    pub hop_limit: u8,
    /// Overlay address of the sender.
    pub src: Address,
    /// Overlay address of the receiver.
    pub dst: Address,
}

impl DataHeader {
    /// Read the header that starts `body`, which is what follows the packet header. The reserved byte is
    /// ignored, as the reference does.
    ///
    /// # Errors
    /// [`FrameError::Short`] for fewer than 36 bytes. The payload isn't looked at.
    #[inline]
    pub fn parse(body: &[u8]) -> Result<Self, FrameError> {
        let header: &[u8; DATA_HEADER] = body.first_chunk().ok_or(FrameError::Short)?;
        let (mut src, mut dst) = ([0; 16], [0; 16]);
        src.copy_from_slice(&header[4..20]);
        dst.copy_from_slice(&header[20..36]);
        Ok(Self {
            len: u16::from_be_bytes([header[1], header[2]]),
            hop_limit: header[3],
            src,
            dst,
        })
    }

    /// Read the header of a whole packet and return it with its payload.
    ///
    /// # Errors
    /// [`FrameError::Short`] when the packet is shorter than its length field says.
    #[inline]
    pub fn parse_packet(packet: &mut [u8]) -> Result<(Self, &mut [u8]), FrameError> {
        let body = packet.get_mut(PACKET_HEADER..).ok_or(FrameError::Short)?;
        let header = Self::parse(body)?;
        let end = DATA_HEADER + usize::from(header.len);
        let payload = body.get_mut(DATA_HEADER..end).ok_or(FrameError::Short)?;
        Ok((header, payload))
    }

    /// Write the 36 bytes at the start of `out`.
    ///
    /// # Errors
    /// [`FrameError::Short`] when `out` is shorter; nothing is written then.
    #[inline]
    pub fn write(&self, out: &mut [u8]) -> Result<(), FrameError> {
        let out: &mut [u8; DATA_HEADER] = out.first_chunk_mut().ok_or(FrameError::Short)?;
        let [high, low] = self.len.to_be_bytes();
        out[..4].copy_from_slice(&[0, high, low, self.hop_limit]);
        out[4..20].copy_from_slice(&self.src);
        out[20..36].copy_from_slice(&self.dst);
        Ok(())
    }

    /// Write packet header and data header, 40 bytes, at the start of `out`.
    ///
    /// # Errors
    /// [`FrameError::Short`] when `out` is shorter.
    #[inline]
    pub fn write_packet(&self, out: &mut [u8]) -> Result<(), FrameError> {
        let (head, body) = out.split_first_chunk_mut().ok_or(FrameError::Short)?;
        self.write(body)?;
        *head = [VERSION, TYPE_DATA, 0, 0];
        Ok(())
    }
}

/// Make a received data packet ready for the next hop: set its hop limit, zero what is reserved on the link.
///
/// # Errors
/// [`FrameError::Short`] when `packet` ends inside its header.
#[inline]
pub fn prepare_forward(packet: &mut [u8], hop_limit: u8) -> Result<(), FrameError> {
    let header: &mut [u8; 8] = packet.first_chunk_mut().ok_or(FrameError::Short)?;
    header[2] = 0;
    header[3] = 0;
    header[PACKET_HEADER] = 0;
    header[HOP_LIMIT_AT] = hop_limit;
    Ok(())
}
