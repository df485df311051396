"""The servers that can be held against the specification, and how each is started and ended."""
