"""A metadata server: HTTP on both families, one line in a log for every connection accepted."""
import http.server
import socket
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"credentials of the node\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True

    def get_request(self):
        connection, peer = super().get_request()
        LOG.write(f"{peer[0]}\n")
        LOG.flush()
        return connection, peer


LOG = open(sys.argv[1], "a", encoding="ascii")
Server(("::", 80), Handler).serve_forever()
