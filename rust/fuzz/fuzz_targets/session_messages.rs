//! Property: a handshake message, and an offer, is taken apart within its bounds.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zosnet_fuzz::session_messages(data));
