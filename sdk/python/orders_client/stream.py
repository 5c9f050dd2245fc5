"""One stream to a gateway."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import grpc

from . import orders_pb2 as pb

CLAIM = "/orders.v1.WorkerService/Claim"
CONNECT_TIMEOUT = 10.0
OPTIONS = [
    ("grpc.max_receive_message_length", 256 << 20),
    # Otherwise streams share the delays between connects, which grow to minutes.
    ("grpc.use_local_subchannel_pool", 1),
]
# Refusals that another try does not change.
FATAL = ("UNAUTHENTICATED", "PERMISSION_DENIED", "FAILED_PRECONDITION", "INVALID_ARGUMENT", "UNIMPLEMENTED")


class StreamLost(Exception):
    """The stream ended, or was not opened. `is_fatal`: another try changes nothing."""

    def __init__(self, reason: str, is_fatal: bool = False) -> None:
        super().__init__(reason)
        self.is_fatal = is_fatal


def _lost(url: str, error: grpc.aio.AioRpcError) -> StreamLost:
    code = error.code().name
    hint = " (a worker needs the gRPC address of a gateway, port 50051 by default)" if code == "UNIMPLEMENTED" else ""
    return StreamLost(f"{url}: {code}: {error.details()}{hint}", code in FATAL)


class Stream:
    """Messages in both directions. `is_draining`: the gateway assigns no further jobs."""

    def __init__(self, url: str, token: str, ca: bytes | None) -> None:
        target = url.split("://", 1)[1]
        if url.startswith("https://"):
            self._channel = grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(ca), OPTIONS)
        else:
            self._channel = grpc.aio.insecure_channel(target, OPTIONS)
        types = (pb.ClaimRequest.SerializeToString, pb.ClaimResponse.FromString)
        metadata = [("authorization", f"Bearer {token}")] if token else []
        self._call: Any = self._channel.stream_stream(CLAIM, *types)(metadata=metadata)
        # A message for each report and second, until the stream counts as silent.
        self.outgoing: asyncio.Queue[pb.ClaimRequest] = asyncio.Queue()
        self.url, self.interval = url, CONNECT_TIMEOUT / 3
        self.granted, self.received, self.is_draining = 0, 0, False
        # Set when another stream has to replace this one.
        self.over = asyncio.Event()

    async def open(self, hello: pb.ClaimHello) -> Sequence[pb.Refused]:
        """Waits for Welcome, and returns the leases that are lost. Raises `StreamLost`."""
        try:
            # After a refusal the response has the reason.
            with contextlib.suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
                await self._call.write(pb.ClaimRequest(hello=hello))
            first = await self.read()
            if first.WhichOneof("message") != "welcome":
                raise StreamLost("the gateway is shutting down")
        except BaseException:
            await self.close()
            raise
        self.interval = max(first.welcome.heartbeat_interval_ms / 1000, 0.1)
        return first.welcome.lost

    async def read(self) -> pb.ClaimResponse:
        """Returns the next message. Raises `StreamLost`, also after three heartbeat intervals without a message."""
        try:
            async with asyncio.timeout(3 * self.interval):
                message: Any = await self._call.read()
        except TimeoutError:
            raise StreamLost("the gateway has sent no message for three heartbeat intervals") from None
        except grpc.aio.AioRpcError as error:
            raise _lost(self.url, error) from None
        if message is grpc.aio.EOF:
            raise StreamLost("the gateway has ended it")
        response: pb.ClaimResponse = message
        return response

    async def write(self) -> None:
        """Sends the outgoing messages until the stream is lost; `read` then has the reason."""
        with contextlib.suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
            while True:
                message = await self.outgoing.get()
                try:
                    await self._call.write(message)
                finally:
                    self.outgoing.task_done()

    async def flushed(self) -> None:
        """Waits until the outgoing messages are sent or the stream is lost."""
        await self.outgoing.join()

    async def close(self) -> None:
        self.over.set()
        while not self.outgoing.empty():
            self.outgoing.get_nowait()
            self.outgoing.task_done()
        await self._channel.close()
