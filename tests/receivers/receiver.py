"""A receiver of webhooks, which verifies each request with the PyPI package `standardwebhooks`.

    .venv/bin/python receiver.py --port 0 --secret whsec_… [--status 500 [--times 3]] [--answers FILE]

Its arguments, output and responses are those of receiver.mjs, which describes them.
"""

import argparse
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, default=0)
parser.add_argument("--secret", required=True)
parser.add_argument("--status", type=int)
parser.add_argument("--times", type=float, default=float("inf"))
parser.add_argument("--answers")
arguments = parser.parse_args()
webhook = Webhook(arguments.secret)
left = 0 if arguments.status is None else arguments.times
# Requests arrive on several threads.
lock = threading.Lock()


def verify(body, headers):
    try:
        webhook.verify(body, headers, json_parse=False)
        return True
    except (WebhookVerificationError, ValueError):
        # A ValueError is a header or a body of another form.
        return False


def answer(verified):
    global left
    if not verified:
        return {"status": 401}
    if left > 0:
        left -= 1
        return {"status": arguments.status}
    if arguments.answers and os.path.exists(arguments.answers):
        with open(arguments.answers, encoding="utf-8") as file:
            return json.load(file)
    return {"status": 204}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        with lock:
            self.respond(body, headers)

    def respond(self, body, headers):
        verified = verify(body, headers)
        chosen = answer(verified)
        request = {"id": headers.get("webhook-id"), "timestamp": int(headers.get("webhook-timestamp", 0))}
        try:
            request["type"] = json.loads(body)["type"]
        except (ValueError, KeyError, TypeError):
            pass
        request |= {"verified": verified, "status": chosen["status"], "body": body.decode(errors="replace")}
        print(json.dumps(request), flush=True)
        self.send_response(chosen["status"])
        for name, value in chosen.get("headers", {}).items():
            self.send_header(name, value)
        # A response of 204 has no body and no length.
        if chosen["status"] != 204:
            self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", arguments.port), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
