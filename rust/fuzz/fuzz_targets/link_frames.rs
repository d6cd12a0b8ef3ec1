//! Property: whatever a peer with the right keys sends, the endpoint stays bounded and goes on.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zosnet_fuzz::link_frames(data));
