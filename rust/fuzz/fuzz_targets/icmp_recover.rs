//! Property: whatever an out-of-band error carries, what is told to the host is a whole ICMPv6 error with a right checksum.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zosnet_fuzz::icmp_recover(data));
