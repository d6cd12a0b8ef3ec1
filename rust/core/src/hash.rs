//! Quick hashes for tables of numbers and addresses.

use std::hash::{BuildHasher, Hasher};

/// Keys come from the network, so the hash is keyed: without the seed nobody can aim for collisions.
#[derive(Debug, Clone)]
pub struct Seeded(u64, u64);

impl Seeded {
    /// Keyed by `seed`, which must be secret.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // Two well-mixed words out of one: the steps of SplitMix64.
        let mix = |mut word: u64| {
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^ (word >> 31)
        };
        let step = 0x9e37_79b9_7f4a_7c15u64;
        Self(
            mix(seed.wrapping_add(step)),
            mix(seed.wrapping_add(step.wrapping_mul(2))) | 1,
        )
    }
}

impl BuildHasher for Seeded {
    type Hasher = FoldHasher;

    #[inline]
    fn build_hasher(&self) -> FoldHasher {
        FoldHasher {
            state: self.0,
            key: self.1,
        }
    }
}

/// Multiply and fold, twice keyed: one multiplication for a u64.
#[derive(Debug)]
pub struct FoldHasher {
    state: u64,
    key: u64,
}

/// Without a secret: for numbers that this node gave itself, so that nobody else can aim for collisions.
impl Default for FoldHasher {
    #[inline]
    fn default() -> Self {
        Self {
            state: 0x9e37_79b9_7f4a_7c15,
            key: 0x94d0_49bb_1331_11eb,
        }
    }
}

impl Hasher for FoldHasher {
    #[inline]
    fn finish(&self) -> u64 {
        self.state
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.write_u64(u64::from_le_bytes(*word));
        }
        for byte in rest {
            self.write_u64(u64::from(*byte));
        }
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        let product = u128::from(word ^ self.state) * u128::from(self.key);
        self.state = (product as u64) ^ ((product >> 64) as u64);
    }

    #[inline]
    fn write_u128(&mut self, word: u128) {
        self.write_u64((word >> 64) as u64);
        self.write_u64(word as u64);
    }
}
