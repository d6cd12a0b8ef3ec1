//! Property: pieces in any order give the packet, and never more than came.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zosnet_fuzz::fragments(data));
