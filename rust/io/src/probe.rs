//! Recognising the answers to probes: echo replies, and errors that quote an echo request, by the first eight
//! bytes of the echo data.

use zosnet_core::ipv6::{HEADER, ICMPV6};

/// Length of an ICMPv6 header, and of that of an echo.
const ICMP: usize = 8;
const ECHO_REPLY: u8 = 129;
const NEXT_HEADER_AT: usize = 6;

/// Whether `packet`, a whole IPv6 packet, answers a probe with one of these magics.
pub fn answers(packet: &[u8], magics: &[[u8; 8]]) -> bool {
    if packet.get(NEXT_HEADER_AT) != Some(&ICMPV6) {
        return false;
    }
    let data_at = match packet.get(HEADER) {
        Some(&ECHO_REPLY) => HEADER + ICMP,
        // Types below 128 are errors: RFC 4443, section 2.1. They quote the request from its IPv6 header on.
        Some(kind) if *kind < 128 && packet.get(HEADER + ICMP + NEXT_HEADER_AT) == Some(&ICMPV6) => {
            2 * (HEADER + ICMP)
        }
        _ => return false,
    };
    let magic = packet.get(data_at..).and_then(<[u8]>::first_chunk::<8>);
    magic.is_some_and(|magic| magics.contains(magic))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: [u8; 8] = *b"zosprobe";

    fn echo(kind: u8) -> Vec<u8> {
        let mut packet = [0; HEADER + ICMP];
        packet[NEXT_HEADER_AT] = ICMPV6;
        packet[HEADER] = kind;
        [&packet[..], &MAGIC].concat()
    }

    #[test]
    fn a_reply_and_an_error_about_a_request_are_answers() {
        let mut error = echo(3);
        error.truncate(HEADER + ICMP);
        error.extend(echo(128));
        assert!(answers(&echo(ECHO_REPLY), &[MAGIC]));
        assert!(answers(&error, &[MAGIC]));
    }

    #[test]
    fn requests_strangers_and_stumps_are_not() {
        assert!(!answers(&echo(128), &[MAGIC]));
        assert!(!answers(&echo(ECHO_REPLY), &[*b"another!"]));
        for length in 0..HEADER + ICMP + 8 {
            assert!(!answers(&echo(ECHO_REPLY)[..length], &[MAGIC]));
        }
    }
}
