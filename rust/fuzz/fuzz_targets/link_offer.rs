//! Property: an offer of a handshake means the same when it is written again.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zosnet_fuzz::link_offer(data));
