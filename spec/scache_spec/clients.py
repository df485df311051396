"""What a client does: the other side of the conversation. There is no code here, only clauses.

A server cannot enforce these clauses. `scache-conformance client` plays a server and holds a client against them.

CLNT-1  A client sends nothing before the whole greeting has come. After any other greeting than
`protocol=connection_cache_protocol` it closes the connection and sends nothing.

CLNT-2  A client sends one request, as CONN-12 has it, and sends nothing more until the whole reply has come.

CLNT-3  After save_endp and the server's `dummy`, a client sends one byte that carries exactly one descriptor, and
nothing with it. The connection counts as parked when status 0 has come.

CLNT-4  On status 1 and 2 nothing was carried out. The client sends no "ready", awaits no descriptor, and may send its
next request over the same connection. A connection that it wanted to park is still its own.

CLNT-5  On status 0 of a find, a client sends `dummy`, receives one byte with exactly one descriptor, and sends `dummy`
again, alone or together with its next request.

CLNT-6  A client takes a reply that is cut into any number of pieces, at any place and with any delay, as if it had come
whole.

CLNT-7  If the byte that a find hands out carries no descriptor or more than one, the find has failed: the client closes
every descriptor that came, and the connection to the server.

CLNT-8  A client waits for the server for a bounded time. If the server is late or closes the connection, the client
closes its end, tells its caller, and goes on living. It may try again over another connection, but it does not send a
save_endp again once the descriptor was sent: the server may have parked it.

CLNT-9  A client keeps no descriptor that it does not use: it closes its copy of what was parked, whatever was handed
out, and every connection to a server, also after failures.

CLNT-10  What is handed out may be any kind of file. A client that wants a socket closes anything else.

Sources: scache_clnt(3), the client of Postfix.
"""
