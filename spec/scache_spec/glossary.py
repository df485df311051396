"""The words of the specification, each with the meaning that it has in every clause."""

from typing import Final

WORDS: Final[dict[str, str]] = {
    "server, client": "The server is the cache. A client is one connection to the server, and the program that has "
    "it: a program with two connections is two clients.",
    "peer": "The program at the other end of a parked connection. The peer knows nothing of the cache.",
    "attribute list, list": "Names with values, in order: what server and client send each other (WIRE-1).",
    "greeting": "The first list that the server sends to a client (CONN-1).",
    "request": "A list by which a client asks for something (CONN-12). A request is well formed if CONN-7 does not "
    "call it malformed and its name is known.",
    "reply": "The list that answers a request, with its status (CONN-13).",
    "save": "A save_endp or a save_dest.",
    "find": "A find_endp or a find_dest. A find hits if it finds a session, and misses if it finds none.",
    "`dummy`": "The name of the one attribute of three lists that mean different things. From the server it is the "
    "*invitation*. From a client it is *ready* or *received*; the state of the conversation says which of the two.",
    "invitation": "The list by which the server asks for the descriptor of a save_endp (FD-2).",
    "ready": "The list by which a client asks for the descriptor of the session that it found (FD-6).",
    "received": "The list by which a client says that it has the descriptor (FD-9).",
    "label": "The name of a destination or of an endpoint: any bytes but NUL, or none at all.",
    "endpoint": "What a connection leads to: a label under which sessions are parked.",
    "destination": "What a client wants to reach: a label that bindings lead from.",
    "session": "One parked connection: a descriptor, the label of its endpoint, its properties and its expiry.",
    "binding": "The way from a destination to an endpoint: both labels, its properties and its expiry.",
    "properties": "Bytes that the server keeps and gives back unread. Those of a session are the *endpoint "
    "properties*, those of a binding the *destination properties*.",
    "cache": "All sessions and all bindings that can be found. A held session is not in the cache.",
    "park": "To put a new session into the cache (FD-3).",
    "hold": "To keep a session that was found for the client that found it (CONN-10).",
    "hand over": "To send the descriptor of a held session to its client (FD-6). A find *hands out* the session.",
    "put back": "To put a held session into the cache again, because its client did not get it (ENDP-5).",
    "in flight": "A descriptor that was sent to a client and that the client has not read (FD-14).",
    "renew": "To give a binding that exists a new expiry (DEST-2).",
    "ttl": "Time to live: how many seconds a session or a binding is kept (WIRE-8).",
    "expiry, due": "The expiry is the instant at which the ttl is over (TTL-2). From then on a session or a binding "
    "is due.",
    "go away, gone": "A client goes away when it closes its connection, when its process ends, or when the server "
    "disconnects it.",
    "disconnect": "The server closes its connection to a client.",
    "take": "A client's socket is the server's end of the connection to that client. It has taken a byte when the "
    "server's call that sends the byte has succeeded. The client may read the byte much later.",
    "step, at rest": "A step is what a client may leave unfinished for a limited time. A client without an unfinished "
    "step is at rest (LIMIT-7).",
    "control data": "What sendmsg(2) sends beside the bytes. Descriptors are control data of the kind SCM_RIGHTS.",
    "passed file": "The file that a descriptor of a client stands for. Clients may pass any kind of file.",
    "user": "The user whose process a client is, as the kernel tells the server (SO_PEERCRED).",
}
"""Each word as the clauses use it, in an order in which no word needs one that comes much later."""
