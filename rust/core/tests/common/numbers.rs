//! The same numbers in every run: for tests, examples and the fuzz crate, never for keys that matter.

// Nobody needs all of it.
#![allow(dead_code)]

use zosnet_core::suite::Fill;

/// SplitMix64.
#[derive(Clone)]
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// In 0..1.
    pub fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    /// Fewer bytes than `limit`.
    pub fn bytes(&mut self, limit: usize) -> Vec<u8> {
        let length = self.below(limit);
        (0..length).map(|_| self.next() as u8).collect()
    }

    pub fn fill(mut self) -> Fill {
        Box::new(move |bytes| {
            bytes.iter_mut().for_each(|byte| *byte = self.next() as u8);
            Ok(())
        })
    }
}

/// Bytes that count up from `next`, for vectors.
pub fn counting(mut next: u8) -> Fill {
    Box::new(move |bytes| {
        for byte in bytes {
            *byte = next;
            next = next.wrapping_add(1);
        }
        Ok(())
    })
}
