//! Packets for the filter, made byte by byte.
#![allow(dead_code)]

use zosnet_core::Address;

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const ACK: u8 = 16;

/// An IPv6 packet with this next header and payload.
pub fn ipv6(src: &Address, dst: &Address, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    packet.extend_from_slice(&[protocol, 64]);
    packet.extend_from_slice(src);
    packet.extend_from_slice(dst);
    packet.extend_from_slice(payload);
    packet
}

/// A TCP header.
pub fn tcp(from: u16, to: u16, flags: u8) -> Vec<u8> {
    let mut header = [from.to_be_bytes(), to.to_be_bytes()].concat();
    header.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 2, 0, 0, 0, 0, 0]);
    header
}

/// A UDP datagram of 8 bytes of data.
pub fn udp(from: u16, to: u16) -> Vec<u8> {
    let mut datagram = [from.to_be_bytes(), to.to_be_bytes(), [0, 16], [0, 0]].concat();
    datagram.extend_from_slice(b"datagram");
    datagram
}

/// An ICMPv6 packet: type, code, the four bytes after the checksum, and what follows.
pub fn icmp(kind: u8, rest: [u8; 4], body: &[u8]) -> Vec<u8> {
    [&[kind, 0, 0, 0][..], &rest, body].concat()
}

/// An echo request or reply with this identifier.
pub fn echo(kind: u8, id: u16) -> Vec<u8> {
    let [one, two] = id.to_be_bytes();
    icmp(kind, [one, two, 0, 1], b"payload!")
}

/// A fragment: what it is of, where it begins (in units of eight bytes), whether more follow, its id.
pub fn fragment(protocol: u8, from: u16, more: bool, id: u32, part: &[u8]) -> Vec<u8> {
    let place = (from << 3 | u16::from(more)).to_be_bytes();
    [&[protocol, 0][..], &place, &id.to_be_bytes(), part].concat()
}
