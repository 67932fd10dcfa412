"""The hot path: one chat request from its first byte to its booked records. I/O lives here, decisions in core."""
