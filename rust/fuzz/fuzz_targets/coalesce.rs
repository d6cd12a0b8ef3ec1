//! Property: cutting what was merged gives back every packet, byte for byte and in the order of its flow.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zosnet_fuzz::coalesce(data));
