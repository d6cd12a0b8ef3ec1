//! Property: entries lie inside the plaintext, one behind the other.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zosnet_fuzz::session_entries(data));
