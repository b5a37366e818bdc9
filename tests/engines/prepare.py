"""`make engines`: fetch what the engines need that pip does not bring; say what could not be had, and go on."""

import sys

from tests.engines import jars
from tests.engines.process import EngineFailed
from tests.engines.starting import KINDS


def main() -> int:
    """Always 0: the tests say which engine they miss, and fail for it only where engines are required."""
    for engine in jars.ENGINES:
        try:
            jars.fetch(engine)
        except EngineFailed as exc:
            sys.stdout.write(f"engines: {engine} could not be prepared: {exc}\n")
    for name, kind in KINDS.items():
        sys.stdout.write(f"engines: {name}: {kind.outlook()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
