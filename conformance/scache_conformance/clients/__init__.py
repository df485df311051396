"""A client held against the specification: the suite is the server."""
