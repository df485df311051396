"""The second of two unrelated programs: it takes up the connection that the first one parked, and goes on.

python examples/other_takes_up.py cache.sock 127.0.0.1 7007
"""

import sys

from scache_client import Client

cache, host, port = sys.argv[1:]

with Client(cache) as client:
    found = client.find_endp(f"example\n{host}\n{port}".encode())
if found is None:
    sys.exit("nothing is parked there: run one_parks.py first")

print("taken up, with", found.properties.decode())
with found.socket() as connection:
    connection.sendall(b"hello from the second program\n")
    print(connection.recv(1000).decode().strip())
