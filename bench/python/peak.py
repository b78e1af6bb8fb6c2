"""Tells the benchmark the most memory that this process had, in KiB, as its other processes do: on descriptor 3."""

import atexit
import os


def tell():
    try:
        with open("/proc/self/status") as status:
            line = next(line for line in status if line.startswith("VmHWM:"))
        os.write(3, line.split()[1].encode())
    except OSError:
        pass  # no such file on this system, or nobody listens


atexit.register(tell)
