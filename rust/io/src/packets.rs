//! Whole packets, one after another in a buffer that was framed by this node: what they are, without any state.

use zosnet_core::frame::{self, DATA_HEADER, DataHeader, Kind, PACKET_HEADER};

/// TLV type of a Hello, and where it stands in a control packet (reference, section 3).
const HELLO: u8 = 4;
/// TLV type of an IHU.
const IHU: u8 = 5;
const TLV_AT: usize = 8;
/// Where the payload of a data packet begins.
const PAYLOAD_AT: usize = PACKET_HEADER + DATA_HEADER;

/// Whether the control packet is a Hello.
pub fn is_hello(packet: &[u8]) -> bool {
    packet.get(TLV_AT) == Some(&HELLO)
}

/// Whether the control packet is an IHU.
pub fn is_ihu(packet: &[u8]) -> bool {
    packet.get(TLV_AT) == Some(&IHU)
}

/// The whole packets at the start of `packets`, up to what is none.
pub fn whole(packets: &[u8]) -> impl Iterator<Item = (Kind, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let frame = frame::next(packets, at).ok().flatten()?;
        at = frame.end;
        Some((frame.kind, packets.get(frame.start..frame.end)?))
    })
}

/// How many whole packets `packets` is.
pub fn count_packets(packets: &[u8]) -> usize {
    whole(packets).count()
}

/// The control packets among whole packets.
pub fn only_control(packets: &[u8]) -> Vec<u8> {
    let mut control = Vec::new();
    for (_, packet) in whole(packets).filter(|(kind, _)| *kind == Kind::Control) {
        control.extend_from_slice(packet);
    }
    control
}

/// A data packet in a buffer of others.
#[derive(Debug, Clone, Copy)]
pub struct DataPacket<'b> {
    /// All of it.
    pub bytes: &'b [u8],
    /// Its header.
    pub header: DataHeader,
}

impl<'b> DataPacket<'b> {
    /// What follows the header.
    pub fn payload(&self) -> &'b [u8] {
        self.bytes.get(PAYLOAD_AT..).unwrap_or_default()
    }
}

/// The data packets among whole packets.
pub fn data(packets: &[u8]) -> impl Iterator<Item = DataPacket<'_>> {
    whole(packets).filter_map(|(kind, bytes)| {
        let body = bytes.get(PACKET_HEADER..).filter(|_| kind == Kind::Data)?;
        let header = DataHeader::parse(body).ok()?;
        Some(DataPacket { bytes, header })
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
pub(crate) mod tests {
    use super::*;

    /// A data packet with a payload of so many bytes, filled with this one.
    pub(crate) fn packet(fill: u8, payload: usize) -> Vec<u8> {
        let mut packet = vec![fill; PAYLOAD_AT + payload];
        let header = DataHeader {
            len: payload as u16,
            hop_limit: fill,
            src: [fill; 16],
            dst: [fill; 16],
        };
        header.write_packet(&mut packet).unwrap();
        packet
    }

    #[test]
    fn packets_are_found_one_after_another_by_kind_up_to_what_is_none() {
        let hello = [1, 1, 0, 0, 42, 3, 0, 2, HELLO, 0];
        let (first, last) = (packet(7, 3), packet(9, 0));
        let mut all = [&first[..], &hello, &last[..]].concat();
        assert!(is_hello(&hello) && !is_ihu(&hello));
        for rest in [&[][..], &first[..40], &[0; 50]] {
            all.truncate(first.len() + hello.len() + last.len());
            all.extend_from_slice(rest);
            assert_eq!(count_packets(&all), 3);
            assert_eq!(only_control(&all), hello);
            let found: Vec<_> = data(&all)
                .map(|data| (data.header.hop_limit, data.bytes, data.payload()))
                .collect();
            assert_eq!(found, [(7, &first[..], &[7; 3][..]), (9, &last[..], &[][..])]);
        }
    }
}
