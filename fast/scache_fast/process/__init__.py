"""The process around the engine: how it was started, its sockets, privileges, signals and log."""
