"""Calls of the REST API: create, get, list, follow and cancel orders.

All calls can be repeated without a second effect, so they are repeated after a lost connection and while a gateway is busy.
"""

import asyncio
import http.client
import json
import os
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

Order = dict[str, Any]
Event = dict[str, Any]

FINAL = ("completed", "failed", "cancelled")
TRIES = 5
MAX_DELAY = 10.0
RETRYABLE = (429, 502, 503, 504)


class ApiError(Exception):
    """A response with an error. `code` is one of the documented error codes, `errors` names each invalid value."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status, self.code = status, str(problem.get("code", ""))
        self.errors: Sequence[Any] = problem.get("errors", ())
        super().__init__(f"{status} {self.code}: {problem.get('detail') or problem.get('title') or 'no description'}")


class Client:
    """`urls`: addresses of gateways; default: ORDERS_URL, separated by commas. `token`: default: ORDERS_TOKEN."""

    def __init__(
        self, urls: str | Sequence[str] = (), *, token: str | None = None, timeout: float = 30.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        urls = urls or os.environ.get("ORDERS_URL", "") or "http://127.0.0.1:3000"
        self._urls = [url.strip().rstrip("/") for url in (urls.split(",") if isinstance(urls, str) else urls)]
        self._token = os.environ.get("ORDERS_TOKEN", "") if token is None else token
        self._timeout, self._tls = timeout, tls

    def create(self, order: Order, *, idempotency_key: str | None = None) -> Order:
        """Creates an order and returns it. A create with the key of an earlier one returns the order of that one."""
        key = idempotency_key or str(uuid.uuid4())
        return self._order("POST", "/orders", order, {"idempotency-key": key})

    def get(self, order_id: str) -> Order:
        return self._order("GET", f"/orders/{urllib.parse.quote(order_id)}")

    def list(self, **filters: Any) -> Iterator[Order]:
        """Returns the orders that match, newest first: `list(status="failed", metadata={"channel": "web"})`."""
        pairs = []
        for name, value in filters.items():
            if isinstance(value, Mapping):
                pairs += [(f"{name}.{key}", item) for key, item in value.items()]
            else:
                pairs.append((name, value if isinstance(value, str | int | float) else ",".join(value)))
        path: str | None = f"/orders?{urllib.parse.urlencode(pairs)}"
        while path:
            with self._send("GET", path) as response:
                links = response.headers.get("link") or ""
                yield from json.load(response)
            following = [link for link in links.split(",") if 'rel="next"' in link]
            path = following[0].split("<")[1].split(">")[0] if following else None

    def follow(self, order_id: str, *, after: int = 0) -> Iterator[Event]:
        """Returns the events of an order after a sequence, as they happen, up to its final status."""
        path = f"/orders/{urllib.parse.quote(order_id)}/events"
        while True:
            headers = {"accept": "text/event-stream", "last-event-id": str(after)}
            try:
                with self._send("GET", path, headers=headers) as response:
                    if response.status == 204:
                        return
                    for line in response:
                        if line.startswith(b"data:"):
                            event = json.loads(line[5:])
                            after = event["sequence"]
                            yield event
                            if event["status"] in FINAL:
                                return
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.5)

    def cancel(self, order_id: str, *, reason: str | None = None) -> Order:
        body = {"reason": reason} if reason else {}
        return self._order("POST", f"/orders/{urllib.parse.quote(order_id)}/cancel", body)

    def _order(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] = {}) -> Order:
        with self._send(method, path, body, headers) as response:
            order: Order = json.load(response)
            return order

    def _send(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] = {}) -> Any:
        """Returns a response without an error, or raises `ApiError`."""
        headers = {"accept": "application/json", "content-type": "application/json", **headers}
        if self._token:
            headers["authorization"] = f"Bearer {self._token}"
        data = None if body is None else json.dumps(body).encode()
        for remaining in reversed(range(TRIES)):
            request = urllib.request.Request(self._urls[0] + path, data, headers, method=method)
            try:
                return urllib.request.urlopen(request, timeout=self._timeout, context=self._tls)
            except urllib.error.HTTPError as error:
                if error.code not in RETRYABLE or not remaining:
                    raise ApiError(error.code, _problem(error)) from None
                delay = error.headers.get("retry-after") or ""
                wait = float(delay) if delay.isdigit() else 0.5
            except (OSError, http.client.HTTPException):
                if not remaining:
                    raise
                wait = 0.2 * (TRIES - remaining)
            # Another gateway may answer.
            self._urls = self._urls[1:] + self._urls[:1]
            time.sleep(min(wait, MAX_DELAY))
        raise AssertionError("the last try returns or raises")


class AsyncClient:
    """The same calls for an event loop. They run in threads."""

    def __init__(self, urls: str | Sequence[str] = (), **options: Any) -> None:
        self._client = Client(urls, **options)

    async def create(self, order: Order, *, idempotency_key: str | None = None) -> Order:
        return await asyncio.to_thread(self._client.create, order, idempotency_key=idempotency_key)

    async def get(self, order_id: str) -> Order:
        return await asyncio.to_thread(self._client.get, order_id)

    def list(self, **filters: Any) -> AsyncIterator[Order]:
        return _in_threads(self._client.list(**filters))

    def follow(self, order_id: str, *, after: int = 0) -> AsyncIterator[Event]:
        return _in_threads(self._client.follow(order_id, after=after))

    async def cancel(self, order_id: str, *, reason: str | None = None) -> Order:
        return await asyncio.to_thread(self._client.cancel, order_id, reason=reason)


async def _in_threads(items: Iterator[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
    while (item := await asyncio.to_thread(next, items, None)) is not None:
        yield item


def _problem(error: urllib.error.HTTPError) -> Mapping[str, Any]:
    try:
        problem = json.load(error)
    except (OSError, ValueError, http.client.HTTPException):
        return {}
    return problem if isinstance(problem, dict) else {}
