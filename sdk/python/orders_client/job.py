"""What a handler sees of its job, and how it ends."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from . import orders_pb2 as pb

PROGRESS_INTERVAL = 1.0
MAX_JSON = 64 * 1024
MAX_REASON = 500


class Retry(Exception):
    """The attempt failed, and the gateway retries the order.

    `after`: seconds after which to try again, as a called service asked for; the attempt then does not count as a failure.
    """

    def __init__(self, reason: str = "", *, after: float | None = None, error_class: str = "") -> None:
        super().__init__(reason)
        self.after, self.error_class = after, error_class


class Failed(Exception):
    """The order failed permanently."""

    def __init__(self, reason: str = "", *, error_class: str = "") -> None:
        super().__init__(reason)
        self.error_class = error_class


class LeaseLost(Exception):
    """The order was cancelled, or another worker has it: the result of this attempt is refused."""


def encode(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise TypeError(f"the result or checkpoint is no JSON: {error}") from error
    if len(text.encode()) > MAX_JSON:
        raise ValueError(f"the JSON of a result or a checkpoint is longer than {MAX_JSON} bytes")
    return text


class _Job:
    """`order`: the order. `lease`: the lease of the attempt. `attempt`: 1 for the first one. `checkpoint`: what an earlier attempt saved last, or None.
    `cancelled`: set when the handler has to stop."""

    def __init__(self, attempt: pb.Attempt, send: Callable[..., None], save: Callable[..., Awaitable[None]]) -> None:
        self.order = attempt.order
        self.attempt: int = attempt.order.attempt
        self.traceparent: str = attempt.traceparent
        self.checkpoint: Any = json.loads(attempt.checkpoint) if attempt.HasField("checkpoint") else None
        self.cancelled = threading.Event()
        self.lease = pb.Lease(order_id=attempt.order.order_id, lease_token=attempt.lease_token)
        self._send, self._save = send, save
        self._loop = asyncio.get_running_loop()
        self._progress: pb.Progress | None = None
        self._is_waiting = False

    def progress(self, percent: int | None = None, note: str = "") -> None:
        """Shows how far the attempt is: 0 to 100 percent and a note of at most 200 characters. It is not durable."""
        progress = pb.Progress(lease=self.lease, percent=percent, note=note[:200])
        self._loop.call_soon_threadsafe(self._set_progress, progress)

    def _set_progress(self, progress: pb.Progress | None) -> None:
        # The latest one is sent, at most one in a second.
        self._progress = progress or self._progress
        if self._is_waiting or self._progress is None or self.cancelled.is_set():
            return
        self._send(progress=self._progress)
        self._progress, self._is_waiting = None, True
        self._loop.call_later(PROGRESS_INTERVAL, self._end_wait)

    def _end_wait(self) -> None:
        self._is_waiting = False
        self._set_progress(None)


class AsyncJob(_Job):
    """The job of a handler that is a coroutine function. The handler is cancelled when `cancelled` is set."""

    async def save_checkpoint(self, value: Any) -> None:
        """Saves JSON of at most 64 KiB for the next attempt. Returns when it is durable; raises `LeaseLost`."""
        await self._save(self, encode(value))


class Job(_Job):
    """The job of a handler that is a function and runs in a thread. It checks `cancelled`, or waits for it."""

    def save_checkpoint(self, value: Any) -> None:
        """Saves JSON of at most 64 KiB for the next attempt. Returns when it is durable; raises `LeaseLost`."""
        saved: Any = self._save(self, encode(value))
        asyncio.run_coroutine_threadsafe(saved, self._loop).result()


def outcome_of(task: "asyncio.Task[str | None]") -> dict[str, Any]:
    """Returns the outcome of a handler as a field of Report."""
    error: BaseException | None = asyncio.CancelledError("cancelled") if task.cancelled() else task.exception()
    reason = str(error)[:MAX_REASON]
    match error:
        case None:
            return {"completed": pb.Completed(result=task.result())}
        case Failed():
            return {"failed": pb.Failed(reason=reason, error_class=error.error_class)}
        case Retry():
            after_ms = None if error.after is None else round(error.after * 1000)
            return {"retry": pb.Retry(reason=reason, after_ms=after_ms, error_class=error.error_class)}
        case _:
            name = type(error).__name__
            return {"retry": pb.Retry(reason=f"{name}: {reason}", error_class=name)}
