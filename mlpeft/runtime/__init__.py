"""What drives the state machines: event loops, threads, sockets."""
