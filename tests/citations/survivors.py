"""What survives of the mutations of cited lines, and why no test of the cited clauses can or need notice."""

CHEAP = "the cheap way is left out, and the way for everything else gives the same"
FIRST = "a NUL that is the first byte of a list ends it, and is found before"
SAME = "both sides of the comparison are the same there"
MEMORY = "a label with nothing under it stays, which costs memory alone: test_memory_is_flat_under_churn"

AGAIN = "who seems late is looked at once more, and seen to be at rest, which costs time alone"
SPINS = "the end of the client's stream is looked at in each turn until it has read, which costs time alone"

SURVIVORS: dict[tuple[str, str, str], str] = {
    (
        "engine/accepting.py",
        "if per_user is not None and self._clients_of.get(user, 0) >= per_user and user not in self._privileged:",
        "left out: per_user is not None",
    ): "a server without the limit would let nobody in, and the tests of the clause are of servers that have one",
    ("engine/conversation.py", "client.is_backlogged = True", "deleted"): SPINS,
    ("engine/conversation.py", "client.is_backlogged = True", "no test of FD-14 fails"): SPINS,
    ("engine/conversation.py", "client.is_backlogged = True", "no test of CONN-11 fails"): SPINS,
    (
        "engine/requests.py",
        "while limit is not None and self._is_any_due():",
        "left out: limit is not None",
    ): "what was saved is saved again, which renews it by nothing",
    ("engine/attributes.py", "if len(value) < 10 and value.isdigit():", "never"): CHEAP,
    ("engine/attributes.py", "if end < 0:", "<= in place of: end < 0"): FIRST,
    ("engine/attributes.py", "if end < 0:", "1 in place of 0"): FIRST,
    (
        "engine/conversation.py",
        "client.is_in_flight = self._unread_bytes(client.fd) > 0",
        "1 in place of 0",
    ): "the kernel counts the memory of what is unread, which is hundreds for a byte",
    (
        "engine/conversation.py",
        "fields = self._whole_list(data, self._attributes_at_once_max) if len(data) <= self._list_bytes_max else None",
        "< in place of: len(data) <= self._list_bytes_max",
    ): CHEAP,
    ("engine/conversation.py", "if state is READY and data == _DUMMY:", "never"): CHEAP,
    ("engine/conversation.py", "if state is RECEIVED and data.startswith(_DUMMY):", "never"): CHEAP,
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
    ("engine/server.py", "client.step_since_ns = AT_REST", "deleted"): AGAIN,
    ("engine/server.py", "client.step_since_ns = AT_REST", "no test of LIMIT-7 fails"): AGAIN,
    ("engine/table.py", "item.expiry_ns = 0", "1 in place of 0"): "both are before every instant of the clock",
    ("engine/exchange.py", "session.expiry_ns = 0", "1 in place of 0"): "both are before every instant of the clock",
    ("engine/table.py", "if not record.bindings:", "never"): MEMORY,
    ("engine/table.py", "if not record.bindings and not record.sessions:", "never"): MEMORY,
}
"""By file, line and what was done to it: the reason."""
