#!/usr/bin/env python3
"""The API behind Envoy: it answers every request with what reached it, so that one sees what did."""

import http.server
import sys


class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        shown = [f"{name.lower()}: {value}" for name, value in self.headers.items()]
        ours = [line for line in shown if line.startswith(("x-authz", "x_authz", "authorization"))]
        body = "\n".join([f"{self.command} {self.path}", *sorted(ours), ""]).encode()
        self.send_response(200)
        self.send_header("content-type", "text/plain")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = answer

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True


with Server(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 0), Echo) as server:
    print(f"listening on 127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()
