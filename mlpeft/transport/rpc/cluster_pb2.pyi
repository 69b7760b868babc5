from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AuthorityRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AuthorityResponse(_message.Message):
    __slots__ = ("ca_certificate",)
    CA_CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    ca_certificate: bytes
    def __init__(self, ca_certificate: _Optional[bytes] = ...) -> None: ...

class EnrolRequest(_message.Message):
    __slots__ = ("secret", "name", "certificate_request")
    SECRET_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_REQUEST_FIELD_NUMBER: _ClassVar[int]
    secret: str
    name: str
    certificate_request: bytes
    def __init__(self, secret: _Optional[str] = ..., name: _Optional[str] = ..., certificate_request: _Optional[bytes] = ...) -> None: ...

class EnrolResponse(_message.Message):
    __slots__ = ("certificate", "port")
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    certificate: bytes
    port: int
    def __init__(self, certificate: _Optional[bytes] = ..., port: _Optional[int] = ...) -> None: ...

class JoinRequest(_message.Message):
    __slots__ = ("protocol_version", "mlpeft_version", "mlx_version", "name", "process_id")
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    MLPEFT_VERSION_FIELD_NUMBER: _ClassVar[int]
    MLX_VERSION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROCESS_ID_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    mlpeft_version: str
    mlx_version: str
    name: str
    process_id: str
    def __init__(self, protocol_version: _Optional[int] = ..., mlpeft_version: _Optional[str] = ..., mlx_version: _Optional[str] = ..., name: _Optional[str] = ..., process_id: _Optional[str] = ...) -> None: ...

class JoinResponse(_message.Message):
    __slots__ = ("worker_id", "session", "config_yaml", "assets")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    CONFIG_YAML_FIELD_NUMBER: _ClassVar[int]
    ASSETS_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    session: str
    config_yaml: str
    assets: _containers.RepeatedCompositeFieldContainer[Asset]
    def __init__(self, worker_id: _Optional[str] = ..., session: _Optional[str] = ..., config_yaml: _Optional[str] = ..., assets: _Optional[_Iterable[_Union[Asset, _Mapping]]] = ...) -> None: ...

class Asset(_message.Message):
    __slots__ = ("name", "sha256", "size_bytes", "is_folder")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    IS_FOLDER_FIELD_NUMBER: _ClassVar[int]
    name: str
    sha256: str
    size_bytes: int
    is_folder: bool
    def __init__(self, name: _Optional[str] = ..., sha256: _Optional[str] = ..., size_bytes: _Optional[int] = ..., is_folder: _Optional[bool] = ...) -> None: ...

class FetchBlobRequest(_message.Message):
    __slots__ = ("worker_id", "sha256", "offset", "most_bytes")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    MOST_BYTES_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    sha256: str
    offset: int
    most_bytes: int
    def __init__(self, worker_id: _Optional[str] = ..., sha256: _Optional[str] = ..., offset: _Optional[int] = ..., most_bytes: _Optional[int] = ...) -> None: ...

class FetchBlobResponse(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class WorkerMessage(_message.Message):
    __slots__ = ("hello", "heartbeat", "update", "chunk", "lease_return", "draining", "away", "marked_chunk", "acknowledgement", "bundle")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    UPDATE_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    LEASE_RETURN_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    AWAY_FIELD_NUMBER: _ClassVar[int]
    MARKED_CHUNK_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGEMENT_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    heartbeat: Heartbeat
    update: Update
    chunk: bytes
    lease_return: LeaseReturn
    draining: Draining
    away: Away
    marked_chunk: bytes
    acknowledgement: Acknowledgement
    bundle: _containers.RepeatedCompositeFieldContainer[WorkerMessage]
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., update: _Optional[_Union[Update, _Mapping]] = ..., chunk: _Optional[bytes] = ..., lease_return: _Optional[_Union[LeaseReturn, _Mapping]] = ..., draining: _Optional[_Union[Draining, _Mapping]] = ..., away: _Optional[_Union[Away, _Mapping]] = ..., marked_chunk: _Optional[bytes] = ..., acknowledgement: _Optional[_Union[Acknowledgement, _Mapping]] = ..., bundle: _Optional[_Iterable[_Union[WorkerMessage, _Mapping]]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("worker_id", "device", "fingerprint")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    device: str
    fingerprint: str
    def __init__(self, worker_id: _Optional[str] = ..., device: _Optional[str] = ..., fingerprint: _Optional[str] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("progress",)
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    progress: _containers.RepeatedCompositeFieldContainer[Progress]
    def __init__(self, progress: _Optional[_Iterable[_Union[Progress, _Mapping]]] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("key", "tasks_done")
    KEY_FIELD_NUMBER: _ClassVar[int]
    TASKS_DONE_FIELD_NUMBER: _ClassVar[int]
    key: LeaseKey
    tasks_done: int
    def __init__(self, key: _Optional[_Union[LeaseKey, _Mapping]] = ..., tasks_done: _Optional[int] = ...) -> None: ...

class Update(_message.Message):
    __slots__ = ("key", "version", "count", "total", "per_task", "otherwise")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    PER_TASK_FIELD_NUMBER: _ClassVar[int]
    OTHERWISE_FIELD_NUMBER: _ClassVar[int]
    key: LeaseKey
    version: int
    count: int
    total: TensorGroup
    per_task: TensorGroup
    otherwise: str
    def __init__(self, key: _Optional[_Union[LeaseKey, _Mapping]] = ..., version: _Optional[int] = ..., count: _Optional[int] = ..., total: _Optional[_Union[TensorGroup, _Mapping]] = ..., per_task: _Optional[_Union[TensorGroup, _Mapping]] = ..., otherwise: _Optional[str] = ...) -> None: ...

class LeaseReturn(_message.Message):
    __slots__ = ("key", "failed", "reason")
    KEY_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    key: LeaseKey
    failed: bool
    reason: str
    def __init__(self, key: _Optional[_Union[LeaseKey, _Mapping]] = ..., failed: _Optional[bool] = ..., reason: _Optional[str] = ...) -> None: ...

class Draining(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Away(_message.Message):
    __slots__ = ("reason", "change")
    REASON_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    reason: str
    change: int
    def __init__(self, reason: _Optional[str] = ..., change: _Optional[int] = ...) -> None: ...

class CoordinatorMessage(_message.Message):
    __slots__ = ("welcome", "theta", "lease", "chunk", "lease_revocation", "run_over", "drain", "notice", "marked_chunk", "acknowledgement", "bundle")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    THETA_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    LEASE_REVOCATION_FIELD_NUMBER: _ClassVar[int]
    RUN_OVER_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    NOTICE_FIELD_NUMBER: _ClassVar[int]
    MARKED_CHUNK_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGEMENT_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    theta: Theta
    lease: Lease
    chunk: bytes
    lease_revocation: LeaseRevocation
    run_over: RunOver
    drain: Drain
    notice: Notice
    marked_chunk: bytes
    acknowledgement: Acknowledgement
    bundle: _containers.RepeatedCompositeFieldContainer[CoordinatorMessage]
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., theta: _Optional[_Union[Theta, _Mapping]] = ..., lease: _Optional[_Union[Lease, _Mapping]] = ..., chunk: _Optional[bytes] = ..., lease_revocation: _Optional[_Union[LeaseRevocation, _Mapping]] = ..., run_over: _Optional[_Union[RunOver, _Mapping]] = ..., drain: _Optional[_Union[Drain, _Mapping]] = ..., notice: _Optional[_Union[Notice, _Mapping]] = ..., marked_chunk: _Optional[bytes] = ..., acknowledgement: _Optional[_Union[Acknowledgement, _Mapping]] = ..., bundle: _Optional[_Iterable[_Union[CoordinatorMessage, _Mapping]]] = ...) -> None: ...

class Acknowledgement(_message.Message):
    __slots__ = ("read_bytes",)
    READ_BYTES_FIELD_NUMBER: _ClassVar[int]
    read_bytes: int
    def __init__(self, read_bytes: _Optional[int] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("heartbeat_s",)
    HEARTBEAT_S_FIELD_NUMBER: _ClassVar[int]
    heartbeat_s: float
    def __init__(self, heartbeat_s: _Optional[float] = ...) -> None: ...

class Theta(_message.Message):
    __slots__ = ("version", "meta", "base")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    META_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    version: int
    meta: TensorGroup
    base: int
    def __init__(self, version: _Optional[int] = ..., meta: _Optional[_Union[TensorGroup, _Mapping]] = ..., base: _Optional[int] = ...) -> None: ...

class LeaseKey(_message.Message):
    __slots__ = ("session", "round_id", "shard", "attempt")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    ROUND_ID_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    session: str
    round_id: int
    shard: int
    attempt: int
    def __init__(self, session: _Optional[str] = ..., round_id: _Optional[int] = ..., shard: _Optional[int] = ..., attempt: _Optional[int] = ...) -> None: ...

class Lease(_message.Message):
    __slots__ = ("key", "version", "lease_s", "round", "kind", "tasks")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LEASE_S_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    key: LeaseKey
    version: int
    lease_s: float
    round: int
    kind: str
    tasks: _containers.RepeatedCompositeFieldContainer[Task]
    def __init__(self, key: _Optional[_Union[LeaseKey, _Mapping]] = ..., version: _Optional[int] = ..., lease_s: _Optional[float] = ..., round: _Optional[int] = ..., kind: _Optional[str] = ..., tasks: _Optional[_Iterable[_Union[Task, _Mapping]]] = ...) -> None: ...

class Task(_message.Message):
    __slots__ = ("task_id", "seed")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    seed: int
    def __init__(self, task_id: _Optional[str] = ..., seed: _Optional[int] = ...) -> None: ...

class LeaseRevocation(_message.Message):
    __slots__ = ("key", "reason")
    KEY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    key: LeaseKey
    reason: str
    def __init__(self, key: _Optional[_Union[LeaseKey, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...

class Drain(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class Notice(_message.Message):
    __slots__ = ("text",)
    TEXT_FIELD_NUMBER: _ClassVar[int]
    text: str
    def __init__(self, text: _Optional[str] = ...) -> None: ...

class RunOver(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class TensorGroup(_message.Message):
    __slots__ = ("leaves", "size_bytes", "crc32", "inline")
    LEAVES_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    CRC32_FIELD_NUMBER: _ClassVar[int]
    INLINE_FIELD_NUMBER: _ClassVar[int]
    leaves: _containers.RepeatedCompositeFieldContainer[Leaf]
    size_bytes: int
    crc32: int
    inline: bytes
    def __init__(self, leaves: _Optional[_Iterable[_Union[Leaf, _Mapping]]] = ..., size_bytes: _Optional[int] = ..., crc32: _Optional[int] = ..., inline: _Optional[bytes] = ...) -> None: ...

class Leaf(_message.Message):
    __slots__ = ("name", "dtype", "shape")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    name: str
    dtype: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, name: _Optional[str] = ..., dtype: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ...) -> None: ...

class StatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StatusResponse(_message.Message):
    __slots__ = ("run", "rounds_opened", "version", "shards_in", "shards", "workers", "leases", "wait", "refused", "backups", "paused", "session", "progress", "stopping", "bytes_moved", "clock_s", "protocol_version", "mlpeft_version", "mlx_version", "counted", "failures", "audits", "late")
    class FailuresEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class AuditsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class LateEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    RUN_FIELD_NUMBER: _ClassVar[int]
    ROUNDS_OPENED_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SHARDS_IN_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    LEASES_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    BACKUPS_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    STOPPING_FIELD_NUMBER: _ClassVar[int]
    BYTES_MOVED_FIELD_NUMBER: _ClassVar[int]
    CLOCK_S_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    MLPEFT_VERSION_FIELD_NUMBER: _ClassVar[int]
    MLX_VERSION_FIELD_NUMBER: _ClassVar[int]
    COUNTED_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    AUDITS_FIELD_NUMBER: _ClassVar[int]
    LATE_FIELD_NUMBER: _ClassVar[int]
    run: str
    rounds_opened: int
    version: int
    shards_in: int
    shards: int
    workers: _containers.RepeatedCompositeFieldContainer[WorkerStatus]
    leases: _containers.RepeatedCompositeFieldContainer[LeaseStatus]
    wait: str
    refused: int
    backups: int
    paused: str
    session: str
    progress: RunProgress
    stopping: bool
    bytes_moved: BytesMoved
    clock_s: float
    protocol_version: int
    mlpeft_version: str
    mlx_version: str
    counted: int
    failures: _containers.ScalarMap[str, int]
    audits: _containers.ScalarMap[str, int]
    late: _containers.ScalarMap[str, int]
    def __init__(self, run: _Optional[str] = ..., rounds_opened: _Optional[int] = ..., version: _Optional[int] = ..., shards_in: _Optional[int] = ..., shards: _Optional[int] = ..., workers: _Optional[_Iterable[_Union[WorkerStatus, _Mapping]]] = ..., leases: _Optional[_Iterable[_Union[LeaseStatus, _Mapping]]] = ..., wait: _Optional[str] = ..., refused: _Optional[int] = ..., backups: _Optional[int] = ..., paused: _Optional[str] = ..., session: _Optional[str] = ..., progress: _Optional[_Union[RunProgress, _Mapping]] = ..., stopping: _Optional[bool] = ..., bytes_moved: _Optional[_Union[BytesMoved, _Mapping]] = ..., clock_s: _Optional[float] = ..., protocol_version: _Optional[int] = ..., mlpeft_version: _Optional[str] = ..., mlx_version: _Optional[str] = ..., counted: _Optional[int] = ..., failures: _Optional[_Mapping[str, int]] = ..., audits: _Optional[_Mapping[str, int]] = ..., late: _Optional[_Mapping[str, int]] = ...) -> None: ...

class RunProgress(_message.Message):
    __slots__ = ("iteration", "iterations", "per_second", "seconds_left", "validation", "message")
    ITERATION_FIELD_NUMBER: _ClassVar[int]
    ITERATIONS_FIELD_NUMBER: _ClassVar[int]
    PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    SECONDS_LEFT_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    iteration: int
    iterations: int
    per_second: float
    seconds_left: float
    validation: str
    message: str
    def __init__(self, iteration: _Optional[int] = ..., iterations: _Optional[int] = ..., per_second: _Optional[float] = ..., seconds_left: _Optional[float] = ..., validation: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class BytesMoved(_message.Message):
    __slots__ = ("up", "down")
    UP_FIELD_NUMBER: _ClassVar[int]
    DOWN_FIELD_NUMBER: _ClassVar[int]
    up: int
    down: int
    def __init__(self, up: _Optional[int] = ..., down: _Optional[int] = ...) -> None: ...

class WorkerStatus(_message.Message):
    __slots__ = ("worker_id", "name", "device", "slots", "leases", "shards_done", "failures", "silent_s", "draining", "bytes_moved", "quarantined", "task_s", "away", "sending", "receiving")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    LEASES_FIELD_NUMBER: _ClassVar[int]
    SHARDS_DONE_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    SILENT_S_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    BYTES_MOVED_FIELD_NUMBER: _ClassVar[int]
    QUARANTINED_FIELD_NUMBER: _ClassVar[int]
    TASK_S_FIELD_NUMBER: _ClassVar[int]
    AWAY_FIELD_NUMBER: _ClassVar[int]
    SENDING_FIELD_NUMBER: _ClassVar[int]
    RECEIVING_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    name: str
    device: str
    slots: int
    leases: int
    shards_done: int
    failures: int
    silent_s: float
    draining: bool
    bytes_moved: BytesMoved
    quarantined: str
    task_s: float
    away: str
    sending: TransferStatus
    receiving: TransferStatus
    def __init__(self, worker_id: _Optional[str] = ..., name: _Optional[str] = ..., device: _Optional[str] = ..., slots: _Optional[int] = ..., leases: _Optional[int] = ..., shards_done: _Optional[int] = ..., failures: _Optional[int] = ..., silent_s: _Optional[float] = ..., draining: _Optional[bool] = ..., bytes_moved: _Optional[_Union[BytesMoved, _Mapping]] = ..., quarantined: _Optional[str] = ..., task_s: _Optional[float] = ..., away: _Optional[str] = ..., sending: _Optional[_Union[TransferStatus, _Mapping]] = ..., receiving: _Optional[_Union[TransferStatus, _Mapping]] = ...) -> None: ...

class TransferStatus(_message.Message):
    __slots__ = ("done_bytes", "total_bytes")
    DONE_BYTES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    done_bytes: int
    total_bytes: int
    def __init__(self, done_bytes: _Optional[int] = ..., total_bytes: _Optional[int] = ...) -> None: ...

class LeaseStatus(_message.Message):
    __slots__ = ("key", "worker", "held_s", "tasks_done", "tasks", "stalled_s", "left_s", "slow", "backup", "worker_id")
    KEY_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    HELD_S_FIELD_NUMBER: _ClassVar[int]
    TASKS_DONE_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    STALLED_S_FIELD_NUMBER: _ClassVar[int]
    LEFT_S_FIELD_NUMBER: _ClassVar[int]
    SLOW_FIELD_NUMBER: _ClassVar[int]
    BACKUP_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    key: LeaseKey
    worker: str
    held_s: float
    tasks_done: int
    tasks: int
    stalled_s: float
    left_s: float
    slow: bool
    backup: bool
    worker_id: str
    def __init__(self, key: _Optional[_Union[LeaseKey, _Mapping]] = ..., worker: _Optional[str] = ..., held_s: _Optional[float] = ..., tasks_done: _Optional[int] = ..., tasks: _Optional[int] = ..., stalled_s: _Optional[float] = ..., left_s: _Optional[float] = ..., slow: _Optional[bool] = ..., backup: _Optional[bool] = ..., worker_id: _Optional[str] = ...) -> None: ...

class ControlRequest(_message.Message):
    __slots__ = ("action", "worker")
    ACTION_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    action: str
    worker: str
    def __init__(self, action: _Optional[str] = ..., worker: _Optional[str] = ...) -> None: ...

class ControlResponse(_message.Message):
    __slots__ = ("text",)
    TEXT_FIELD_NUMBER: _ClassVar[int]
    text: str
    def __init__(self, text: _Optional[str] = ...) -> None: ...
