//! Property: a read of the TUN device is refused whole, or cut into whole packets with right checksums that carry every payload byte once.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zosnet_fuzz::offload_split(data));
