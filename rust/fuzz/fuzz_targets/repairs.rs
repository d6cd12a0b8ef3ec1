//! Property: repairs give back the frames that are missing, and nothing else whatever they say.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zosnet_fuzz::repairs(data));
