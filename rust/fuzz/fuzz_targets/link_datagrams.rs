//! Property: whatever anybody sends to a node leaves its links as they are.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zosnet_fuzz::link_datagrams(data));
