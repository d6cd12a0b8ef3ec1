//! What the tests share: hex, the nodes of the reference's vectors, packets made naively.
#![allow(dead_code, clippy::unwrap_used)]

use zosnet_core::suite::{Session, StaticKey};

/// Bytes of a hex string; blanks are ignored.
pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// An address from text.
pub fn address(text: &str) -> [u8; 16] {
    text.parse::<std::net::Ipv6Addr>().unwrap().octets()
}

/// The nodes of section 11.1 of the reference.
pub struct Identity {
    pub key: StaticKey,
    pub public: [u8; 32],
    pub address: [u8; 16],
}

fn identity(first: u8, public: &str, text: &str) -> Identity {
    let secret: [u8; 32] = std::array::from_fn(|at| first + at as u8);
    Identity {
        key: StaticKey::from_secret(&secret).unwrap(),
        public: hex(public).try_into().unwrap(),
        address: address(text),
    }
}

pub fn node_a() -> Identity {
    let public = "07a37cbc142093c8b755dc1b10e86cb426374ad16aa853ed0bdfc0b2b86d1c7c";
    identity(0x01, public, "5a6:f0c6:f365:177d:66be:4a2b:d9fd:b59e")
}

pub fn node_b() -> Identity {
    let public = "5869aff450549732cbaaed5e5df9b30a6da31cb0e5742bad5ad4a1a768f1a67b";
    identity(0x21, public, "5e5:2195:7cc4:bfb0:bb4d:44f8:afc:d14e")
}

pub fn node_c() -> Identity {
    let public = "64b101b1d0be5a8704bd078f9895001fc03e8e9f9522f188dd128d9846d48466";
    identity(0x41, public, "468:20b6:ba90:a8da:c310:ad1c:70b7:5be")
}

/// The session between two of them.
pub fn session(one: &Identity, other: &Identity) -> Session {
    one.key.session(&other.public).unwrap()
}

/// The Internet checksum as RFC 1071 explains it, one word after the other.
pub fn naive_sum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Whether the transport checksum of an IP packet without options is right, computed naively.
pub fn transport_is_right(packet: &[u8]) -> bool {
    let (addresses, protocol, at) = if packet[0] >> 4 == 6 {
        (&packet[8..40], packet[6], 40)
    } else {
        (&packet[12..20], packet[9], usize::from(packet[0] & 15) * 4)
    };
    let mut all = addresses.to_vec();
    all.extend_from_slice(&((packet.len() - at) as u32).to_be_bytes());
    all.extend_from_slice(&[0, 0, 0, protocol]);
    all.extend_from_slice(&packet[at..]);
    naive_sum(&all) == 0xffff
}

/// A packet to be cut or merged.
#[derive(Debug, Clone)]
pub struct Flow {
    pub v6: bool,
    pub tcp: bool,
    pub port: u16,
    pub sequence: u32,
    pub flags: u8,
    pub id: u16,
    pub options: Vec<u8>,
    pub traffic_class: u8,
}

impl Default for Flow {
    fn default() -> Self {
        Self {
            v6: true,
            tcp: true,
            port: 5201,
            sequence: 1000,
            flags: 0x10,
            id: 7,
            options: vec![1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8],
            traffic_class: 0,
        }
    }
}

impl Flow {
    pub fn transport_at(&self) -> usize {
        if self.v6 { 40 } else { 20 }
    }

    pub fn headers_len(&self) -> usize {
        self.transport_at() + if self.tcp { 20 + self.options.len() } else { 8 }
    }

    /// The packet with this payload. Its transport checksum is complete, or that of the pseudo header only.
    pub fn packet(&self, payload: &[u8], partial: bool) -> Vec<u8> {
        let at = self.transport_at();
        let total = self.headers_len() + payload.len();
        let protocol = if self.tcp { 6 } else { 17 };
        let mut packet = Vec::new();
        if self.v6 {
            packet.extend_from_slice(&[0x60 | self.traffic_class >> 4, self.traffic_class << 4, 0, 9]);
            packet.extend_from_slice(&((total - 40) as u16).to_be_bytes());
            packet.extend_from_slice(&[protocol, 64]);
            packet.extend_from_slice(&address("400::1"));
            packet.extend_from_slice(&address("500::2"));
        } else {
            packet.extend_from_slice(&[0x45, self.traffic_class]);
            packet.extend_from_slice(&(total as u16).to_be_bytes());
            packet.extend_from_slice(&self.id.to_be_bytes());
            packet.extend_from_slice(&[0x40, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
            let sum = !naive_sum(&packet);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        packet.extend_from_slice(&self.port.to_be_bytes());
        packet.extend_from_slice(&80u16.to_be_bytes());
        if self.tcp {
            packet.extend_from_slice(&self.sequence.to_be_bytes());
            packet.extend_from_slice(&77u32.to_be_bytes());
            packet.extend_from_slice(&[
                ((20 + self.options.len()) as u8 / 4) << 4,
                self.flags,
                2,
                0,
                0,
                0,
                0,
                0,
            ]);
            packet.extend_from_slice(&self.options);
        } else {
            packet.extend_from_slice(&((8 + payload.len()) as u16).to_be_bytes());
            packet.extend_from_slice(&[0, 0]);
        }
        packet.extend_from_slice(payload);
        let mut pseudo = if self.v6 {
            packet[8..40].to_vec()
        } else {
            packet[12..20].to_vec()
        };
        pseudo.extend_from_slice(&((total - at) as u32).to_be_bytes());
        pseudo.extend_from_slice(&[0, 0, 0, protocol]);
        if !partial {
            pseudo.extend_from_slice(&packet[at..]);
        }
        let sum = match (naive_sum(&pseudo), partial) {
            (sum, true) => sum,
            (0xffff, false) => 0xffff,
            (sum, false) => !sum,
        };
        let field = at + if self.tcp { 16 } else { 6 };
        packet[field..field + 2].copy_from_slice(&sum.to_be_bytes());
        packet
    }
}
