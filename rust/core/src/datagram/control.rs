//! Frames inside a control datagram: type (1) | length (2) | body. Unknown types are skipped.
//!
//! | type | name | body |
//! |---|---|---|
//! | 0 | padding | anything |
//! | 1 | ping | id (4), datagrams sent so far (8) |
//! | 2 | pong | id (4), datagrams received so far (8) |
//! | 3 | data | offset in the stream (8), bytes |
//! | 4 | ack | next offset (8), window (4), then ranges received beyond: start (4), end (4), both after next |
//! | 5 | close | reason in UTF-8 |
//! | 6 | challenge | 8 bytes |
//! | 7 | answer | the 8 bytes of the challenge |
//! | 8 | probe | id (4); padding makes the datagram the size that is tried |
//! | 9 | probe ack | id (4) |

/// A frame's type and length.
pub(super) const FRAME: usize = 3;
/// What a data frame is longer than its bytes.
pub(super) const DATA_OVERHEAD: usize = FRAME + 8;
/// Ranges in an ack at most.
pub(super) const MAX_RANGES: usize = 32;
/// Bytes of a reason that are kept and sent.
pub(super) const MAX_REASON: usize = 200;

const PADDING: u8 = 0;
const PING: u8 = 1;
const PONG: u8 = 2;
const DATA: u8 = 3;
const ACK: u8 = 4;
const CLOSE: u8 = 5;
const CHALLENGE: u8 = 6;
const ANSWER: u8 = 7;
const PROBE: u8 = 8;
const PROBE_ACK: u8 = 9;

/// What an ack says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ack {
    /// Everything below arrived.
    pub(super) next: u64,
    /// Bytes from `next` on that the receiver has room for.
    pub(super) window: u32,
    /// Ranges beyond `next` that arrived, as distances from it.
    pub(super) ranges: Vec<(u32, u32)>,
}

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    Ping {
        id: u32,
        sent: u64,
    },
    Pong {
        id: u32,
        heard: u64,
    },
    Data {
        offset: u64,
        bytes: &'a [u8],
    },
    Ack(Ack),
    Close {
        reason: &'a [u8],
    },
    Challenge([u8; 8]),
    Answer([u8; 8]),
    Probe {
        id: u32,
    },
    ProbeAck {
        id: u32,
    },
    /// Padding, or something newer than this version.
    Other,
}

/// The frames of a plaintext, until it ends or isn't well-formed (then the last one is an error).
pub(super) struct Frames<'a>(pub(super) &'a [u8]);

/// Not well-formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadFrame;

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, BadFrame>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let parsed = cut(self.0);
        self.0 = parsed.map_or(&[], |(_, _, rest)| rest);
        Some(
            parsed
                .and_then(|(kind, body, _)| parse(kind, body))
                .ok_or(BadFrame),
        )
    }
}

fn cut(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let ([kind, l0, l1], rest) = bytes.split_first_chunk::<FRAME>()?;
    let (body, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([*l0, *l1])))?;
    Some((*kind, body, rest))
}

fn number_and_total(body: &[u8]) -> Option<(u32, u64)> {
    let (id, total) = body.split_first_chunk::<4>()?;
    Some((
        u32::from_be_bytes(*id),
        u64::from_be_bytes(total.try_into().ok()?),
    ))
}

fn number(body: &[u8]) -> Option<u32> {
    body.first_chunk().copied().map(u32::from_be_bytes)
}

fn parse(kind: u8, body: &[u8]) -> Option<Frame<'_>> {
    Some(match kind {
        PING => {
            let (id, sent) = number_and_total(body)?;
            Frame::Ping { id, sent }
        }
        PONG => {
            let (id, heard) = number_and_total(body)?;
            Frame::Pong { id, heard }
        }
        DATA => {
            let (offset, bytes) = body.split_first_chunk::<8>()?;
            Frame::Data {
                offset: u64::from_be_bytes(*offset),
                bytes,
            }
        }
        ACK => Frame::Ack(parse_ack(body)?),
        CLOSE => Frame::Close {
            reason: body.get(..body.len().min(MAX_REASON))?,
        },
        CHALLENGE => Frame::Challenge(body.try_into().ok()?),
        ANSWER => Frame::Answer(body.try_into().ok()?),
        PROBE => Frame::Probe { id: number(body)? },
        PROBE_ACK => Frame::ProbeAck { id: number(body)? },
        _ => Frame::Other,
    })
}

fn parse_ack(body: &[u8]) -> Option<Ack> {
    let (next, rest) = body.split_first_chunk::<8>()?;
    let (window, rest) = rest.split_first_chunk::<4>()?;
    let (pairs, []) = rest.as_chunks::<8>() else {
        return None;
    };
    let ranges = pairs.iter().take(MAX_RANGES).map(|pair| {
        let [s0, s1, s2, s3, e0, e1, e2, e3] = *pair;
        (
            u32::from_be_bytes([s0, s1, s2, s3]),
            u32::from_be_bytes([e0, e1, e2, e3]),
        )
    });
    Some(Ack {
        next: u64::from_be_bytes(*next),
        window: u32::from_be_bytes(*window),
        ranges: ranges.collect(),
    })
}

fn head(out: &mut Vec<u8>, kind: u8, length: usize) {
    out.push(kind);
    out.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
}

/// Append a frame. Bodies are never longer than a datagram.
pub(super) fn encode(frame: &Frame<'_>, out: &mut Vec<u8>) {
    match frame {
        Frame::Ping { id, sent: total } | Frame::Pong { id, heard: total } => {
            let kind = if matches!(frame, Frame::Ping { .. }) {
                PING
            } else {
                PONG
            };
            head(out, kind, 12);
            out.extend_from_slice(&id.to_be_bytes());
            out.extend_from_slice(&total.to_be_bytes());
        }
        Frame::Data { offset, bytes } => {
            head(out, DATA, 8 + bytes.len());
            out.extend_from_slice(&offset.to_be_bytes());
            out.extend_from_slice(bytes);
        }
        Frame::Ack(ack) => encode_ack(ack, out),
        Frame::Close { reason } => {
            head(out, CLOSE, reason.len());
            out.extend_from_slice(reason);
        }
        Frame::Challenge(token) | Frame::Answer(token) => {
            let kind = if matches!(frame, Frame::Answer(_)) {
                ANSWER
            } else {
                CHALLENGE
            };
            head(out, kind, 8);
            out.extend_from_slice(token);
        }
        Frame::Probe { id } | Frame::ProbeAck { id } => {
            let kind = if matches!(frame, Frame::Probe { .. }) {
                PROBE
            } else {
                PROBE_ACK
            };
            head(out, kind, 4);
            out.extend_from_slice(&id.to_be_bytes());
        }
        Frame::Other => head(out, PADDING, 0),
    }
}

fn encode_ack(ack: &Ack, out: &mut Vec<u8>) {
    let ranges = ack.ranges.iter().take(MAX_RANGES);
    head(out, ACK, 12 + 8 * ranges.len());
    out.extend_from_slice(&ack.next.to_be_bytes());
    out.extend_from_slice(&ack.window.to_be_bytes());
    for (start, end) in ranges {
        out.extend_from_slice(&start.to_be_bytes());
        out.extend_from_slice(&end.to_be_bytes());
    }
}

/// Fill a plaintext up to `length` with padding, if at least a frame's head is missing.
pub(super) fn pad(out: &mut Vec<u8>, length: usize) {
    if let Some(missing) = length.checked_sub(out.len() + FRAME) {
        head(out, PADDING, missing);
        out.resize(out.len() + missing, 0);
    }
}
