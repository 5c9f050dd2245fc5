"""The worker against a gateway that the test writes. The conformance script has the cases with a real one."""

import asyncio
import contextlib
import json
import threading
import unittest
from collections.abc import AsyncIterator
from typing import Any

import grpc

from orders_client import AsyncJob, Failed, Job, LeaseLost, Retry, Worker, WorkerRefused
from orders_client import orders_pb2 as pb
from tests.fake_gateway import FakeGateway, FakeStream


@contextlib.asynccontextmanager
async def running(handler: Any, **options: Any) -> AsyncIterator[tuple[FakeGateway, FakeStream, Worker]]:
    """A gateway, the first stream, and a worker that ends with the block."""
    gateway = FakeGateway()
    await gateway.start()
    worker = Worker(gateway.url, grace=0.2, **options)
    run = asyncio.create_task(worker.run_async(handler))
    try:
        async with asyncio.timeout(20):
            yield gateway, await gateway.streams.get(), worker
    finally:
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
        await gateway.server.stop(0)


class WorkerTests(unittest.IsolatedAsyncioTestCase):
    async def test_hello_and_credits(self) -> None:
        async def handle(job: AsyncJob) -> None:
            await asyncio.sleep(60)

        async with running(handle, token="secret", kinds=["refund"], concurrency=2, name="w") as (_, stream, _):
            hello = stream.hello
            self.assertEqual((hello.protocol, hello.worker_id, hello.slots, list(hello.kinds)), (1, "w", 2, ["refund"]))
            self.assertEqual(stream.metadata["authorization"], "Bearer secret")
            stream.send_job("a")
            confirmation = await stream.next("received")
            self.assertEqual((confirmation.received, stream.credits), (1, 2))

    async def test_outcomes(self) -> None:
        def handle(job: Job) -> Any:
            match job.order.metadata["name"]:
                case "completed":
                    return {"shipped": True}
                case "retry":
                    raise Retry("busy", after=1.5, error_class="busy")
                case "failed":
                    raise Failed("declined", error_class="card_declined")
            raise KeyError("defect")

        async with running(handle) as (_, stream, _):
            expected = {
                "completed": pb.Report(completed=pb.Completed(result='{"shipped":true}')),
                "retry": pb.Report(retry=pb.Retry(reason="busy", after_ms=1500, error_class="busy")),
                "failed": pb.Report(failed=pb.Failed(reason="declined", error_class="card_declined")),
                "error": pb.Report(retry=pb.Retry(reason="KeyError: 'defect'", error_class="KeyError")),
            }
            for name, outcome in expected.items():
                stream.send_job(name)
                outcome.lease.CopyFrom(pb.Lease(order_id=name, lease_token="00000000000000aa"))
                self.assertEqual(await stream.record(), outcome)

    async def test_results_are_repeated_on_the_next_stream(self) -> None:
        async def handle(job: AsyncJob) -> None:
            pass

        async with running(handle) as (gateway, stream, _):
            stream.send_job("a")
            first = await stream.next("results")
            stream.responses.put_nowait(None)
            stream = await gateway.streams.get()
            self.assertEqual([lease.order_id for lease in stream.hello.running], ["a"])
            self.assertEqual(await stream.record(), first.reports[0])

    async def test_a_silent_gateway_is_replaced_and_jobs_continue(self) -> None:
        finish = asyncio.Event()

        async def handle(job: AsyncJob) -> None:
            await finish.wait()

        async with running(handle) as (gateway, stream, _):
            stream.send_job("a")
            # It receives heartbeats and sends none.
            await stream.next("heartbeat")
            second = await gateway.streams.get()
            self.assertEqual([lease.order_id for lease in second.hello.running], ["a"])
            finish.set()
            self.assertTrue((await second.record()).HasField("completed"))

    async def test_drain_of_the_gateway(self) -> None:
        async def handle(job: AsyncJob) -> None:
            pass

        async with running(handle, concurrency=1) as (gateway, stream, _):
            stream.responses.put_nowait(pb.ClaimResponse(drain=pb.Drain(reason="shutting_down")))
            second = await gateway.streams.get()
            second.send_job("a")
            self.assertTrue((await second.record()).HasField("completed"))

    async def test_cancel_stops_the_handler_and_frees_the_slot(self) -> None:
        stopped = threading.Event()

        def handle(job: Job) -> None:
            if job.order.metadata["name"] == "a":
                job.cancelled.wait(10)
                try:
                    job.save_checkpoint(1)
                except LeaseLost:
                    stopped.set()

        async with running(handle, concurrency=1) as (_, stream, _):
            stream.send_job("a")
            await stream.next("received")
            lease = pb.Lease(order_id="a", lease_token="00000000000000aa")
            stream.responses.put_nowait(pb.ClaimResponse(cancel=pb.Cancel(leases=[lease])))
            self.assertTrue(await asyncio.to_thread(stopped.wait, 10))
            stream.send_job("b")
            self.assertEqual((await stream.record()).lease.order_id, "b")

    async def test_checkpoint_and_progress(self) -> None:
        async def handle(job: AsyncJob) -> Any:
            job.progress(40, "packing")
            await job.save_checkpoint({"step": job.checkpoint["step"] + 1})
            return job.checkpoint

        async with running(handle) as (gateway, stream, _):
            stream.send_job("a", attempt=2, checkpoint='{"step":1}')
            checkpoint = await stream.next("checkpoint")
            self.assertEqual(json.loads(checkpoint.json), {"step": 2})
            progress = await stream.next("progress")
            self.assertEqual((progress.percent, progress.note, progress.lease.order_id), (40, "packing", "a"))
            # Its response is lost with the stream.
            stream.responses.put_nowait(None)
            stream = await gateway.streams.get()
            again = await stream.next("checkpoint")
            self.assertEqual(again, checkpoint)
            recorded = pb.CheckpointRecorded(number=again.number)
            stream.responses.put_nowait(pb.ClaimResponse(checkpoint_recorded=recorded))
            self.assertEqual((await stream.record()).completed.result, '{"step":1}')

    async def test_shutdown_releases_what_exceeds_the_grace_time(self) -> None:
        async def handle(job: AsyncJob) -> None:
            await asyncio.sleep(60)

        async with running(handle) as (_, stream, worker):
            stream.send_job("a")
            await stream.next("received")
            worker.stop()
            await stream.next("drain")
            stream.send_job("late")
            # Without a confirmation the late one returns to the queue.
            report = await stream.record()
            self.assertEqual((report.lease.order_id, report.HasField("released")), ("a", True))

    async def test_a_refused_worker_ends(self) -> None:
        gateway = FakeGateway()
        gateway.refusal = grpc.StatusCode.UNAUTHENTICATED
        await gateway.start()
        with self.assertRaisesRegex(WorkerRefused, "UNAUTHENTICATED"):
            await asyncio.wait_for(Worker(gateway.url).run_async(lambda job: None), 10)
        await gateway.server.stop(0)
