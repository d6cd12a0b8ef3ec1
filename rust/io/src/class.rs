//! The traffic class of packets (RFC 2474, RFC 3168): copied to the datagram that carries them, and what congestion on the
//! way did to that one is copied back (RFC 6040).

/// Congestion experienced, in both bits of the ECN field.
pub const CE: u8 = 3;

/// The traffic class of an IP packet.
pub fn class_of(packet: &[u8]) -> u8 {
    match packet {
        [first, second, ..] if first >> 4 == 6 => first << 4 | second >> 4,
        [first, second, ..] if first >> 4 == 4 => *second,
        _ => 0,
    }
}

/// The same, for a datagram that congestion drops and never marks: pieces of a packet would have to mark the whole of it
/// (RFC 3168, section 5.3).
pub const fn not_capable(class: u8) -> u8 {
    class & !CE
}

/// The class of a datagram that meets congestion here. What isn't capable of the mark stays as it is.
pub const fn congested(class: u8) -> u8 {
    if class & CE == 0 { class } else { class | CE }
}

/// Whether a datagram of this class met congestion.
pub const fn is_congested(class: u8) -> bool {
    class & CE == CE
}

/// Mark an IPv6 packet whose datagram met congestion (RFC 6040, section 4.2). False: it can't be marked, drop it.
pub fn mark_congested(packet: &mut [u8]) -> bool {
    // The ECN bits are the lower two of the traffic class, which straddles the first two bytes of IPv6.
    let Some(second) = packet.get_mut(1) else {
        return false;
    };
    if *second >> 4 & CE == 0 {
        return false;
    }
    *second |= CE << 4;
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first bytes of an IPv6 packet: version, class, flow label.
    fn packet(class: u8) -> [u8; 4] {
        (6 << 28 | u32::from(class) << 20 | 0xabcde).to_be_bytes()
    }

    #[test]
    fn congestion_is_copied_to_who_can_hear_of_it_and_changes_nothing_else() {
        for class in 0..=255 {
            let mut bytes = packet(class);
            assert_eq!(class_of(&bytes), class);
            let capable = class & CE != 0;
            assert_eq!(mark_congested(&mut bytes), capable);
            assert_eq!(bytes, packet(if capable { class | CE } else { class }));
            assert_eq!(congested(class), if capable { class | CE } else { class });
            assert_eq!(is_congested(class), class & CE == CE);
            assert!(!is_congested(not_capable(class)) && not_capable(class) >> 2 == class >> 2);
        }
        assert!(!mark_congested(&mut [0x60]));
        assert_eq!((class_of(&[0x45, 0xb8, 0]), class_of(&[0x45])), (0xb8, 0));
    }
}
