"""The reference server: the specification with sockets around it. Simple first, fast not at all."""
