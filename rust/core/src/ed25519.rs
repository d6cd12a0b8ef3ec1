//! The ledger's rule for Ed25519 signatures, as `zosnet.ledger.signature` has it, faster.
//!
//! RFC 8032 by the equation without a cofactor, and before it: S is below the group's order; key and R are
//! canonical and not of small order. Both implementations pass `tests/ledger/signature_vectors.json`.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use curve25519_dalek::edwards::CompressedEdwardsY;

/// The group's order, little-endian.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// The field's prime, little-endian.
const FIELD: [u8; 32] = [
    0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
];

/// The y of one of the points of order 8, little-endian.
const ROOT_OF_8: [u8; 32] = [
    0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
    0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
];

fn is_below(number: &[u8; 32], bound: &[u8; 32]) -> bool {
    number.iter().rev().lt(bound.iter().rev())
}

/// `FIELD - y`, for a y that is no greater.
fn negative(y: &[u8; 32]) -> [u8; 32] {
    let mut found = [0; 32];
    let mut borrow = false;
    for ((to, prime), from) in found.iter_mut().zip(FIELD).zip(y) {
        let (part, first) = prime.overflowing_sub(*from);
        let (rest, second) = part.overflowing_sub(u8::from(borrow));
        *to = rest;
        borrow = first || second;
    }
    found
}

/// Whether a point's y is below the prime, and not that of a point whose order divides 8.
fn is_canonical(point: &[u8; 32]) -> bool {
    let mut y = *point;
    y[31] &= 0x7f;
    if !is_below(&y, &FIELD) {
        return false;
    }
    let other = negative(&y);
    let is_small = |y: &[u8; 32]| y[0] < 2 && y.iter().skip(1).all(|byte| *byte == 0) || *y == ROOT_OF_8;
    // Small are 0, 1 and -1, and the root and its negative: each is small itself or its negative is.
    !(is_small(&y) || is_small(&other))
}

/// Whether `key` may be a key: 32 bytes, canonical, on the curve, not of small order.
#[must_use]
pub fn is_point(key: &[u8]) -> bool {
    <&[u8; 32]>::try_from(key)
        .is_ok_and(|point| is_canonical(point) && CompressedEdwardsY(*point).decompress().is_some())
}

/// Whether `signature` is `key`'s of `message`, by the rule above.
#[must_use]
pub fn verify(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let (Ok(point), Some((r, s))) = (<&[u8; 32]>::try_from(key), signature.split_first_chunk::<32>()) else {
        return false;
    };
    let Ok(s) = <&[u8; 32]>::try_from(s) else {
        return false;
    };
    is_below(s, &ORDER)
        && is_canonical(r)
        && is_canonical(point)
        && UnparsedPublicKey::new(&ED25519, key)
            .verify(message, signature)
            .is_ok()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

    #[test]
    fn a_signature_is_its_key_s_and_message_s_alone() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let (key, signature) = (pair.public_key().as_ref(), pair.sign(b"message"));
        assert!(verify(key, b"message", signature.as_ref()));
        assert!(!verify(key, b"massage", signature.as_ref()));
        assert!(!verify(&[9; 32], b"message", signature.as_ref()));
        assert!(!verify(&key[1..], b"message", signature.as_ref()));
        assert!(!verify(key, b"message", &signature.as_ref()[1..]));
        for place in 0..64 {
            let mut bent: Vec<u8> = signature.as_ref().to_vec();
            bent[place] ^= 1;
            assert!(!verify(key, b"message", &bent));
        }
    }

    #[test]
    fn numbers_and_points_have_one_spelling() {
        assert!(is_below(&[0; 32], &ORDER) && !is_below(&ORDER, &ORDER) && is_below(&ORDER, &FIELD));
        assert_eq!(negative(&negative(&ROOT_OF_8)), ROOT_OF_8);
        let mut point = [0; 32];
        for small in [0, 1] {
            point[0] = small;
            for sign in [0, 0x80] {
                point[31] = sign;
                assert!(!is_canonical(&point));
            }
        }
        assert!(!is_canonical(&ROOT_OF_8) && !is_canonical(&negative(&ROOT_OF_8)));
        assert!(!is_canonical(&FIELD) && !is_canonical(&[0xff; 32]) && is_canonical(&[9; 32]));
    }

    #[test]
    fn a_key_is_a_point_of_the_curve() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let key = pair.public_key().as_ref();
        assert!(is_point(key) && !is_point(&key[1..]) && !is_point(&ROOT_OF_8));
        let mut two = [0; 32];
        two[0] = 2;
        assert!(is_canonical(&two) && !is_point(&two));
    }
}
