"""What a client does: the other side of the conversation. There is no code here, only clauses.

A server cannot enforce these clauses. `scache-conformance client` plays a server and holds a client against them.

CLNT-1  A client sends nothing before the whole greeting has come. If the greeting is not
`protocol=connection_cache_protocol`, the client closes the connection and sends nothing.

CLNT-2  A client sends one request, as CONN-12 has it. The client sends nothing more until the whole reply has come.
A client sends nothing out of band (MSG_OOB).

CLNT-3  After the invitation to a save_endp, a client sends one byte that carries exactly one descriptor, and nothing
with it. The connection counts as parked when status 0 has come.

CLNT-4  On status 1 and on status 2, nothing was carried out. The client does not send "ready" and awaits no descriptor.
The client may send its next request over the same connection to the server. A connection that the client wanted to park
is still its own.

CLNT-5  On status 0 of a find, a client sends "ready": the list `dummy`. Then it receives one byte with exactly one
descriptor. Then it sends "received": the list `dummy` again, alone or together with its next request.

CLNT-6  A client takes a reply that comes in any number of pieces, cut at any place and with any delay, as if the reply
had come whole.

CLNT-7  If the byte that a find hands out carries no descriptor, or more than one, the find has failed. The client then
closes every descriptor that came, and the connection to the server.

CLNT-8  A client waits for the server for a bounded time. If the server is late or closes the connection, the client
closes its own end, tells its caller, and goes on running. The client may try again over another connection. The client
does not send a save_endp again once the descriptor was sent, because the server may have parked it.

CLNT-9  A client keeps no descriptor that it does not use. A client closes its copy of what it parked, whatever was
handed out to it, and every connection to a server, also after failures.

CLNT-10  A find may hand out any kind of file. A client that wants a socket closes anything else.

Sources: scache_clnt(3), the client of Postfix.
"""
