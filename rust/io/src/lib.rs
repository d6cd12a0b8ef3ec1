//! The edge of the zosnet data plane: TUN device, links, threads.
