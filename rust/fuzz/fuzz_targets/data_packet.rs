//! Property: any data packet gets a decision; what is delivered has the sender's and this node's prefix and its remaining hop limit.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zosnet_fuzz::data_packet(data));
