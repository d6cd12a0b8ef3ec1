//! The vectors of the reference (sections 11.1 to 11.6 and 11.9), both ways.
#![allow(clippy::unwrap_used)]

mod common;

use common::{hex, node_a, node_b, node_c, session};
use zosnet_core::forward::{Node, Opened, opened};
use zosnet_core::frame::{self, DataHeader, FrameError, Kind};
use zosnet_core::icmp::{self, Problem};
use zosnet_core::inner::{self, InnerType};
use zosnet_core::suite::{Nonces, OVERHEAD, StaticKey, SuiteError};

const ECHO: &str = "6000000000103a4005a6f0c6f365177d66be4a2bd9fdb59e05e521957cc4bfb0bb4d44f80afcd14e
    80003874123400016d7963656c69756d";
const SEALED: &str =
    "339af4f6432548e227e65e027db557177d9a9fd4156a254925593309003be787aa9de153c40aa16f1c6587c7
    15218833868a83220d294603de45ee61540e8c012204cf72c2057021ef5551a7173e1a1d7cd493cfb3567223";
const SEALED_WITH_KNOWN_NONCE: &str = "b6ade40ad393c123f4932f9d30460683f3365c010e2640192d8eb6e66b157b17b6e95d18
    798062e02339390a71138d969369e13abcf9f1e0eee023db539589a278f7bc757e392e57214c0c1a 000102030405060708090a0b";

/// Section 11.6: what C sent, and what A answered.
const OFFENDER: &str = "01000000 00005801 046820b6ba90a8dac310ad1c70b705be 05e521957cc4bfb0bb4d44f80afcd14e
    ec8b38e24018f9ebd9b218523585962dfd74b10e6cc6c1b060dc5dbe089a224993aef9e5ec0c41734e5f187c4a9c5980f121906c42247fba92ec52a2
    66f67eb622d912c5d8663f0a7036f3cf430df005afb84cc45c98afa0";
const ANSWER: &str = "01000000 0000b83f 05a6f0c6f365177d0000000000000000 046820b6ba90a8dac310ad1c70b705be
    42f885101c3043698be3ef68169b4f568affc64b772f4f85ec9d44d44ea78c6baf5478be9da8a74f733036059ebf229efbfc8d60716ff965426be9e3
    9f68c0ff8765ec7ec75354bf0d5744a09e705519dac03881811721603389fc397d3d4b11ee047d04e09f472c9208dcd43fa73c59bb08afb01e48c8c6
    4cf585a65f3576f4d0388217ef9d0090ed440ba9f22fd3193fcf7a52cbc898c39149705db147393c3060e7efa039e24a46048966dedf3c4238a9e215
    f063f081";

/// The control packets of section 11.2, cut where they end.
const CONTROL: [&str; 9] = [
    "01010000 2a030008 0406 8000 0005 07d0",
    "01010000 2a030008 0506 00 00 03f2 1770",
    "01010000 2a03000c 050a 01 00 03f2 1770 c0000201",
    "01010000 2a030018 0516 02 00 03f2 1770 fe800000000000000000000000000001",
    "01010000 2a03003c 083a 02 00 40 00 7530 0000 0000 05e521957cc4bfb0
     5869aff450549732cbaaed5e5df9b30a6da31cb0e5742bad5ad4a1a768f1a67b 0000 aabbccddeeff",
    "01010000 2a030044 0842 02 00 80 00 7530 0000 0000 05e521957cc4bfb0bb4d44f80afcd14e
     5869aff450549732cbaaed5e5df9b30a6da31cb0e5742bad5ad4a1a768f1a67b 0000 aabbccddeeff",
    "01010000 2a03000d 090b 00 02 40 05e521957cc4bfb0",
    "01010000 2a030005 0903 00 00 00",
    "01010000 2a030038 0a36 02 40 0008 40 00
     5869aff450549732cbaaed5e5df9b30a6da31cb0e5742bad5ad4a1a768f1a67b 0000 aabbccddeeff 05e521957cc4bfb0",
];

/// The kinds and lengths of all packets in `stream`, and how it ends.
fn frames(stream: &[u8]) -> (Vec<(Kind, usize)>, Result<(), FrameError>) {
    let (mut found, mut at) = (Vec::new(), 0);
    loop {
        match frame::next(stream, at) {
            Ok(Some(frame)) => {
                found.push((frame.kind, frame.end - frame.start));
                at = frame.end;
            }
            Ok(None) => return (found, Ok(())),
            Err(error) => return (found, Err(error)),
        }
    }
}

#[test]
fn public_keys_follow_from_secrets() {
    for node in [node_a(), node_b(), node_c()] {
        assert_eq!(node.key.public(), node.public);
    }
}

#[test]
fn keys_of_low_order_are_refused() {
    let key = node_a().key;
    let mut one = [0; 32];
    one[0] = 1;
    let order_eight = hex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800");
    for low in [[0; 32], one, order_eight.try_into().unwrap()] {
        assert_eq!(key.session(&low).err(), Some(SuiteError::LowOrder));
    }
}

#[test]
fn every_control_packet_is_framed_by_its_own_length() {
    let mut stream = Vec::new();
    for packet in CONTROL.map(hex) {
        assert_eq!(frames(&packet).0, [(Kind::Control, packet.len())]);
        assert_eq!(frame::needed(&packet), packet.len());
        stream.extend_from_slice(&packet);
    }
    let lengths: Vec<_> = CONTROL.map(|text| (Kind::Control, hex(text).len())).to_vec();
    assert_eq!(frames(&stream), (lengths, Ok(())));
}

#[test]
fn a_data_header_reads_and_writes() {
    let text =
        "01000000 00 0004 3f 05a6f0c6f365177d66be4a2bd9fdb59e 05e521957cc4bfb0bb4d44f80afcd14e deadbeef";
    let mut packet = hex(text);
    assert_eq!(frames(&packet).0, [(Kind::Data, 44)]);
    let (header, payload) = DataHeader::parse_packet(&mut packet).unwrap();
    let wanted = DataHeader {
        len: 4,
        hop_limit: 63,
        src: node_a().address,
        dst: node_b().address,
    };
    assert_eq!((header, &*payload), (wanted, &hex("deadbeef")[..]));
    let mut written = [0xff; 40];
    header.write_packet(&mut written).unwrap();
    assert_eq!(written, packet[..40]);
}

#[test]
fn a_packet_of_the_reference_opens_and_is_delivered() {
    let (a, b) = (node_a(), node_b());
    let mut payload = hex(SEALED);
    let len = payload.len() as u16;
    let plaintext = session(&b, &a).open(&mut payload).unwrap();
    assert_eq!(plaintext, [hex("01000000"), hex(ECHO)].concat());
    let outer = DataHeader {
        len,
        hop_limit: 63,
        src: a.address,
        dst: b.address,
    };
    let mut delivered = hex(ECHO);
    delivered[7] = 62;
    let node = Node { address: b.address };
    assert_eq!(opened(&node, &outer, 62, plaintext), Opened::Tun(&mut delivered));
}

#[test]
fn sealing_with_the_known_nonce_gives_the_known_bytes() {
    let (a, b) = (node_a(), node_b());
    let wanted = hex(SEALED_WITH_KNOWN_NONCE);
    let mut buf = [hex("01000000"), hex(ECHO)].concat();
    buf.resize(buf.len() + OVERHEAD, 0);
    session(&a, &b)
        .seal(std::array::from_fn(|at| at as u8), &mut buf)
        .unwrap();
    assert_eq!(buf, wanted);
    let plaintext = session(&b, &a).open(&mut buf).unwrap();
    assert_eq!(
        inner::parse(plaintext).unwrap(),
        (InnerType::L3, &mut hex(ECHO)[..])
    );
}

#[test]
fn an_altered_or_short_payload_is_refused() {
    let session = session(&node_b(), &node_a());
    for at in 0..hex(SEALED).len() {
        let mut payload = hex(SEALED);
        payload[at] ^= 1;
        assert_eq!(session.open(&mut payload), Err(SuiteError::Forged));
    }
    for length in 0..OVERHEAD {
        assert_eq!(session.open(&mut hex(SEALED)[..length]), Err(SuiteError::Short));
        assert_eq!(
            session.seal([0; 12], &mut vec![0; length]),
            Err(SuiteError::Short)
        );
    }
}

#[test]
fn nonces_are_handed_out_once_and_never_made_up() {
    let mut counter = 0u8;
    let mut nonces = Nonces::new(move |buffer| {
        if counter == 2 {
            return Err(SuiteError::Random);
        }
        counter += 1;
        for (at, nonce) in buffer.chunks_mut(12).enumerate() {
            nonce.fill(counter);
            nonce[..2].copy_from_slice(&(at as u16).to_be_bytes());
        }
        Ok(())
    });
    let mut seen = std::collections::HashSet::new();
    while let Ok(nonce) = nonces.take() {
        assert!(seen.insert(nonce));
    }
    assert_eq!(seen.len(), 2 * 341);
    assert_eq!(nonces.take(), Err(SuiteError::Random));
}

#[test]
fn an_unclamped_secret_is_the_same_key_as_a_clamped_one() {
    let (mut raw, mut clamped) = ([0xff; 32], [0xff; 32]);
    raw[0] = 0x0f;
    clamped[0] = 0x08;
    clamped[31] = 0x7f;
    assert_eq!(
        StaticKey::from_secret(&raw).unwrap().public(),
        StaticKey::from_secret(&clamped).unwrap().public()
    );
}

#[test]
fn a_transit_node_reports_as_the_reference_does() {
    let (a, c) = (node_a(), node_c());
    let mut offender = hex(OFFENDER);
    let (header, payload) = DataHeader::parse_packet(&mut offender).unwrap();
    let transit = Node { address: a.address }.network();
    let mut packet = icmp::out_of_band(Problem::HopLimit, &transit, &header, payload).unwrap();
    let answer = hex(ANSWER);
    assert_eq!(packet.len(), answer.len());
    assert_eq!(packet[..40], answer[..40]);
    let nonce = answer[answer.len() - 12..].try_into().unwrap();
    session(&a, &c)
        .seal(nonce, &mut packet[icmp::SEALED_AT..])
        .unwrap();
    assert_eq!(packet, answer);
}

#[test]
fn an_out_of_band_error_comes_back_to_the_host_with_its_own_packet() {
    let (a, b, c) = (node_a(), node_b(), node_c());
    let mut answer = hex(ANSWER);
    let (outer, payload) = DataHeader::parse_packet(&mut answer).unwrap();
    let plaintext = session(&c, &a).open(payload).unwrap();
    let (kind, body) = inner::parse(plaintext).unwrap();
    assert_eq!(kind, InnerType::Icmp);
    let error = icmp::recover(&outer, body).unwrap();
    assert_eq!((error.problem, error.destination), (Problem::HopLimit, b.address));
    let mut sealed = error.sealed.to_vec();
    let offending = session(&c, &b).open(&mut sealed).unwrap();
    let offending = inner::parse(offending).unwrap().1;
    let told = error.for_host(offending).unwrap().unwrap();
    assert_eq!(
        told[8..40],
        [Node { address: a.address }.network(), c.address].concat()
    );
    assert_eq!(told[40..42], [3, 0]);
    assert_eq!(told[48..], *offending);
    assert!(common::transport_is_right(&told));
    assert_eq!(offending[..8], hex("6000000000103a01"));
}

#[test]
fn decoder_behaviour() {
    let hello = hex("01010000 2a030008 0406800000 0507d0");
    let unknown = hex("01010000 2a030006 e004 01020304");
    let data =
        hex("01000000 ff 0001 3f 05a6f0c6f365177d66be4a2bd9fdb59e 05e521957cc4bfb0bb4d44f80afcd14e 00");
    let (h, u, d) = ((Kind::Control, 16), (Kind::Control, 14), (Kind::Data, 41));
    // Reserved bytes are ignored, in the packet header and in the data header.
    assert_eq!(
        frames(&hex("0101beef 2a030008 0406800000 0507d0")),
        (vec![h], Ok(()))
    );
    assert_eq!(frames(&data), (vec![d], Ok(())));
    assert_eq!(frames(&hex("02010000 2a03")).1, Err(FrameError::Version(2)));
    assert_eq!(frames(&hex("01020000 2a03")).1, Err(FrameError::Type(2)));
    // Where the reference loses its place after an unknown TLV, this decoder doesn't.
    assert_eq!(
        frames(&[&unknown[..], &hello, &hello].concat()),
        (vec![u, h, h], Ok(()))
    );
    assert_eq!(
        frames(&[&unknown[..], &data, &hello, &hello].concat()),
        (vec![u, d, h, h], Ok(()))
    );
    // The price: a Babel packet without its header, which only resynchronises the reference, ends the link.
    let bare = &hello[4..];
    assert_eq!(
        frames(&[&unknown[..], bare, &data].concat()),
        (vec![u], Err(FrameError::Version(0x2a)))
    );
    // Two TLVs, trailing bytes: one frame each; what they mean is for the codec to refuse.
    let two = hex("01010000 2a030010 04068000000507d0 04068000000607d0");
    assert_eq!(frames(&two), (vec![(Kind::Control, 24)], Ok(())));
    let trailing = hex("01010000 2a03000a 0408 80000005 07d0 abcd");
    assert_eq!(frames(&trailing), (vec![(Kind::Control, 18)], Ok(())));
    // A body too short for any TLV kills the reference's task.
    assert_eq!(frames(&hex("01010000 2a030001 00")).1, Err(FrameError::Body(1)));
    assert_eq!(frames(&hex("01010000 2a030000")).1, Err(FrameError::Body(0)));
    assert_eq!(frames(&hex("01010000 2b03")).1, Err(FrameError::Babel));
}
