"""Generate the protobuf module from proto/, or check that it is up to date.

    python tools/proto.py          # after a change of the .proto
    python tools/proto.py --check  # in CI: exit code 1 if someone forgot

The committed files must come from the versions of grpcio-tools and protobuf that
constraints pin: generated code refuses an older runtime.
"""

# ruff: noqa: INP001, T201 - a script

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
SOURCE = Path("mlpeft/transport/rpc/cluster.proto")
GENERATED = (
    Path("mlpeft/transport/rpc/cluster_pb2.py"),
    Path("mlpeft/transport/rpc/cluster_pb2.pyi"),
)


def generate(target: Path) -> None:
    """Write the generated files under a folder.

    Raises:
        SystemExit: If protoc refuses the source.
    """
    (target / SOURCE.parent).mkdir(parents=True, exist_ok=True)
    arguments = [
        "protoc",
        f"--proto_path={ROOT / 'proto'}",
        f"--python_out={target}",
        f"--pyi_out={target}",
        str(ROOT / "proto" / SOURCE),
    ]
    if protoc.main(arguments) != 0:
        raise SystemExit(f"protoc could not compile proto/{SOURCE}")


def stale() -> list[Path]:
    """The committed files that are not what the source generates."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        generate(fresh)
        return [
            path
            for path in GENERATED
            if not (ROOT / path).is_file()
            or (ROOT / path).read_bytes() != (fresh / path).read_bytes()
        ]


def main() -> int:
    """Command line; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing")
    if not parser.parse_args().check:
        generate(ROOT)
        return 0
    old = stale()
    for path in old:
        print(f"{path} is not what proto/{SOURCE} generates: run tools/proto.py")
    return 1 if old else 0


if __name__ == "__main__":
    sys.exit(main())
