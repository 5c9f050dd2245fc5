"""A worker: it gets jobs from gateways over the stream `Claim`, runs a handler for each, and reports the outcomes.

The loss of a stream stops no handler: the next stream, to any gateway, begins with the leases of all jobs, and repeats the
results without a response.
"""

import asyncio
import contextlib
import inspect
import itertools
import logging
import os
import platform
import random
import signal
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from . import orders_pb2 as pb
from .job import AsyncJob, Failed, Job, LeaseLost, Retry, encode, outcome_of
from .stream import Stream, StreamLost

log = logging.getLogger("orders_client")

MAX_BATCH = 1_000
# With results of the maximum size they fit into one message, which has at most 4 MiB.
MAX_REPORTS = 50
# Seconds between connects, and for the responses to the last results.
MAX_DELAY, REPORT_TIMEOUT = 5.0, 5.0

Handler = Callable[[Job], Any] | Callable[[AsyncJob], Awaitable[Any]]


class WorkerRefused(Exception):
    """The gateway refuses the worker, for example because of its token."""


class Worker:
    """Takes orders from gateways, at most `concurrency` at the same time.

    `urls`: gRPC addresses of the gateways, with http:// or https://; default: ORDERS_GATEWAY_URL, separated by commas.
    `token`: an API key or a token, or a function that returns the present one; default: ORDERS_TOKEN.
    `kinds`: the kinds of orders that the worker takes, a list or separated by commas; without any: `default`. `*` is every kind.
    `grace`: seconds that running handlers have at the shutdown; then their orders are released to other workers.
    `ca`: certificates (PEM) that gateways are verified with, in place of those of the system.
    """

    def __init__(
        self, urls: str | Sequence[str] = (), *, token: str | Callable[[], str] | None = None,
        kinds: str | Sequence[str] = (), concurrency: int = 16, name: str = "", grace: float = 10.0,
        ca: bytes | None = None,
    ) -> None:
        urls = urls or os.environ.get("ORDERS_GATEWAY_URL", "") or "http://127.0.0.1:50051"
        addresses = [url.rstrip("/") for url in _words(urls)]
        for url in addresses:
            if not url.startswith(("http://", "https://")):
                raise ValueError(f"the address of a gateway begins with http:// or https://, not {url!r}")
        if not 1 <= concurrency <= MAX_BATCH:
            raise ValueError(f"concurrency is 1 to {MAX_BATCH}, not {concurrency}")
        random.shuffle(addresses)
        self._urls = itertools.cycle(addresses)
        self._token = os.environ.get("ORDERS_TOKEN", "") if token is None else token
        self._kinds, self._concurrency, self._grace, self._ca = _words(kinds), concurrency, grace, ca
        self._name = name or f"{platform.node()}-{os.getpid()}"
        self._loop: Any = None
        self._stop = asyncio.Event()

    def run(self, handler: Handler) -> None:
        """Runs until SIGTERM, SIGINT or `stop`. Raises `WorkerRefused` if a gateway refuses the worker."""
        asyncio.run(self.run_async(handler, signals=True))

    def stop(self) -> None:
        """Begins the shutdown; `run` returns when the handlers have ended. Any thread may call it."""
        if self._loop:
            self._loop.call_soon_threadsafe(self._stop.set)
        else:
            self._stop.set()

    async def run_async(self, handler: Handler, *, signals: bool = False) -> None:
        """The same in a running event loop; with `signals`, SIGTERM and SIGINT begin the shutdown."""
        self._loop = asyncio.get_running_loop()
        self._handler: Any = handler
        self._is_async = inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(type(handler).__call__)
        # Jobs with a lease, and the tasks of all handlers: one that has lost its lease has its slot until it ends.
        self._jobs: dict[tuple[str, str], tuple[Job | AsyncJob, asyncio.Task[str | None]]] = {}
        self._tasks: set[asyncio.Task[str | None]] = set()
        self._reports: list[pb.Report] = []
        self._unanswered: dict[int, list[pb.Report]] = {}
        self._checkpoints: dict[int, tuple[pb.Checkpoint, asyncio.Future[None]]] = {}
        self._numbers = itertools.count(1)
        self._stream: Stream | None = None
        self._recorded, self._is_draining = asyncio.Event(), False
        for number in (signal.SIGTERM, signal.SIGINT) if signals else ():
            with contextlib.suppress(NotImplementedError):
                self._loop.add_signal_handler(number, self.stop)
        background = [asyncio.create_task(self._keep_stream()), asyncio.create_task(self._shut_down())]
        try:
            # The first one ends only with an error.
            for task in (await asyncio.wait(background, return_when=asyncio.FIRST_COMPLETED))[0]:
                task.result()
        finally:
            for job, _ in list(self._jobs.values()):
                self._cancel(job.lease, "the worker has ended")
            tasks: list[asyncio.Task[Any]] = [*background, *self._tasks]
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep_stream(self) -> None:
        """Replaces the stream whenever it is lost or its gateway shuts down. Raises `WorkerRefused`."""
        delay, serving, is_failing = 0.0, None, False
        try:
            while True:
                await asyncio.sleep(delay * random.uniform(0.5, 1))
                delay = min(max(2 * delay, 0.1), MAX_DELAY)
                try:
                    stream, lost = await self._connect()
                except StreamLost as error:
                    if error.is_fatal:
                        raise WorkerRefused(f"the gateway refuses the worker: {error}") from None
                    log.warning("no stream to a gateway: %s", error)
                    is_failing = True
                    continue
                level, is_failing = (logging.WARNING if is_failing else logging.INFO), False
                log.log(level, "connected to %s for orders of the kinds %s", stream.url, ",".join(self._kinds) or "default")
                if serving:
                    serving.cancel()
                self._resume(stream, lost)
                began, serving = self._loop.time(), asyncio.create_task(self._serve(stream))
                await stream.over.wait()
                # A gateway that ends each stream at once is not tried in a busy loop.
                delay = 0.0 if self._loop.time() - began > 1 else delay
        finally:
            if serving:
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)

    async def _connect(self) -> tuple[Stream, Sequence[pb.Refused]]:
        token = self._token() if callable(self._token) else self._token
        reports = [report.lease for reports in (*self._unanswered.values(), self._reports) for report in reports]
        running = [job.lease for job, _ in self._jobs.values()] + reports
        hello = pb.ClaimHello(
            protocol=1, worker_id=self._name, version=f"python {platform.python_version()}", host=platform.node(),
            slots=self._concurrency, running=running[:MAX_BATCH], kinds=self._kinds)
        stream = Stream(next(self._urls), token, self._ca)
        return stream, await stream.open(hello)

    def _resume(self, stream: Stream, lost: Sequence[pb.Refused]) -> None:
        self._stream = stream
        for refused in lost:
            self._cancel(refused.lease, refused.reason)
        self._reports = [report for reports in self._unanswered.values() for report in reports] + self._reports
        self._unanswered.clear()
        self._flush()
        for checkpoint, _ in self._checkpoints.values():
            self._send(checkpoint=checkpoint)
        self._send(drain=pb.WorkerDrain() if self._is_draining else None)

    async def _serve(self, stream: Stream) -> None:
        """Reads and writes until the stream ends."""
        others = [asyncio.create_task(stream.write()), asyncio.create_task(self._beat(stream))]
        try:
            await self._read(stream)
        except StreamLost as error:
            log.warning("stream to %s lost: %s", stream.url, error)
        finally:
            for task in others:
                task.cancel()
            if self._stream is stream:
                self._stream = None
            await stream.close()

    async def _beat(self, stream: Stream) -> None:
        while True:
            await asyncio.sleep(stream.interval)
            self._send(stream, heartbeat=pb.Heartbeat())

    async def _read(self, stream: Stream) -> None:
        while True:
            message = await stream.read()
            match message.WhichOneof("message"):
                case "jobs":
                    # Without a confirmation they return to the queue.
                    if not self._is_draining:
                        stream.received = message.jobs.number
                        stream.granted -= len(message.jobs.jobs)
                        for attempt in message.jobs.jobs:
                            self._start(attempt, stream)
                        self._send(stream)
                case "results_recorded":
                    self._unanswered.pop(message.results_recorded.number, None)
                    for refused in message.results_recorded.refused:
                        log.warning("result of order %s refused: %s", refused.lease.order_id, refused.reason)
                    self._recorded.set()
                case "checkpoint_recorded":
                    recorded = message.checkpoint_recorded
                    _, saved = self._checkpoints.get(recorded.number, (None, None))
                    if saved and not saved.done() and recorded.HasField("refused"):
                        saved.set_exception(LeaseLost(recorded.refused.reason))
                    elif saved and not saved.done():
                        saved.set_result(None)
                case "cancel":
                    for lease in message.cancel.leases:
                        self._cancel(lease, "the order was cancelled, or the lease has expired")
                case "drain":
                    log.info("the gateway is shutting down, continuing with another stream")
                    stream.is_draining = True
                    stream.over.set()

    def _send(self, stream: Stream | None = None, **message: Any) -> None:
        """Sends a message with the confirmation and the credits that are due."""
        stream = stream or self._stream
        if stream is None:
            return
        free = self._concurrency - len(self._tasks) - stream.granted
        waiting = len(self._reports) + sum(map(len, self._unanswered.values()))
        is_taking = not (self._is_draining or stream.is_draining or waiting > MAX_BATCH)
        credits = max(free, 0) if is_taking and stream is self._stream else 0
        stream.granted += credits
        stream.outgoing.put_nowait(pb.ClaimRequest(received=stream.received, credits=credits, **message))

    def _flush(self) -> None:
        """Sends the gathered reports."""
        while self._reports and self._stream:
            batch, self._reports = self._reports[:MAX_REPORTS], self._reports[MAX_REPORTS:]
            number = next(self._numbers)
            self._unanswered[number] = batch
            self._send(results=pb.Results(number=number, reports=batch))

    def _report(self, lease: pb.Lease, **outcome: Any) -> None:
        self._reports.append(pb.Report(lease=lease, **outcome))
        # Outcomes of the same moment share a message.
        self._loop.call_soon(self._flush)

    def _start(self, attempt: pb.Attempt, stream: Stream) -> None:
        key = (attempt.order.order_id, attempt.lease_token)
        if key not in self._jobs:
            job = (AsyncJob if self._is_async else Job)(attempt, self._send, self._save)
            task = asyncio.create_task(self._handle(job, stream))
            self._tasks.add(task)
            self._jobs[key] = (job, task)
            task.add_done_callback(lambda task: self._end(key, job, task))

    async def _handle(self, job: Any, stream: Stream) -> str | None:
        # The gateway knows of the job before its handler runs: only then does the attempt count.
        await stream.flushed()
        if job.cancelled.is_set():
            return None
        if self._is_async:
            result = await self._handler(job)
        else:
            result = await _in_thread(self._handler, job)
        return None if result is None else encode(result)

    def _end(self, key: tuple[str, str], job: Job | AsyncJob, task: asyncio.Task[str | None]) -> None:
        self._tasks.discard(task)
        outcome = outcome_of(task)
        if self._jobs.pop(key, None):
            if not task.cancelled() and not isinstance(error := task.exception(), (Retry, Failed, type(None))):
                log.error("the handler of order %s failed in attempt %s", key[0], job.attempt, exc_info=error)
            job.cancelled.set()
            self._report(job.lease, **outcome)
        else:
            self._send()

    def _cancel(self, lease: pb.Lease, reason: str) -> None:
        """Stops the handler of a job; its outcome is dropped."""
        job, task = self._jobs.pop((lease.order_id, lease.lease_token), (None, None))
        if job and task:
            log.info("stopping the handler of order %s: %s", lease.order_id, reason)
            job.cancelled.set()
            for checkpoint, saved in self._checkpoints.values():
                if checkpoint.lease == job.lease and not saved.done():
                    saved.set_exception(LeaseLost(reason))
            # A thread cannot be stopped: its handler reads `cancelled`.
            if self._is_async:
                task.cancel()

    async def _save(self, job: Job | AsyncJob, text: str) -> None:
        if job.cancelled.is_set():
            raise LeaseLost("the job has ended")
        number, saved = next(self._numbers), self._loop.create_future()
        checkpoint = pb.Checkpoint(number=number, lease=job.lease, json=text)
        self._checkpoints[number] = (checkpoint, saved)
        self._send(checkpoint=checkpoint)
        try:
            await saved
        finally:
            del self._checkpoints[number]

    async def _shut_down(self) -> None:
        """Waits for `stop`, then for the handlers, and reports what has ended. The rest is released."""
        await self._stop.wait()
        log.info("shutting down, %s jobs are running", len(self._jobs))
        self._is_draining = True
        self._send(drain=pb.WorkerDrain())
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._grace)
        await asyncio.sleep(0)
        for job, _ in list(self._jobs.values()):
            self._cancel(job.lease, "the worker shuts down")
            self._report(job.lease, released=pb.Released())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REPORT_TIMEOUT):
                while self._reports or self._unanswered:
                    self._recorded.clear()
                    await self._recorded.wait()


def _words(given: str | Sequence[str]) -> list[str]:
    words = given.split(",") if isinstance(given, str) else given
    return [word.strip() for word in words if word.strip()]


async def _in_thread(handler: Callable[[Any], Any], job: Any) -> Any:
    """Runs a handler in a thread that does not keep the process alive."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[Any] = loop.create_future()

    def settle(set_outcome: Callable[[Any], None], outcome: Any) -> None:
        if not ended.done():
            set_outcome(outcome)

    def run() -> None:
        try:
            outcome = (ended.set_result, handler(job))
        except BaseException as error:
            outcome = (ended.set_exception, error)
        with contextlib.suppress(RuntimeError):  # The event loop has ended.
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=run, name=f"order {job.order.order_id}", daemon=True).start()
    return await ended
