//! GF(2^8) with the polynomial x^8 + x^4 + x^3 + x^2 + 1, in which 2 generates all of the 255 others.

/// The polynomial without its highest term.
const POLYNOMIAL: u8 = 0x1d;
/// Numbers that aren't 0.
const ORDER: usize = 255;

const fn twice(number: u8) -> u8 {
    let carry = if number & 0x80 == 0 { 0 } else { POLYNOMIAL };
    number << 1 ^ carry
}

/// 2^0 to 2^254, then the same again, and the exponent of each number: what is multiplied is added there.
const TABLES: ([u8; 2 * ORDER], [u8; 256]) = {
    let (mut powers, mut exponents) = ([0; 2 * ORDER], [0; 256]);
    let (mut number, mut at) = (1, 0);
    while at < ORDER {
        powers[at] = number;
        powers[at + ORDER] = number;
        exponents[number as usize] = at as u8;
        number = twice(number);
        at += 1;
    }
    (powers, exponents)
};

/// 2^`exponent`.
pub(super) fn power(exponent: usize) -> u8 {
    TABLES.0[exponent % ORDER]
}

/// The product.
pub(super) fn times(one: u8, other: u8) -> u8 {
    let exponent = |number: u8| usize::from(TABLES.1[usize::from(number)]);
    match (one, other) {
        (0, _) | (_, 0) => 0,
        _ => TABLES.0[exponent(one) + exponent(other)],
    }
}

/// The number that makes 1 of it. 0 has none, and stays.
pub(super) fn inverse(number: u8) -> u8 {
    match number {
        0 => 0,
        _ => TABLES.0[ORDER - usize::from(TABLES.1[usize::from(number)])],
    }
}

/// Add `bytes` to a sum, which is made as long as they need.
pub(super) fn add(sum: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if sum.len() < at + bytes.len() {
        sum.resize(at + bytes.len(), 0);
    }
    let place = sum.get_mut(at..).unwrap_or_default();
    for (to, from) in place.iter_mut().zip(bytes) {
        *to ^= from;
    }
}

/// Multiply a sum by 2.
pub(super) fn double(sum: &mut [u8]) {
    for byte in sum {
        *byte = twice(*byte);
    }
}

/// Multiply a sum by `factor`.
pub(super) fn scale(sum: &mut [u8], factor: u8) {
    for byte in sum {
        *byte = times(*byte, factor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As one learns it: shift and add.
    fn slowly(mut one: u8, mut other: u8) -> u8 {
        let mut product = 0;
        while other != 0 {
            product ^= if other & 1 == 1 { one } else { 0 };
            (one, other) = (twice(one), other >> 1);
        }
        product
    }

    #[test]
    fn products_and_inverses_are_those_of_the_field() {
        for one in 0..=255 {
            for other in 0..=255 {
                assert_eq!(times(one, other), slowly(one, other), "{one} {other}");
            }
            let expected = u8::from(one != 0);
            assert_eq!(times(one, inverse(one)), expected, "{one}");
        }
        let mut all: Vec<u8> = (0..ORDER).map(power).collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(1..=255), "2 generates them");
    }

    #[test]
    fn sums_grow_double_and_scale() {
        let mut sum = vec![0x80, 1];
        add(&mut sum, 1, &[3, 4]);
        assert_eq!(sum, [0x80, 2, 4]);
        double(&mut sum);
        assert_eq!(sum, [POLYNOMIAL, 4, 8]);
        scale(&mut sum, inverse(2));
        assert_eq!(sum, [0x80, 2, 4]);
    }
}
