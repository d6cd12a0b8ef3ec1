//! The four bytes in front of every decrypted payload (reference, section 5.3).

/// Length of the inner header.
pub const INNER_HEADER: usize = 4;

const VERSION: u8 = 1;

/// What a decrypted payload carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum InnerType {
    /// A whole IPv6 packet.
    L3 = 0,
    /// A piece of the message protocol.
    Message = 1,
    /// An ICMPv6 error of a transit node ([`crate::icmp`]).
    Icmp = 2,
}

/// Why a decrypted payload is dropped. It is authentic, so its sender speaks something newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InnerError {
    /// Fewer than four bytes.
    #[error("the payload ends inside its inner header")]
    Short,
    /// A version other than 1.
    #[error("inner version {0}")]
    Version(u8),
    /// A type that this node doesn't know.
    #[error("inner type {0}")]
    Type(u8),
}

/// The inner header of type `kind`. Its spare bytes are zero, as the reference sends them.
#[inline]
#[must_use]
pub const fn header(kind: InnerType) -> [u8; INNER_HEADER] {
    [VERSION, kind as u8, 0, 0]
}

/// Write the inner header at the start of `out`.
///
/// # Errors
/// [`InnerError::Short`] when `out` has fewer than four bytes.
#[inline]
pub fn write(kind: InnerType, out: &mut [u8]) -> Result<(), InnerError> {
    *out.first_chunk_mut().ok_or(InnerError::Short)? = header(kind);
    Ok(())
}

/// The spare bytes of a node that speaks the suite `zosnet`. Stock nodes ignore them, and they are authenticated.
const SPEAKS_SESSIONS: [u8; 2] = [0x5a, 0x01];

/// Say in the inner header of an L3 packet that this node speaks the suite `zosnet`. Not in messages: stock nodes
/// make acknowledgements out of what they acknowledge, spare bytes included.
#[inline]
pub fn mark(header: &mut [u8]) {
    if let Some(spare) = header.get_mut(2..INNER_HEADER) {
        spare.copy_from_slice(&SPEAKS_SESSIONS);
    }
}

/// Whether the sender of an authentic plaintext says that it speaks the suite `zosnet`.
#[inline]
#[must_use]
pub fn speaks_sessions(plaintext: &[u8]) -> bool {
    plaintext.get(1) == Some(&(InnerType::L3 as u8))
        && plaintext.get(2..INNER_HEADER) == Some(&SPEAKS_SESSIONS)
}

/// Split a plaintext in its type and its body. The two spare bytes are ignored.
///
/// # Errors
/// Too short, or of a version or a type that is to be dropped silently.
#[inline]
pub fn parse(plaintext: &mut [u8]) -> Result<(InnerType, &mut [u8]), InnerError> {
    let (head, body) = plaintext
        .split_first_chunk_mut::<INNER_HEADER>()
        .ok_or(InnerError::Short)?;
    match *head {
        [VERSION, 0, _, _] => Ok((InnerType::L3, body)),
        [VERSION, 1, _, _] => Ok((InnerType::Message, body)),
        [VERSION, 2, _, _] => Ok((InnerType::Icmp, body)),
        [VERSION, kind, _, _] => Err(InnerError::Type(kind)),
        [version, ..] => Err(InnerError::Version(version)),
    }
}
