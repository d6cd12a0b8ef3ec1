//! Property: what was sealed opens once, and nothing else does.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zosnet_fuzz::session_frames(data));
