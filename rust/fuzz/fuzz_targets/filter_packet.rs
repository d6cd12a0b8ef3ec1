//! Property: any packet gets a verdict, and closed doors let in nothing but pings and answers.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zosnet_fuzz::filter_packet(data));
