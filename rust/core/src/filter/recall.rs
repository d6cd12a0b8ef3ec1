//! The connections that the host's kernel had before this filter was made, or while its doors were open: neither a
//! restart of the node nor closing the doors ends those that may go on.
//!
//! Where only the other side speaks, as in a download, this host sends nothing by which its flow would be known again.
//! So the kernel is asked, at the start and when the doors close: `/proc/net/tcp6` and `/proc/net/udp6` have a line a
//! socket, with the two ends as hexadecimal words in the machine's own byte order and the state (proc(5),
//! `include/net/tcp_states.h`).

use super::packet::{ACK, Packet};
use crate::ipv6::{TCP, UDP};

/// Lines read at most: more sockets than that have a flow each in no table.
const LINES: usize = 1 << 17;
/// States of a TCP socket that still expects packets: not TIME_WAIT, CLOSE, LISTEN.
const TCP_OPEN: [u8; 7] = [1, 2, 3, 4, 5, 8, 9];
/// Those of them in which the other end hasn't answered yet: SYN_SENT, SYN_RECV.
const TCP_OPENING: [u8; 2] = [2, 3];
const TCP_LISTENS: u8 = 10;
/// A UDP socket has a remote end, or none.
const UDP_CONNECTED: u8 = 1;
const UDP_LISTENS: u8 = 7;

/// A connection of this host with a node of the overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    protocol: u8,
    local: u128,
    remote: u128,
    ports: (u16, u16),
    /// Another socket of this host listens at the local port: the other side began it.
    pub accepted: bool,
    /// Both ends have spoken, so that it may be quiet for long.
    pub(super) answered: bool,
}

impl Connection {
    /// The same as if this host had begun it: no rule is asked.
    #[must_use]
    pub const fn as_begun(self) -> Self {
        Self {
            accepted: false,
            ..self
        }
    }

    /// What this host would send next on it.
    pub(super) const fn packet(&self) -> Packet<'static> {
        Packet {
            src: self.local,
            dst: self.remote,
            protocol: self.protocol,
            ports: self.ports,
            flags: ACK,
            kind: 0,
            piece: None,
            quote: &[],
        }
    }
}

/// The connections with nodes of the overlay in the kernel's table of this `protocol`. Lines that make no sense are
/// passed over.
#[must_use]
pub fn connections(protocol: u8, table: &str) -> Vec<Connection> {
    let sockets: Vec<_> = table.lines().take(LINES).filter_map(socket).collect();
    let (listens, open): (u8, &[u8]) = match protocol {
        TCP => (TCP_LISTENS, &TCP_OPEN),
        UDP => (UDP_LISTENS, &[UDP_CONNECTED]),
        _ => return Vec::new(),
    };
    let mut heard: Vec<_> = sockets
        .iter()
        .filter(|socket| socket.state == listens)
        .map(|socket| socket.local.1)
        .collect();
    heard.sort_unstable();
    sockets
        .iter()
        .filter(|socket| open.contains(&socket.state) && is_overlay(socket.remote.0))
        .map(|socket| Connection {
            protocol,
            local: socket.local.0,
            remote: socket.remote.0,
            ports: (socket.local.1, socket.remote.1),
            accepted: heard.binary_search(&socket.local.1).is_ok(),
            answered: protocol == TCP && !TCP_OPENING.contains(&socket.state),
        })
        .collect()
}

struct Socket {
    local: (u128, u16),
    remote: (u128, u16),
    state: u8,
}

fn socket(line: &str) -> Option<Socket> {
    let mut words = line.split_ascii_whitespace().skip(1);
    Some(Socket {
        local: end(words.next()?)?,
        remote: end(words.next()?)?,
        state: hex(words.next()?, 2)? as u8,
    })
}

fn end(text: &str) -> Option<(u128, u16)> {
    let (address, port) = text.split_once(':')?;
    let mut bytes = [0; 16];
    if address.len() != 32 {
        return None;
    }
    for (at, place) in bytes.chunks_exact_mut(4).enumerate() {
        let word = hex(address.get(at * 8..at * 8 + 8)?, 8)?;
        place.copy_from_slice(&word.to_ne_bytes());
    }
    Some((u128::from_be_bytes(bytes), hex(port, 4)? as u16))
}

fn hex(text: &str, digits: usize) -> Option<u32> {
    let right = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    right.then(|| u32::from_str_radix(text, 16).ok()).flatten()
}

/// 400::/7.
const fn is_overlay(address: u128) -> bool {
    address >> 121 == 0x04 >> 1
}

#[cfg(test)]
mod tests {
    use super::{Connection, connections};
    use crate::ipv6::{TCP, UDP};

    /// A line as the kernel writes it for these ends, on any machine.
    fn line(local: (u128, u16), remote: (u128, u16), state: u8) -> String {
        let end = |(address, port): (u128, u16)| {
            let words = address.to_be_bytes();
            let words = words.as_chunks::<4>().0.iter();
            let words: String = words
                .map(|word| format!("{:08X}", u32::from_ne_bytes(*word)))
                .collect();
            format!("{words}:{port:04X}")
        };
        format!(
            "   0: {} {} {state:02X} 00000000:00000000 00:00000000 00000000 0 0 1 1",
            end(local),
            end(remote)
        )
    }

    const HERE: u128 = 0x0400 << 112 | 1;
    const THERE: u128 = 0x05ff << 112 | 2;

    #[test]
    fn open_connections_with_the_overlay_are_found_and_listeners_tell_who_began_them() {
        let table = [
            "  sl  local_address remote_address st".to_owned(),
            line((0, 22), (0, 0), 10),
            line((HERE, 22), (THERE, 40_000), 1),
            line((HERE, 50_000), (THERE, 80), 5),
            line((HERE, 50_001), (THERE, 80), 6),
            line((HERE, 50_002), (0x2001 << 112, 80), 1),
            line((HERE, 50_003), (0x0600 << 112, 80), 1),
        ]
        .join("\n");
        let found = connections(TCP, &table);
        let short: Vec<_> = found.iter().map(|each| (each.ports, each.accepted)).collect();
        assert_eq!(short, [((22, 40_000), true), ((50_000, 80), false)]);
        assert_eq!((found[0].local, found[0].remote), (HERE, THERE));
        assert_eq!(connections(UDP, &table).len(), 1, "only what has a remote end");
        assert_eq!(connections(58, &table), []);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_and_what_was_written_is_found(text: String, port: u16, other: u16, host: u128) {
            let remote = host >> 7 | 0x0400 << 112;
            let table = format!("{text}\n{}", line((HERE, port), (remote, other), 1));
            let found = connections(TCP, &table);
            let last = found.last().map(|each: &Connection| (each.remote, each.ports));
            proptest::prop_assert_eq!(last, Some((remote, (port, other))));
        }
    }
}
