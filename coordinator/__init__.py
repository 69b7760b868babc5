"""The coordinator's process: gRPC server, event loop and command line."""
