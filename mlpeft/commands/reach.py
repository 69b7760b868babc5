"""Whether this machine could work for a coordinator, check by check."""

from __future__ import annotations

import errno
import os
import socket
import time
from typing import TYPE_CHECKING

from mlpeft.cluster.validation import version_refusal
from mlpeft.commands.checks import Check, Status
from mlpeft.errors import MlpeftError
from mlpeft.runtime import fingerprint
from mlpeft.transport.rpc.address import is_near, split_address
from mlpeft.transport.rpc.channel import PROXY_VARIABLES
from mlpeft.transport.security.certificates import RENEW_DAYS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mlpeft.cluster.overview import Overview
    from mlpeft.platform.network import Network
    from mlpeft.transport.discovery.announcement import Announcement
    from mlpeft.transport.security.identity import Identity

CLOSE_CLOCKS_S = 5.0
FAR_CLOCKS_S = 60.0
"""From here on tokens and certificates may be taken for ended, or not yet begun."""
SMALLER_MTU = (
    "a VPN, a tunnel or jumbo frames have another MTU than this machine, and what says "
    "so is dropped. Lower it on both sides until this passes: sudo ip link set dev "
    "DEVICE mtu 1280 (macOS: sudo ifconfig DEVICE mtu 1280)"
)
JOIN_AGAIN = "join again: mlpeft-worker join TOKEN"


def check_certificate(held: Identity) -> Check:
    """The certificate is valid, and for some time yet."""
    days = held.days_left()
    whose = f"{held.name}, in {held.folder}"
    if days <= 0:
        detail = f"{whose}, has ended {-days:.0f} days ago by this machine's clock"
        return Check("certificate", Status.FAILED, detail, JOIN_AGAIN)
    detail = f"{whose}, for {days:.0f} days"
    if days < RENEW_DAYS:
        return Check("certificate", Status.WARNING, detail, JOIN_AGAIN)
    return Check("certificate", Status.OK, detail)


def check_announced(found: Sequence[Announcement]) -> Check:
    """Coordinators announce themselves on the local network.

    Args:
        found: Those that do.
    """
    if found:
        detail = "; ".join(str(announced) for announced in found)
        return Check("discovery", Status.OK, detail)
    remedy = (
        "if one runs in this network, multicast does not come through (or macOS does "
        "not let this program reach it); --coordinator HOST:PORT needs none"
    )
    detail = "no coordinator announces itself on this network"
    return Check("discovery", Status.WARNING, detail, remedy)


def check_coordinator(
    address: str,
    network: Network,
    diagnose: Callable[[], str | None],
    look: Callable[[], Overview],
    clock: Callable[[], float] = time.time,
    loses_large: Callable[[], bool] = lambda: False,
) -> Iterator[Check]:
    """Whether a coordinator can be reached, takes us, and is like us.

    Args:
        address: Its host:port.
        network: The network, as this machine sees it.
        diagnose: What is wrong with TLS there and what to do; None: nothing.
        look: Asks it for its status.
        clock: Seconds since 1970.
        loses_large: Whether large packets vanish on the way.

    Yields:
        Checks; none after one without which the next make no sense.
    """
    reached = check_reach(address, network)
    yield reached
    yield from check_proxy(address, os.environ)
    if reached.status is Status.FAILED:
        return
    if loses_large():
        detail = f"small packets reach {address} and large ones vanish on the way"
        yield Check("packet size", Status.FAILED, detail, SMALLER_MTU)
        return
    wrong = diagnose()
    if wrong is not None:
        yield Check("coordinator", Status.FAILED, wrong)
        return
    before = clock()
    try:
        overview = look()
    except MlpeftError as error:
        yield Check("coordinator", Status.FAILED, str(error))
        return
    after = clock()
    workers = len(overview.cluster.workers)
    detail = f"run {overview.run}, {workers} workers"
    yield Check("coordinator", Status.OK, detail)
    yield check_versions(overview)
    yield check_clock(overview.clock_s, before, after)


def check_proxy(address: str, environment: Mapping[str, str]) -> Iterator[Check]:
    """A proxy that gRPC would take on the way; nothing if there is none."""
    name = next(filter(environment.get, PROXY_VARIABLES), None)
    if name is not None and not is_near(address):
        detail = f"{name}={environment[name]} is taken on the way to {address}"
        host = split_address(address, "--coordinator")[0]
        remedy = f"if it does not lead there: no_proxy={host}, or unset {name}"
        yield Check("proxy", Status.WARNING, detail, remedy)


def check_reach(address: str, network: Network) -> Check:
    """A connection to the address comes about."""
    host, port = split_address(address, "--coordinator")
    try:
        network.connect(host, port)
    except socket.gaierror:
        detail = f"there is no machine called {host}"
        remedy = "check the name, or give its address"
    except ConnectionRefusedError:
        detail = f"{host} is there, but nobody listens on port {port}"
        remedy = "start the coordinator, or give the address that it listens on"
    except TimeoutError:
        detail = f"{host} does not answer"
        remedy = (
            "see that it is on and awake, in this network, and that its firewall lets "
            f"port {port} through"
        )
    except OSError as error:
        detail, remedy = _no_way(host, error, network)
    else:
        return Check("reach", Status.OK, f"{address} takes connections")
    return Check("reach", Status.FAILED, detail, remedy)


def _no_way(host: str, error: OSError, network: Network) -> tuple[str, str]:
    """What it means that the system knows no way to a host, and what to do."""
    detail = f"{host}: {(error.strerror or str(error)).lower()}"
    remedy = "see that it is on and awake, and that both are in one network"
    if (
        error.errno != errno.EHOSTUNREACH
        or not network.asks_for_leave()
        or not network.on_same_network(host)
    ):
        return detail, remedy
    allow = (
        "System Settings > Privacy & Security > Local Network: allow the program that "
        "started this one, such as Terminal or Python. If it is not listed, start the "
        "worker from a Terminal window, not from launchd, tmux or nohup, and say yes"
    )
    if not network.gateway_answers():
        why = "it may be macOS's Local Network Privacy"
        return detail, f"{remedy}; if they are, {why}: {allow}"
    detail += (
        ", though it is in this network and the gateway answers: this is how macOS's "
        "Local Network Privacy looks"
    )
    return detail, allow


def check_versions(overview: Overview) -> Check:
    """Both sides run the same."""
    theirs, ours = overview.versions, fingerprint.own_versions()
    if theirs is None:
        detail = f"the coordinator does not say; here are mlpeft {ours.mlpeft}"
        remedy = "run the same version of mlpeft on both sides"
        return Check("versions", Status.WARNING, detail, remedy)
    refusal = version_refusal(theirs, ours)
    if refusal is not None:
        return Check("versions", Status.FAILED, refusal)
    detail = f"mlpeft {ours.mlpeft}, MLX {ours.mlx} on both sides"
    return Check("versions", Status.OK, detail)


def check_clock(theirs_s: float, before_s: float, after_s: float) -> Check:
    """Both clocks say the same.

    Args:
        theirs_s: The coordinator's, at some moment between the two of ours.
        before_s: Ours, before it was asked.
        after_s: Ours, after it answered.
    """
    ahead_s = theirs_s - (before_s + after_s) / 2
    apart_s = max(0.0, abs(ahead_s) - abs(after_s - before_s) / 2)
    if apart_s <= CLOSE_CLOCKS_S:
        return Check("clock", Status.OK, f"within {CLOSE_CLOCKS_S:g} s of the other")
    order = "ahead of" if ahead_s > 0 else "behind"
    detail = f"the coordinator's is {apart_s:.0f} s {order} this machine's"
    remedy = (
        "let both be set by the network (macOS: System Settings > General > Date & "
        "Time; Linux: timedatectl set-ntp true)"
    )
    far = apart_s > FAR_CLOCKS_S
    return Check("clock", Status.FAILED if far else Status.WARNING, detail, remedy)
