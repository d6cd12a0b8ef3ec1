//! Pure parts of the zosnet data plane: no I/O, no clock, no threads.
