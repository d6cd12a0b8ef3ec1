//! Property: a stream gives the same packets however it is cut, each within bounds and of the length that was foretold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zosnet_fuzz::frame_stream(data));
