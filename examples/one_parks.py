"""The first of two unrelated programs: it opens a connection, says hello, and parks it.

python examples/one_parks.py cache.sock 127.0.0.1 7007
"""

import socket
import sys

from scache_client import Client

cache, host, port = sys.argv[1:]

connection = socket.create_connection((host, int(port)))
connection.sendall(b"hello from the first program\n")
print(connection.recv(1000).decode().strip())

with Client(cache) as client:
    client.save_endp(f"example\n{host}\n{port}".encode(), b"greeted=yes", 60, connection)
print("parked")
