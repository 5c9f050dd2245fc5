from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class UpdateStatusRequest(_message.Message):
    __slots__ = ("order_id", "status", "lease_token", "reason", "error_class", "worker_id", "result")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    LEASE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ERROR_CLASS_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    status: str
    lease_token: str
    reason: str
    error_class: str
    worker_id: str
    result: str
    def __init__(self, order_id: _Optional[str] = ..., status: _Optional[str] = ..., lease_token: _Optional[str] = ..., reason: _Optional[str] = ..., error_class: _Optional[str] = ..., worker_id: _Optional[str] = ..., result: _Optional[str] = ...) -> None: ...

class UpdateStatusResponse(_message.Message):
    __slots__ = ("order", "lease_token", "lease_ms")
    ORDER_FIELD_NUMBER: _ClassVar[int]
    LEASE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    LEASE_MS_FIELD_NUMBER: _ClassVar[int]
    order: Order
    lease_token: str
    lease_ms: int
    def __init__(self, order: _Optional[_Union[Order, _Mapping]] = ..., lease_token: _Optional[str] = ..., lease_ms: _Optional[int] = ...) -> None: ...

class WorkerMessage(_message.Message):
    __slots__ = ("request_id", "hello", "start", "heartbeats", "finish")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    HEARTBEATS_FIELD_NUMBER: _ClassVar[int]
    FINISH_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    hello: Hello
    start: Start
    heartbeats: Heartbeats
    finish: Finish
    def __init__(self, request_id: _Optional[int] = ..., hello: _Optional[_Union[Hello, _Mapping]] = ..., start: _Optional[_Union[Start, _Mapping]] = ..., heartbeats: _Optional[_Union[Heartbeats, _Mapping]] = ..., finish: _Optional[_Union[Finish, _Mapping]] = ...) -> None: ...

class GatewayMessage(_message.Message):
    __slots__ = ("request_id", "welcome", "started", "renewed", "finished", "cancel", "drain", "try_again")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    RENEWED_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    TRY_AGAIN_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    welcome: Welcome
    started: Started
    renewed: Renewed
    finished: Finished
    cancel: Cancel
    drain: Drain
    try_again: TryAgain
    def __init__(self, request_id: _Optional[int] = ..., welcome: _Optional[_Union[Welcome, _Mapping]] = ..., started: _Optional[_Union[Started, _Mapping]] = ..., renewed: _Optional[_Union[Renewed, _Mapping]] = ..., finished: _Optional[_Union[Finished, _Mapping]] = ..., cancel: _Optional[_Union[Cancel, _Mapping]] = ..., drain: _Optional[_Union[Drain, _Mapping]] = ..., try_again: _Optional[_Union[TryAgain, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("worker_id", "repeats_entries", "version", "host", "slots")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    REPEATS_ENTRIES_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    repeats_entries: bool
    version: str
    host: str
    slots: int
    def __init__(self, worker_id: _Optional[str] = ..., repeats_entries: _Optional[bool] = ..., version: _Optional[str] = ..., host: _Optional[str] = ..., slots: _Optional[int] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("lease_ms", "heartbeat_interval_ms")
    LEASE_MS_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_MS_FIELD_NUMBER: _ClassVar[int]
    lease_ms: int
    heartbeat_interval_ms: int
    def __init__(self, lease_ms: _Optional[int] = ..., heartbeat_interval_ms: _Optional[int] = ...) -> None: ...

class Lease(_message.Message):
    __slots__ = ("order_id", "lease_token")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    LEASE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    lease_token: str
    def __init__(self, order_id: _Optional[str] = ..., lease_token: _Optional[str] = ...) -> None: ...

class Start(_message.Message):
    __slots__ = ("leases",)
    LEASES_FIELD_NUMBER: _ClassVar[int]
    leases: _containers.RepeatedCompositeFieldContainer[Lease]
    def __init__(self, leases: _Optional[_Iterable[_Union[Lease, _Mapping]]] = ...) -> None: ...

class Started(_message.Message):
    __slots__ = ("attempts", "refused", "more")
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    attempts: _containers.RepeatedCompositeFieldContainer[Attempt]
    refused: _containers.RepeatedCompositeFieldContainer[Refused]
    more: bool
    def __init__(self, attempts: _Optional[_Iterable[_Union[Attempt, _Mapping]]] = ..., refused: _Optional[_Iterable[_Union[Refused, _Mapping]]] = ..., more: _Optional[bool] = ...) -> None: ...

class Attempt(_message.Message):
    __slots__ = ("order", "lease_token", "traceparent", "checkpoint")
    ORDER_FIELD_NUMBER: _ClassVar[int]
    LEASE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    order: Order
    lease_token: str
    traceparent: str
    checkpoint: str
    def __init__(self, order: _Optional[_Union[Order, _Mapping]] = ..., lease_token: _Optional[str] = ..., traceparent: _Optional[str] = ..., checkpoint: _Optional[str] = ...) -> None: ...

class Refused(_message.Message):
    __slots__ = ("lease", "status", "reason")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    lease: Lease
    status: str
    reason: str
    def __init__(self, lease: _Optional[_Union[Lease, _Mapping]] = ..., status: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class Heartbeats(_message.Message):
    __slots__ = ("leases",)
    LEASES_FIELD_NUMBER: _ClassVar[int]
    leases: _containers.RepeatedCompositeFieldContainer[Lease]
    def __init__(self, leases: _Optional[_Iterable[_Union[Lease, _Mapping]]] = ...) -> None: ...

class Renewed(_message.Message):
    __slots__ = ("lost",)
    LOST_FIELD_NUMBER: _ClassVar[int]
    lost: _containers.RepeatedCompositeFieldContainer[Refused]
    def __init__(self, lost: _Optional[_Iterable[_Union[Refused, _Mapping]]] = ...) -> None: ...

class Finish(_message.Message):
    __slots__ = ("reports",)
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    reports: _containers.RepeatedCompositeFieldContainer[Report]
    def __init__(self, reports: _Optional[_Iterable[_Union[Report, _Mapping]]] = ...) -> None: ...

class Report(_message.Message):
    __slots__ = ("lease", "completed", "retry", "failed", "released")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    RETRY_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    RELEASED_FIELD_NUMBER: _ClassVar[int]
    lease: Lease
    completed: Completed
    retry: Retry
    failed: Failed
    released: Released
    def __init__(self, lease: _Optional[_Union[Lease, _Mapping]] = ..., completed: _Optional[_Union[Completed, _Mapping]] = ..., retry: _Optional[_Union[Retry, _Mapping]] = ..., failed: _Optional[_Union[Failed, _Mapping]] = ..., released: _Optional[_Union[Released, _Mapping]] = ...) -> None: ...

class Completed(_message.Message):
    __slots__ = ("result",)
    RESULT_FIELD_NUMBER: _ClassVar[int]
    result: str
    def __init__(self, result: _Optional[str] = ...) -> None: ...

class Retry(_message.Message):
    __slots__ = ("reason", "after_ms", "error_class")
    REASON_FIELD_NUMBER: _ClassVar[int]
    AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    ERROR_CLASS_FIELD_NUMBER: _ClassVar[int]
    reason: str
    after_ms: int
    error_class: str
    def __init__(self, reason: _Optional[str] = ..., after_ms: _Optional[int] = ..., error_class: _Optional[str] = ...) -> None: ...

class Failed(_message.Message):
    __slots__ = ("reason", "error_class")
    REASON_FIELD_NUMBER: _ClassVar[int]
    ERROR_CLASS_FIELD_NUMBER: _ClassVar[int]
    reason: str
    error_class: str
    def __init__(self, reason: _Optional[str] = ..., error_class: _Optional[str] = ...) -> None: ...

class Released(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Finished(_message.Message):
    __slots__ = ("refused",)
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    refused: _containers.RepeatedCompositeFieldContainer[Refused]
    def __init__(self, refused: _Optional[_Iterable[_Union[Refused, _Mapping]]] = ...) -> None: ...

class Cancel(_message.Message):
    __slots__ = ("leases",)
    LEASES_FIELD_NUMBER: _ClassVar[int]
    leases: _containers.RepeatedCompositeFieldContainer[Lease]
    def __init__(self, leases: _Optional[_Iterable[_Union[Lease, _Mapping]]] = ...) -> None: ...

class Drain(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class TryAgain(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class ClaimRequest(_message.Message):
    __slots__ = ("received", "credits", "hello", "heartbeat", "results", "drain", "progress", "checkpoint")
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    CREDITS_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    received: int
    credits: int
    hello: ClaimHello
    heartbeat: Heartbeat
    results: Results
    drain: WorkerDrain
    progress: Progress
    checkpoint: Checkpoint
    def __init__(self, received: _Optional[int] = ..., credits: _Optional[int] = ..., hello: _Optional[_Union[ClaimHello, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., results: _Optional[_Union[Results, _Mapping]] = ..., drain: _Optional[_Union[WorkerDrain, _Mapping]] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., checkpoint: _Optional[_Union[Checkpoint, _Mapping]] = ...) -> None: ...

class ClaimResponse(_message.Message):
    __slots__ = ("welcome", "jobs", "results_recorded", "heartbeat", "cancel", "drain", "checkpoint_recorded")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    JOBS_FIELD_NUMBER: _ClassVar[int]
    RESULTS_RECORDED_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_RECORDED_FIELD_NUMBER: _ClassVar[int]
    welcome: ClaimWelcome
    jobs: Jobs
    results_recorded: ResultsRecorded
    heartbeat: Heartbeat
    cancel: Cancel
    drain: Drain
    checkpoint_recorded: CheckpointRecorded
    def __init__(self, welcome: _Optional[_Union[ClaimWelcome, _Mapping]] = ..., jobs: _Optional[_Union[Jobs, _Mapping]] = ..., results_recorded: _Optional[_Union[ResultsRecorded, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., cancel: _Optional[_Union[Cancel, _Mapping]] = ..., drain: _Optional[_Union[Drain, _Mapping]] = ..., checkpoint_recorded: _Optional[_Union[CheckpointRecorded, _Mapping]] = ...) -> None: ...

class ClaimHello(_message.Message):
    __slots__ = ("protocol", "worker_id", "version", "host", "slots", "running", "kinds")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    worker_id: str
    version: str
    host: str
    slots: int
    running: _containers.RepeatedCompositeFieldContainer[Lease]
    kinds: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, protocol: _Optional[int] = ..., worker_id: _Optional[str] = ..., version: _Optional[str] = ..., host: _Optional[str] = ..., slots: _Optional[int] = ..., running: _Optional[_Iterable[_Union[Lease, _Mapping]]] = ..., kinds: _Optional[_Iterable[str]] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("lease", "percent", "note")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    lease: Lease
    percent: int
    note: str
    def __init__(self, lease: _Optional[_Union[Lease, _Mapping]] = ..., percent: _Optional[int] = ..., note: _Optional[str] = ...) -> None: ...

class Checkpoint(_message.Message):
    __slots__ = ("number", "lease", "json")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    number: int
    lease: Lease
    json: str
    def __init__(self, number: _Optional[int] = ..., lease: _Optional[_Union[Lease, _Mapping]] = ..., json: _Optional[str] = ...) -> None: ...

class CheckpointRecorded(_message.Message):
    __slots__ = ("number", "refused")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    number: int
    refused: Refused
    def __init__(self, number: _Optional[int] = ..., refused: _Optional[_Union[Refused, _Mapping]] = ...) -> None: ...

class ClaimWelcome(_message.Message):
    __slots__ = ("lease_ms", "heartbeat_interval_ms", "lost")
    LEASE_MS_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_MS_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    lease_ms: int
    heartbeat_interval_ms: int
    lost: _containers.RepeatedCompositeFieldContainer[Refused]
    def __init__(self, lease_ms: _Optional[int] = ..., heartbeat_interval_ms: _Optional[int] = ..., lost: _Optional[_Iterable[_Union[Refused, _Mapping]]] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WorkerDrain(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Jobs(_message.Message):
    __slots__ = ("number", "jobs")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    JOBS_FIELD_NUMBER: _ClassVar[int]
    number: int
    jobs: _containers.RepeatedCompositeFieldContainer[Attempt]
    def __init__(self, number: _Optional[int] = ..., jobs: _Optional[_Iterable[_Union[Attempt, _Mapping]]] = ...) -> None: ...

class Results(_message.Message):
    __slots__ = ("number", "reports")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    number: int
    reports: _containers.RepeatedCompositeFieldContainer[Report]
    def __init__(self, number: _Optional[int] = ..., reports: _Optional[_Iterable[_Union[Report, _Mapping]]] = ...) -> None: ...

class ResultsRecorded(_message.Message):
    __slots__ = ("number", "refused")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    number: int
    refused: _containers.RepeatedCompositeFieldContainer[Refused]
    def __init__(self, number: _Optional[int] = ..., refused: _Optional[_Iterable[_Union[Refused, _Mapping]]] = ...) -> None: ...

class GetOrderRequest(_message.Message):
    __slots__ = ("order_id",)
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    def __init__(self, order_id: _Optional[str] = ...) -> None: ...

class WatchOrderRequest(_message.Message):
    __slots__ = ("order_id", "after_sequence")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    after_sequence: int
    def __init__(self, order_id: _Optional[str] = ..., after_sequence: _Optional[int] = ...) -> None: ...

class Order(_message.Message):
    __slots__ = ("order_id", "status", "line_items", "currency", "total", "quantity", "customer", "external_reference", "sequence", "attempt", "failures", "max_attempts", "reason", "created_at", "updated_at", "priority", "process_after", "error_class", "waits_for", "next_attempt_at", "worker", "traceparent", "kind", "metadata", "code", "replaces", "replaced_by", "result", "checkpoint", "progress")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    LINE_ITEMS_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_REFERENCE_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    MAX_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    PROCESS_AFTER_FIELD_NUMBER: _ClassVar[int]
    ERROR_CLASS_FIELD_NUMBER: _ClassVar[int]
    WAITS_FOR_FIELD_NUMBER: _ClassVar[int]
    NEXT_ATTEMPT_AT_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    REPLACES_FIELD_NUMBER: _ClassVar[int]
    REPLACED_BY_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    status: str
    line_items: _containers.RepeatedCompositeFieldContainer[LineItem]
    currency: str
    total: str
    quantity: int
    customer: str
    external_reference: str
    sequence: int
    attempt: int
    failures: int
    max_attempts: int
    reason: str
    created_at: str
    updated_at: str
    priority: str
    process_after: str
    error_class: str
    waits_for: str
    next_attempt_at: str
    worker: str
    traceparent: str
    kind: str
    metadata: _containers.ScalarMap[str, str]
    code: str
    replaces: str
    replaced_by: str
    result: str
    checkpoint: str
    progress: OrderProgress
    def __init__(self, order_id: _Optional[str] = ..., status: _Optional[str] = ..., line_items: _Optional[_Iterable[_Union[LineItem, _Mapping]]] = ..., currency: _Optional[str] = ..., total: _Optional[str] = ..., quantity: _Optional[int] = ..., customer: _Optional[str] = ..., external_reference: _Optional[str] = ..., sequence: _Optional[int] = ..., attempt: _Optional[int] = ..., failures: _Optional[int] = ..., max_attempts: _Optional[int] = ..., reason: _Optional[str] = ..., created_at: _Optional[str] = ..., updated_at: _Optional[str] = ..., priority: _Optional[str] = ..., process_after: _Optional[str] = ..., error_class: _Optional[str] = ..., waits_for: _Optional[str] = ..., next_attempt_at: _Optional[str] = ..., worker: _Optional[str] = ..., traceparent: _Optional[str] = ..., kind: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ..., code: _Optional[str] = ..., replaces: _Optional[str] = ..., replaced_by: _Optional[str] = ..., result: _Optional[str] = ..., checkpoint: _Optional[str] = ..., progress: _Optional[_Union[OrderProgress, _Mapping]] = ...) -> None: ...

class OrderProgress(_message.Message):
    __slots__ = ("attempt", "percent", "note", "reported_at")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    REPORTED_AT_FIELD_NUMBER: _ClassVar[int]
    attempt: int
    percent: int
    note: str
    reported_at: str
    def __init__(self, attempt: _Optional[int] = ..., percent: _Optional[int] = ..., note: _Optional[str] = ..., reported_at: _Optional[str] = ...) -> None: ...

class LineItem(_message.Message):
    __slots__ = ("item", "quantity", "price")
    ITEM_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    item: str
    quantity: int
    price: str
    def __init__(self, item: _Optional[str] = ..., quantity: _Optional[int] = ..., price: _Optional[str] = ...) -> None: ...

class OrderEvent(_message.Message):
    __slots__ = ("order_id", "sequence", "status", "previous_status", "attempt", "reason", "occurred_at", "error_class", "worker")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_STATUS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    OCCURRED_AT_FIELD_NUMBER: _ClassVar[int]
    ERROR_CLASS_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    sequence: int
    status: str
    previous_status: str
    attempt: int
    reason: str
    occurred_at: str
    error_class: str
    worker: str
    def __init__(self, order_id: _Optional[str] = ..., sequence: _Optional[int] = ..., status: _Optional[str] = ..., previous_status: _Optional[str] = ..., attempt: _Optional[int] = ..., reason: _Optional[str] = ..., occurred_at: _Optional[str] = ..., error_class: _Optional[str] = ..., worker: _Optional[str] = ...) -> None: ...

class ReadEventsRequest(_message.Message):
    __slots__ = ("after", "reader", "types", "customer", "currency", "limit", "wait_ms", "holder", "lease_ms", "new_at_end")
    AFTER_FIELD_NUMBER: _ClassVar[int]
    READER_FIELD_NUMBER: _ClassVar[int]
    TYPES_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    WAIT_MS_FIELD_NUMBER: _ClassVar[int]
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    LEASE_MS_FIELD_NUMBER: _ClassVar[int]
    NEW_AT_END_FIELD_NUMBER: _ClassVar[int]
    after: str
    reader: str
    types: _containers.RepeatedScalarFieldContainer[str]
    customer: str
    currency: str
    limit: int
    wait_ms: int
    holder: str
    lease_ms: int
    new_at_end: bool
    def __init__(self, after: _Optional[str] = ..., reader: _Optional[str] = ..., types: _Optional[_Iterable[str]] = ..., customer: _Optional[str] = ..., currency: _Optional[str] = ..., limit: _Optional[int] = ..., wait_ms: _Optional[int] = ..., holder: _Optional[str] = ..., lease_ms: _Optional[int] = ..., new_at_end: _Optional[bool] = ...) -> None: ...

class ReadEventsResponse(_message.Message):
    __slots__ = ("events", "next", "metadata", "committed")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[LogEvent]
    next: str
    metadata: str
    committed: str
    def __init__(self, events: _Optional[_Iterable[_Union[LogEvent, _Mapping]]] = ..., next: _Optional[str] = ..., metadata: _Optional[str] = ..., committed: _Optional[str] = ...) -> None: ...

class LogEvent(_message.Message):
    __slots__ = ("id", "type", "cursor", "json")
    ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    id: str
    type: str
    cursor: str
    json: str
    def __init__(self, id: _Optional[str] = ..., type: _Optional[str] = ..., cursor: _Optional[str] = ..., json: _Optional[str] = ...) -> None: ...

class CommitRequest(_message.Message):
    __slots__ = ("reader", "cursor", "rewind", "holder", "lease_ms", "release", "metadata")
    READER_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    REWIND_FIELD_NUMBER: _ClassVar[int]
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    LEASE_MS_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    reader: str
    cursor: str
    rewind: bool
    holder: str
    lease_ms: int
    release: bool
    metadata: str
    def __init__(self, reader: _Optional[str] = ..., cursor: _Optional[str] = ..., rewind: _Optional[bool] = ..., holder: _Optional[str] = ..., lease_ms: _Optional[int] = ..., release: _Optional[bool] = ..., metadata: _Optional[str] = ...) -> None: ...

class CommitResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RemoveReaderRequest(_message.Message):
    __slots__ = ("reader",)
    READER_FIELD_NUMBER: _ClassVar[int]
    reader: str
    def __init__(self, reader: _Optional[str] = ...) -> None: ...

class RemoveReaderResponse(_message.Message):
    __slots__ = ("removed",)
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    removed: bool
    def __init__(self, removed: _Optional[bool] = ...) -> None: ...
