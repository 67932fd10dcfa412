"""Values and decisions. Nothing here opens a socket, reads a clock, throws dice or writes a log."""
