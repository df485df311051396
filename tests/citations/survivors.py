"""What survives of the mutations of cited lines, and why no test of the cited clauses can or need notice."""

CHEAP = "the cheap way is left out, and the way for everything else gives the same"
SAME = "both sides of the comparison are the same there"
MEMORY = "a label with nothing under it stays, which costs memory alone: test_memory_is_flat_under_churn"

SURVIVORS: dict[tuple[str, str, str], str] = {
    ("engine/attributes.py", "if len(value) < 10 and value.isdigit():", "never"): CHEAP,
    ("engine/conversation.py", "if len(data) <= self._list_bytes_max:", "never"): CHEAP,
    (
        "engine/conversation.py",
        "if len(data) <= self._list_bytes_max:",
        "< in place of: len(data) <= self._list_bytes_max",
    ): CHEAP,
    ("engine/conversation.py", "if client.state is READY and data == _DUMMY:", "never"): CHEAP,
    ("engine/conversation.py", "if client.state is RECEIVED and data.startswith(_DUMMY):", "never"): CHEAP,
    (
        "engine/conversation.py",
        "if client.state is SENDING or client.state is CLOSED or len(client.output) > self._output_bytes_max:",
        "left out: client.state is CLOSED",
    ): "what a lost client had asked for is served, and the next write finds it lost again: a server may do either",
    (
        "engine/table.py",
        "return now_ns + (ttl_s if ttl_s < limit_s else limit_s) * NS_PER_S",
        "<= in place of: ttl_s < limit_s",
    ): SAME,
    ("engine/table.py", "if not record.bindings:", "never"): MEMORY,
    ("engine/table.py", "if not record.bindings and not record.sessions:", "never"): MEMORY,
}
"""By file, line and what was done to it: the reason."""
