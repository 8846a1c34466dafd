"""Health check of a container: exit 0 when /ready of the service on the given port answers 200.

401 will do, too: a service that wants a token started with its ledger open.

Run with `python -S -E`: plain sockets keep it below a tenth of a second, every few seconds, in every container.
"""

import socket
import sys

with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=3) as connection:
    connection.sendall(b"GET /ready HTTP/1.0\r\nHost: localhost\r\n\r\n")
    status_line = connection.recv(64).split(b"\r\n")[0]
if b" 200 " not in status_line and b" 401 " not in status_line:
    sys.exit(status_line.decode(errors="replace"))
