"""Invariants of the conversation's table, proved by induction for any number of clients and sessions."""
