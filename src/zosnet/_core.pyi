"""The data plane, in Rust."""
