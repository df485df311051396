"""The reference server: the specification with sockets around it. It is made to be simple, not fast."""
