"""Files of every kind that a process can pass."""
