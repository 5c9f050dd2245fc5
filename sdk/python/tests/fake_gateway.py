"""A gateway that a test writes: the stream `Claim` with queues in place of orders."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from orders_client import orders_pb2 as pb
from orders_client.stream import CLAIM


class FakeGateway:
    """`streams` has each stream whose worker has sent Hello."""

    def __init__(self, *, heartbeat_ms: int = 1_000) -> None:
        self.heartbeat_ms = heartbeat_ms
        self.streams: asyncio.Queue[FakeStream] = asyncio.Queue()
        self.refusal: grpc.StatusCode | None = None

    async def start(self, port: int = 0) -> None:
        self.server = grpc.aio.server()
        service, method = CLAIM[1:].split("/")
        types = (pb.ClaimRequest.FromString, pb.ClaimResponse.SerializeToString)
        handler = grpc.stream_stream_rpc_method_handler(self._claim, *types)
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
        self.port = self.server.add_insecure_port(f"127.0.0.1:{port}")
        self.url = f"http://127.0.0.1:{self.port}"
        await self.server.start()

    async def _claim(self, requests: AsyncIterator[pb.ClaimRequest], context: Any) -> AsyncIterator[pb.ClaimResponse]:
        if self.refusal:
            await context.abort(self.refusal, "no")
        stream = FakeStream(await anext(requests), dict(context.invocation_metadata()))
        yield pb.ClaimResponse(welcome=pb.ClaimWelcome(lease_ms=3_000, heartbeat_interval_ms=self.heartbeat_ms))
        reader = asyncio.create_task(stream.read(requests))
        self.streams.put_nowait(stream)
        try:
            while (message := await stream.responses.get()) is not None:
                yield message
        finally:
            reader.cancel()


class FakeStream:
    """`requests` has the messages of the worker after Hello, `responses` what the gateway sends; None ends the stream."""

    def __init__(self, first: pb.ClaimRequest, metadata: dict[str, str]) -> None:
        self.hello, self.metadata = first.hello, metadata
        self.requests: asyncio.Queue[pb.ClaimRequest] = asyncio.Queue()
        self.responses: asyncio.Queue[pb.ClaimResponse | None] = asyncio.Queue()
        self.credits = self.jobs = 0

    async def read(self, requests: AsyncIterator[pb.ClaimRequest]) -> None:
        async for request in requests:
            self.credits += request.credits
            self.requests.put_nowait(request)

    def send_job(self, order: str, *, attempt: int = 1, checkpoint: str | None = None) -> None:
        self.jobs += 1
        content = pb.Order(order_id=order, attempt=attempt, metadata={"name": order})
        job = pb.Attempt(order=content, lease_token="00000000000000aa", checkpoint=checkpoint)
        self.responses.put_nowait(pb.ClaimResponse(jobs=pb.Jobs(number=self.jobs, jobs=[job])))

    async def next(self, field: str) -> Any:
        """Returns the next message with this field; `received` is a confirmation."""
        async with asyncio.timeout(10):
            while True:
                request = await self.requests.get()
                if field == "received" and request.received:
                    return request
                if request.WhichOneof("message") == field:
                    return getattr(request, field)

    async def record(self) -> pb.Report:
        """Returns the next report, and confirms it."""
        results = await self.next("results")
        recorded = pb.ResultsRecorded(number=results.number)
        self.responses.put_nowait(pb.ClaimResponse(results_recorded=recorded))
        [report] = results.reports
        assert isinstance(report, pb.Report)
        return report
