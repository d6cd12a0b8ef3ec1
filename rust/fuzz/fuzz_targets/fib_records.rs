//! Property: records are applied or refused as a list searched linearly says, and lookups agree with it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zosnet_fuzz::fib_records(data));
