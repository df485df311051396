"""A new process takes over from the one that runs, without losing a parked connection. See proof/TAKEOVER.md."""
