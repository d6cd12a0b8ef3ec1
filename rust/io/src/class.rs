//! The traffic class of packets (RFC 2474, RFC 3168): copied to the datagram that carries them, and what congestion on the
//! way did to that one is copied back (RFC 6040).

/// The ECN field, the lower two bits of the class (RFC 3168, section 5): not capable of the mark, and capable in both
/// spellings.
const NOT_ECT: u8 = 0;
const ECT_1: u8 = 1;
const ECT_0: u8 = 2;
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

/// The ECN field of a packet out of a datagram, from both fields (RFC 6040, section 4.2, figure 4). None: drop the
/// packet, as its sender hears of congestion by loss alone.
const fn decapsulated(inner: u8, outer: u8) -> Option<u8> {
    match (inner, outer) {
        (NOT_ECT, CE) => None,
        (NOT_ECT, _) => Some(NOT_ECT),
        (_, CE) => Some(CE),
        // ECT(1) can be a mark as well, milder than CE.
        (ECT_0, ECT_1) => Some(ECT_1),
        _ => Some(inner),
    }
}

/// Give an IPv6 packet the ECN field that it has out of a datagram of class `outer`. False: drop it. IPv6 has no checksum
/// of its header, and those of TCP, UDP and ICMPv6 leave the class out.
pub fn decapsulate(packet: &mut [u8], outer: u8) -> bool {
    // The ECN bits are the lower two of the traffic class, which straddles the first two bytes of IPv6.
    let Some(second) = packet.get_mut(1) else {
        return false;
    };
    let Some(ecn) = decapsulated(*second >> 4 & CE, outer & CE) else {
        return false;
    };
    *second = *second & !(CE << 4) | ecn << 4;
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
    fn congestion_here_marks_who_can_hear_of_it() {
        for class in 0..=255 {
            assert_eq!(class_of(&packet(class)), class);
            assert_eq!(congested(class), if class & CE == 0 { class } else { class | CE });
            assert_eq!(not_capable(class), class >> 2 << 2);
        }
        assert_eq!((class_of(&[0x45, 0xb8, 0]), class_of(&[0x45])), (0xb8, 0));
    }

    #[test]
    fn every_cell_of_the_table_of_rfc_6040_and_nothing_else_changes() {
        // Rows: the packet's own field. Columns: the datagram's, NOT_ECT, ECT_0, ECT_1, CE.
        let table = [
            (NOT_ECT, [Some(NOT_ECT), Some(NOT_ECT), Some(NOT_ECT), None]),
            (ECT_0, [Some(ECT_0), Some(ECT_0), Some(ECT_1), Some(CE)]),
            (ECT_1, [Some(ECT_1), Some(ECT_1), Some(ECT_1), Some(CE)]),
            (CE, [Some(CE), Some(CE), Some(CE), Some(CE)]),
        ];
        for (inner, row) in table {
            for (outer, wanted) in [NOT_ECT, ECT_0, ECT_1, CE].into_iter().zip(row) {
                for (within, without) in [(0, 0), (0xb8, 0), (0, 0xb8), (0xfc, 0xfc)] {
                    let mut bytes = packet(within | inner);
                    assert_eq!(decapsulate(&mut bytes, without | outer), wanted.is_some());
                    assert_eq!(
                        bytes,
                        packet(within | wanted.unwrap_or(inner)),
                        "{inner} in {outer}"
                    );
                }
            }
        }
        assert!(!decapsulate(&mut [0x60], 0));
    }
}
