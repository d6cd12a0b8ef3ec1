//! Property: what a stranger sends changes nothing, whatever it is.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zosnet_fuzz::session_keeper(data));
