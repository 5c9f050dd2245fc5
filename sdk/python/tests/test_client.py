"""The calls against an HTTP server that the test writes."""

import json
import threading
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from orders_client import ApiError, AsyncClient, Client


class ClientTests(unittest.IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        # Each response: status, headers, body.
        self.responses: list[tuple[int, dict[str, str], Any]] = []
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        test = self

        class Handler(BaseHTTPRequestHandler):
            def respond(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                headers = {name.lower(): value for name, value in self.headers.items()}
                test.requests.append((self.command, self.path, headers, body))
                status, response_headers, content = test.responses.pop(0)
                self.send_response(status)
                for name, value in response_headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content if isinstance(content, bytes) else json.dumps(content).encode())

            do_GET = do_POST = respond

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.client = Client(self.url, token="secret")

    def tearDown(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def test_create_is_repeated_with_the_same_key(self) -> None:
        self.responses = [(503, {"retry-after": "0"}, {"code": "overloaded"}), (201, {}, {"id": "a"})]
        self.assertEqual(self.client.create({"item": "Vase", "quantity": 1, "price": 25}), {"id": "a"})
        first, second = self.requests
        self.assertEqual(first[:2] + (first[3],), ("POST", "/orders", {"item": "Vase", "quantity": 1, "price": 25}))
        self.assertEqual(first[2]["authorization"], "Bearer secret")
        self.assertEqual(first[2]["idempotency-key"], second[2]["idempotency-key"])

    def test_an_error_has_its_code(self) -> None:
        self.responses = [(404, {}, {"code": "order_not_found", "detail": "no order"})]
        with self.assertRaisesRegex(ApiError, "404 order_not_found: no order"):
            self.client.get("a")

    def test_list_reads_every_page(self) -> None:
        link = '</orders?after=x>; rel="next", </orders>; rel="first"'
        self.responses = [(200, {"link": link}, [{"id": "a"}]), (200, {}, [{"id": "b"}])]
        found = list(self.client.list(status=["failed", "pending"], metadata={"channel": "web"}))
        self.assertEqual([order["id"] for order in found], ["a", "b"])
        paths = [request[1] for request in self.requests]
        self.assertEqual(paths, ["/orders?status=failed%2Cpending&metadata.channel=web", "/orders?after=x"])

    async def test_follow_resumes_after_the_last_event(self) -> None:
        def stream(*events: tuple[int, str]) -> bytes:
            lines = [f'id: {n}\ndata: {{"sequence":{n},"status":"{status}"}}\n\n' for n, status in events]
            return "".join(lines).encode()

        self.responses = [
            (200, {}, stream((1, "pending"), (2, "processing"))),
            (200, {}, stream((3, "completed"))),
        ]
        events = [event["sequence"] async for event in AsyncClient(self.url).follow("a")]
        self.assertEqual(events, [1, 2, 3])
        self.assertEqual([request[2]["last-event-id"] for request in self.requests], ["0", "2"])

    def test_cancel(self) -> None:
        self.responses = [(200, {}, {"status": "cancelled"})]
        self.assertEqual(self.client.cancel("a", reason="twice"), {"status": "cancelled"})
        self.assertEqual(self.requests[0][1::2], ("/orders/a/cancel", {"reason": "twice"}))
