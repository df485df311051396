"""Runs shown to people and to machines: each module writes one format and knows no other."""
