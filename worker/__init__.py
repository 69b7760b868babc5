"""The worker's process: gRPC client and command line."""
