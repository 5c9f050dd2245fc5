"""Workers and calls for the order processing system."""

from .client import ApiError, AsyncClient, Client
from .job import AsyncJob, Failed, Job, LeaseLost, Retry
from .worker import Worker, WorkerRefused

__all__ = [
    "ApiError", "AsyncClient", "AsyncJob", "Client", "Failed", "Job", "LeaseLost", "Retry", "Worker", "WorkerRefused",
]
