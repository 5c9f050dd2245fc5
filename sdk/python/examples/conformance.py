"""The worker under test of sdk/conformance: the order states how it behaves. With `sync` its handler is a function."""

import asyncio
import os
import sys
import threading

from orders_client import AsyncJob, Failed, Job, Retry, Worker


def say(what: str, job: AsyncJob | Job) -> None:
    # One write for each line, because handlers run in several threads.
    print(f"{what} {job.order.order_id} {job.attempt}\n", end="", flush=True)


def behave(job: AsyncJob | Job) -> tuple[float, object]:
    """Returns the seconds of work, and the result."""
    metadata, is_first = job.order.metadata, job.attempt == 1
    seconds = int(metadata.get("ms", "0")) / 1000
    match metadata.get("behaviour"):
        case "retry" if is_first:
            raise Retry("try again", error_class="flaky")
        case "retry-after" if is_first:
            raise Retry("busy", after=0.2)
        case "error" if is_first:
            raise RuntimeError("a defect")
        case "fail":
            raise Failed("declined", error_class="card_declined")
        case "slow-first":
            return (seconds if is_first else 0), None
        case "result":
            return 0, {"item": job.order.line_items[0].item, "attempt": job.attempt}
        case "progress":
            job.progress(40, "packing")
        case "checkpoint":
            return (60, None) if is_first else (0, {"resumed": job.checkpoint})
    return seconds, None


async def handle(job: AsyncJob) -> object:
    say("started", job)
    seconds, result = behave(job)
    if job.order.metadata.get("behaviour") == "checkpoint" and job.attempt == 1:
        await job.save_checkpoint({"step": 1})
        say("saved", job)
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        say("stopped", job)
        raise
    say("ended", job)
    return result


def handle_in_thread(job: Job) -> object:
    say("started", job)
    seconds, result = behave(job)
    if job.order.metadata.get("behaviour") == "checkpoint" and job.attempt == 1:
        job.save_checkpoint({"step": 1})
        say("saved", job)
    if job.cancelled.wait(seconds):
        say("stopped", job)
        return None
    say("ended", job)
    return result


if __name__ == "__main__":
    worker = Worker(
        name=os.environ["ORDERS_WORKER_ID"],
        concurrency=int(os.environ["ORDERS_CONCURRENCY"]),
        grace=float(os.environ["ORDERS_GRACE"]),
        kinds=[kind for kind in os.environ["ORDERS_KINDS"].split(",") if kind],
    )
    worker.run(handle_in_thread if "sync" in sys.argv else handle)
