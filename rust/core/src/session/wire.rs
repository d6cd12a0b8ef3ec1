//! Bytes of the session suite: the headers of its messages, what both ends offer, and the entries of a frame.
//!
//! Everything here takes what a stranger may have sent; nothing is believed but lengths that were checked.

use std::ops::Range;

use crate::Address;
use crate::cookies::{MAC, SEALED_COOKIE};

/// First byte of an initiation.
pub const INITIATION: u8 = 1;
/// First byte of a response.
pub const RESPONSE: u8 = 2;
/// First byte of a cookie reply.
pub const COOKIE: u8 = 3;
/// First byte of a transport frame.
pub const TRANSPORT: u8 = 4;
/// First byte of the hint that an index is in use no more.
pub const UNKNOWN: u8 = 5;
/// Version of the suite, in the second byte of the handshake.
pub const VERSION: u8 = 1;

/// Bytes in front of the entries of a frame.
pub const HEADER: usize = 16;
/// Bytes behind them.
pub const TAG: usize = 16;
/// Both.
pub const OVERHEAD: usize = HEADER + TAG;
/// What an entry that is a packet costs.
pub const ENTRY_HEADER: usize = 2;
/// The interface id of the address that frames go to where a Mycelium data packet carries them: in place of an
/// address of the peer's hosts, so that it is told from Mycelium's ciphertext. "zosnet", then 0001.
pub const RESERVED_IID: [u8; 8] = *b"zosnet\x00\x01";
/// The largest number of lanes that a node may have.
pub const MAX_LANES: u8 = 16;

/// Clear bytes of an initiation in front of the Noise message: all of them are in the prologue.
pub(super) const INITIATION_HEADER: usize = 24;
/// Clear bytes of a response in front of the Noise message.
pub(super) const RESPONSE_HEADER: usize = 12;
/// Bytes of a cookie reply: header, nonce, sealed cookie.
pub(super) const COOKIE_REPLY: usize = 8 + SEALED_COOKIE;
/// A handshake message longer than this is none: room for a post-quantum key beside what is there.
const MAX_HANDSHAKE: usize = 2048;

const PARTIAL: u16 = 0x8000;
const EXTENDED: u16 = 0x4000;
const LENGTH: u16 = 0x3fff;

/// What an entry of a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A whole IP packet.
    Packet {
        /// Its transport checksum covers the pseudo header only.
        partial: bool,
    },
    /// Nothing: it makes a frame longer.
    Padding,
    /// A piece of the message protocol.
    Message,
    /// A question whether a frame of this length arrives.
    PathProbe,
    /// The answer: the first bytes of the question.
    PathProbeAck,
    /// A piece of a packet ([`crate::fragments`]).
    Fragment,
    /// A packet between the nodes themselves, its header shortened ([`super::compact`]). Only as the first of a frame.
    Compact {
        /// As of a whole packet.
        partial: bool,
    },
    /// The peer forgets these keys.
    Close,
    /// What gives lost frames back ([`crate::repair`]).
    Repair,
    /// Something of a later version.
    Other(u8),
}

impl EntryKind {
    const fn code(self) -> u8 {
        match self {
            Self::Packet { .. } | Self::Padding => 0,
            Self::Message => 1,
            Self::PathProbe => 2,
            Self::PathProbeAck => 3,
            Self::Fragment => 4,
            Self::Close => 5,
            Self::Compact { .. } => 6,
            Self::Repair => 7,
            Self::Other(code) => code,
        }
    }

    const fn of_code(code: u8, partial: bool) -> Self {
        match code {
            0 => Self::Padding,
            1 => Self::Message,
            2 => Self::PathProbe,
            3 => Self::PathProbeAck,
            4 => Self::Fragment,
            5 => Self::Close,
            6 => Self::Compact { partial },
            7 => Self::Repair,
            code => Self::Other(code),
        }
    }
}

/// The bytes in front of an entry's body.
#[derive(Debug, Clone, Copy)]
pub struct EntryHeader {
    bytes: [u8; 3],
    length: usize,
}

impl std::ops::Deref for EntryHeader {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// What stands in front of an entry of `length` bytes, at most 16382.
#[inline]
#[must_use]
pub fn entry_header(kind: EntryKind, length: usize) -> EntryHeader {
    let length = length as u16 & LENGTH;
    let (word, header) = match kind {
        EntryKind::Packet { .. } => (length, 2),
        _ => (EXTENDED | (length + 1) & LENGTH, 3),
    };
    let partial = matches!(kind, EntryKind::Packet { partial } | EntryKind::Compact { partial } if partial);
    let [first, second] = (word | if partial { PARTIAL } else { 0 }).to_be_bytes();
    EntryHeader {
        bytes: [first, second, kind.code()],
        length: header,
    }
}

/// The entries of an opened frame, each with its range. Ends at the end, or before the first that doesn't fit.
#[derive(Debug)]
pub struct Entries<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Entries<'a> {
    /// Of this plaintext.
    #[inline]
    #[must_use]
    pub fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes at the end that are no entry. To be asked when there are no more.
    #[must_use]
    pub fn rest(&self) -> usize {
        self.bytes.len() - self.at
    }
}

impl Iterator for Entries<'_> {
    type Item = (EntryKind, Range<usize>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let word = u16::from_be_bytes(*self.bytes.get(self.at..)?.first_chunk()?);
        let start = self.at + ENTRY_HEADER;
        let end = start + usize::from(word & LENGTH);
        let body = self.bytes.get(start..end)?;
        let partial = word & PARTIAL != 0;
        let item = if word & EXTENDED == 0 {
            (EntryKind::Packet { partial }, start..end)
        } else {
            (EntryKind::of_code(*body.first()?, partial), start + 1..end)
        };
        self.at = end;
        Some(item)
    }
}

/// Whether an opened frame is a repair. It says nothing that its frames didn't, so it asks for no answer.
#[inline]
#[must_use]
pub fn is_repair(entries: &[u8]) -> bool {
    matches!(entries, [first, _, kind, ..] if first & 0x40 != 0 && *kind == EntryKind::Repair.code())
}

/// The receiver index of a transport frame, or of a relayed packet of a link.
#[inline]
#[must_use]
pub fn receiver_index(frame: &[u8]) -> Option<u32> {
    frame
        .get(4..8)?
        .first_chunk()
        .map(|index| u32::from_be_bytes(*index))
}

/// The hint that `index`, under which a frame came, is in use no more.
#[must_use]
pub fn unknown_frame(index: u32) -> Vec<u8> {
    let mut frame = vec![UNKNOWN, VERSION, 0, 0];
    frame.extend_from_slice(&index.to_be_bytes());
    frame
}

/// A message of the handshake, its parts in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake<'a> {
    /// Asks for a session.
    Initiation(Initiation<'a>),
    /// Grants one.
    Response(Response<'a>),
    /// Asks to show that the sender receives.
    Cookie {
        /// Of the initiation that it answers.
        receiver: u32,
        /// Nonce and sealed cookie.
        body: &'a [u8],
    },
    /// The receiver of a frame has no session under this index.
    Unknown {
        /// The index that the frame carried.
        index: u32,
    },
}

/// See [`Handshake`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Initiation<'a> {
    /// The index that the initiator wants to be addressed by.
    pub sender: u32,
    /// The endpoint that is meant.
    pub endpoint: Address,
    /// The clear header.
    pub header: &'a [u8],
    /// The Noise message.
    pub noise: &'a [u8],
    /// What mac1 covers.
    pub covered: &'a [u8],
    /// See `cookies::MacKeys`.
    pub mac1: [u8; MAC],
    /// See `cookies::Jar`.
    pub mac2: [u8; MAC],
}

/// See [`Handshake`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Response<'a> {
    /// Of the initiation that it answers.
    pub receiver: u32,
    /// The Noise message.
    pub noise: &'a [u8],
    /// What mac1 covers.
    pub covered: &'a [u8],
    /// Made for the initiator's key.
    pub mac1: [u8; MAC],
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|word| u32::from_be_bytes(*word))
}

/// Take a handshake message apart. None for what is no such message of this version.
#[must_use]
pub fn decode(message: &[u8]) -> Option<Handshake<'_>> {
    if message.len() > MAX_HANDSHAKE || message.get(1..4)? != [VERSION, 0, 0] {
        return None;
    }
    let sender = word(message, 4)?;
    match *message.first()? {
        INITIATION => {
            let (rest, mac2) = message.split_last_chunk::<MAC>()?;
            let (covered, mac1) = rest.split_last_chunk::<MAC>()?;
            let (header, noise) = covered.split_at_checked(INITIATION_HEADER)?;
            Some(Handshake::Initiation(Initiation {
                sender,
                endpoint: *header.get(8..)?.first_chunk()?,
                header,
                noise,
                covered,
                mac1: *mac1,
                mac2: *mac2,
            }))
        }
        RESPONSE => {
            let (covered, mac1) = message.split_last_chunk::<MAC>()?;
            let (header, noise) = covered.split_at_checked(RESPONSE_HEADER)?;
            Some(Handshake::Response(Response {
                receiver: word(header, 8)?,
                noise,
                covered,
                mac1: *mac1,
            }))
        }
        COOKIE if message.len() == COOKIE_REPLY => Some(Handshake::Cookie {
            receiver: sender,
            body: message.get(8..)?,
        }),
        UNKNOWN if message.len() == 8 => Some(Handshake::Unknown { index: sender }),
        _ => None,
    }
}

/// The clear header of an initiation.
pub(super) fn initiation_header(sender: u32, endpoint: &Address) -> [u8; INITIATION_HEADER] {
    let mut header = [0; INITIATION_HEADER];
    header[..4].copy_from_slice(&[INITIATION, VERSION, 0, 0]);
    header[4..8].copy_from_slice(&sender.to_be_bytes());
    header[8..].copy_from_slice(endpoint);
    header
}

/// The clear header of a response.
pub(super) fn response_header(sender: u32, receiver: u32) -> [u8; RESPONSE_HEADER] {
    let mut header = [0; RESPONSE_HEADER];
    header[..4].copy_from_slice(&[RESPONSE, VERSION, 0, 0]);
    header[4..8].copy_from_slice(&sender.to_be_bytes());
    header[8..].copy_from_slice(&receiver.to_be_bytes());
    header
}

/// What an end says of itself in its encrypted payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Bits of the transport ciphers that it can do; of a response, the one that it picked.
    pub ciphers: u8,
    /// Its lanes, 1 to 16.
    pub lanes: u8,
    /// The longest frame that it takes.
    pub max_frame: u16,
}

/// Length of an offer without extensions.
const OFFER: usize = 8;
const OFFER_VERSION: u8 = 1;
/// Type and length of an extension.
const EXTENSION: usize = 3;
/// Extension of a response: its sender index, authentic.
const INDEX: u8 = 1;
/// Length of what a response says.
const GRANTED: usize = OFFER + EXTENSION + 4;

/// The first extension of this type, if there is one. None: they aren't well-formed.
fn extension(mut rest: &[u8], wanted: u8) -> Option<Option<&[u8]>> {
    let mut found = None;
    while !rest.is_empty() {
        let ([kind, l0, l1], tail) = rest.split_first_chunk::<EXTENSION>()?;
        let (body, after) = tail.split_at_checked(usize::from(u16::from_be_bytes([*l0, *l1])))?;
        if *kind == wanted && found.is_none() {
            found = Some(body);
        }
        rest = after;
    }
    Some(found)
}

impl Offer {
    /// As it is sent. Extensions would follow: type (1), length (2), bytes.
    pub(super) fn encode(self) -> [u8; OFFER] {
        let [m0, m1] = self.max_frame.to_be_bytes();
        [OFFER_VERSION, self.ciphers, self.lanes, 0, m0, m1, 0, 0]
    }

    /// As a response says it, with its sender index, which in the clear header anybody could alter.
    pub(super) fn encode_granted(self, index: u32) -> [u8; GRANTED] {
        let mut payload = [0; GRANTED];
        let (offer, extension) = payload.split_at_mut(OFFER);
        offer.copy_from_slice(&self.encode());
        extension[..EXTENSION].copy_from_slice(&[INDEX, 0, 4]);
        extension[EXTENSION..].copy_from_slice(&index.to_be_bytes());
        payload
    }

    /// The offer and the index of a response.
    pub(super) fn decode_granted(payload: &[u8]) -> Option<(Self, u32)> {
        let index = extension(payload.get(OFFER..)?, INDEX)??;
        Some((Self::decode(payload)?, u32::from_be_bytes(index.try_into().ok()?)))
    }

    /// Read one; extensions that follow are skipped if they are well-formed.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let (head, rest) = payload.split_first_chunk::<OFFER>()?;
        let [version, ciphers, lanes, _, m0, m1, _, _] = *head;
        extension(rest, INDEX)?;
        let max_frame = u16::from_be_bytes([m0, m1]);
        let possible = version == OFFER_VERSION && (1..=MAX_LANES).contains(&lanes);
        // Less than a frame for the least MTU of IPv6 in two pieces makes no sense.
        (possible && usize::from(max_frame) >= 700 + OVERHEAD).then_some(Self {
            ciphers,
            lanes,
            max_frame,
        })
    }
}
