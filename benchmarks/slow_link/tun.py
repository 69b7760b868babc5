"""A slow link between two network namespaces: real TCP through an emulated wire.

    with SlowLink(rate_bit_s=1e6, delay_s=0.05, loss=0.01, seed=0) as link:
        subprocess.Popen(link.left.command(["python", "server.py", link.left.address]))

A process of its own opens a TUN device in each namespace and carries packets from one
to the other: they wait in a bounded queue while those before them are sent at the
link's rate, are under way for a while, and some are lost, as a seed says. Kernels
without netem can do this, too. It needs root, `ip` and /dev/net/tun: see `obstacle`.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import heapq
import itertools
import os
import random
import select
import shutil
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

TUN = Path("/dev/net/tun")
QUEUE_BYTES = 96_000
"""What a router keeps for a direction: 64 full packets, as small boxes do."""
MTU = 1500
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_CLONE_NEWNET = 0x40000000


def obstacle() -> str | None:
    """Why there can be no slow link on this machine; None if there can."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "network namespaces need `ip` (iproute2)"
    if not os.access(TUN, os.R_OK | os.W_OK):
        return f"{TUN} cannot be opened"
    probe = f"mlpeft-probe-{os.getpid()}"
    try:
        _ip("netns", "add", probe)
    except subprocess.CalledProcessError as error:
        return f"`ip netns add` is not allowed: {error.stderr.strip()}"
    _ip("netns", "del", probe)
    return None


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@dataclass(frozen=True, slots=True)
class End:
    """One end of a link.

    Attributes:
        namespace: Its name.
        address: Its IP address.
    """

    namespace: str
    address: str

    def command(self, words: Sequence[str]) -> list[str]:
        """The command that runs a command at this end."""
        return ["ip", "netns", "exec", self.namespace, *words]


class SlowLink:
    """Two namespaces and the wire between them; gone at the end of the `with` block.

    Args:
        rate_bit_s: Bits per second, in each direction.
        delay_s: Seconds that a packet is under way: half of the round trip.
        loss: Probability that a packet is lost.
        seed: Decides which.
        queue_bytes: What waits for each direction at most; more is dropped.
        most_bytes: The largest packet that passes; larger ones vanish without a word.
    """

    def __init__(
        self,
        rate_bit_s: float,
        delay_s: float = 0.0,
        loss: float = 0.0,
        seed: int = 0,
        queue_bytes: int = QUEUE_BYTES,
        most_bytes: int = MTU,
    ) -> None:
        name = f"mlpeft-{os.getpid()}"
        self.left = End(f"{name}-left", "10.211.55.1")
        self.right = End(f"{name}-right", "10.211.55.2")
        self._options = [*(rate_bit_s, delay_s, loss, seed, queue_bytes, most_bytes)]
        self._wire: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Make the namespaces and start the wire."""
        try:
            for end in (self.left, self.right):
                _ip("netns", "add", end.namespace)
                _ip("-n", end.namespace, "link", "set", "lo", "up")
                _ip("-n", end.namespace, "tuntap", "add", "dev", "tun0", "mode", "tun")
                address = f"{end.address}/24"
                _ip("-n", end.namespace, "addr", "add", address, "dev", "tun0")
                _ip("-n", end.namespace, "link", "set", "tun0", "mtu", str(MTU), "up")
            names = [self.left.namespace, self.right.namespace]
            command = [sys.executable, str(Path(__file__)), *names]
            command += [str(option) for option in self._options]
            self._wire = subprocess.Popen(command, stdout=subprocess.PIPE)
            assert self._wire.stdout is not None  # noqa: S101 - it is a pipe
            _started(self._wire.stdout.readline())
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take everything down."""
        self.close()

    def close(self) -> None:
        """Stop the wire and remove the namespaces."""
        if self._wire is not None:
            self._wire.kill()
            self._wire.wait()
            if self._wire.stdout is not None:
                self._wire.stdout.close()
            self._wire = None
        for end in (self.left, self.right):
            subprocess.run(
                ["ip", "netns", "del", end.namespace], check=False, capture_output=True
            )


def _started(line: bytes) -> None:
    if not line:
        raise RuntimeError("the wire between the namespaces did not start")


# --- the wire's process ---------------------------------------------------------------


class Direction:
    """Packets from one device to the other.

    Args:
        write: Delivers a packet.
        rate_bit_s: As in SlowLink, like the rest.
        delay_s: See there.
        loss: See there.
        queue_bytes: See there.
        most_bytes: See there.
        chance: Decides what is lost.
    """

    def __init__(
        self,
        write: Callable[[bytes], None],
        rate_bit_s: float,
        delay_s: float,
        loss: float,
        queue_bytes: int,
        most_bytes: int,
        chance: random.Random,
    ) -> None:
        self._write = write
        self._byte_s = 8 / rate_bit_s
        self._delay_s = delay_s
        self._loss = loss
        self._queue_s = queue_bytes * self._byte_s
        self._most_bytes = most_bytes
        self._chance = chance
        self._free_at = 0.0  # when all that waits will be sent
        self._order = itertools.count()
        self._under_way: list[tuple[float, int, bytes]] = []

    def take(self, packet: bytes, now: float) -> None:
        """A packet comes to the queue; a full one drops it."""
        starts = max(now, self._free_at)
        if starts - now > self._queue_s:
            return
        self._free_at = starts + len(packet) * self._byte_s
        passes = len(packet) <= self._most_bytes
        if passes and self._chance.random() >= self._loss:
            arrives = self._free_at + self._delay_s
            heapq.heappush(self._under_way, (arrives, next(self._order), packet))

    def deliver(self, now: float) -> float | None:
        """Deliver what has arrived; when the next packet will."""
        while self._under_way and self._under_way[0][0] <= now:
            self._write(heapq.heappop(self._under_way)[2])
        return self._under_way[0][0] if self._under_way else None


def _open_tun(namespace: str) -> int:
    """The TUN device of a namespace; it stays open in any other."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path(f"/run/netns/{namespace}").open("rb") as file:
        if libc.setns(file.fileno(), _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns to {namespace}")
    device = os.open(TUN, os.O_RDWR | os.O_NONBLOCK)
    request = struct.pack("16sH22x", b"tun0", _IFF_TUN | _IFF_NO_PI)
    fcntl.ioctl(device, _TUNSETIFF, request)
    return device


def carry(arguments: argparse.Namespace) -> None:
    """Carry packets until the process is ended."""
    devices = [_open_tun(arguments.left), _open_tun(arguments.right)]
    directions = {
        device: Direction(
            lambda packet, other=other: os.write(other, packet),  # type: ignore[misc]
            arguments.rate,
            arguments.delay,
            arguments.loss,
            arguments.queue,
            arguments.most,
            random.Random(f"{arguments.seed} {index}"),  # noqa: S311 - a model
        )
        for index, (device, other) in enumerate(
            zip(devices, reversed(devices), strict=True)
        )
    }
    print("up", flush=True)
    while True:
        now = time.monotonic()
        dues = [direction.deliver(now) for direction in directions.values()]
        due = min((at for at in dues if at is not None), default=now + 1)
        ready, _, _ = select.select(devices, [], [], max(0.0, due - now))
        now = time.monotonic()
        for device in ready:
            directions[device].take(os.read(device, 2 * MTU), now)


def main() -> None:
    """The wire's process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("left")
    parser.add_argument("right")
    for name in ("rate", "delay", "loss"):
        parser.add_argument(name, type=float)
    for name in ("seed", "queue", "most"):
        parser.add_argument(name, type=int)
    carry(parser.parse_args())


if __name__ == "__main__":
    main()
