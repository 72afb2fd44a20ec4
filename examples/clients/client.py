#!/usr/bin/env python3
"""A client of moonkeep's line protocol in plain Python: ids, time limits, reconnect.

    client.py SOCKET SCRIPT HANDLER [key=value ...]

The socket's path is in `moonkeep status --json` under "socket". One JSON object is one line, both ways.
Each request gets a UUIDv7 as its id. If the connection is lost, the same request is sent again with the same
id: the daemon knows it and gives the same answer, so nothing runs twice.
"""

import json
import os
import random
import socket
import sys
import time
import uuid


def uuid7():
    """A UUID of version 7: 48 bits of wall time in milliseconds, the rest random."""
    value = (int(time.time() * 1000) << 80) | int.from_bytes(os.urandom(10), "big")
    value = (value & ~(0xF << 76)) | (7 << 76)
    value = (value & ~(0x3 << 62)) | (2 << 62)
    return str(uuid.UUID(int=value))


class Refused(Exception):
    """The answer was an error; `code` is one of a closed set, `data` what the script added."""

    def __init__(self, error):
        super().__init__(f"{error['code']}: {error['message']}")
        self.code = error["code"]
        self.retry_after = error.get("retry_after")
        self.data = error.get("data")


class Client:
    def __init__(self, path):
        self.path = path
        self.stream = None

    def call(self, script, handler, params, timeout=10.0, on_part=None):
        """The handler's result. Raises Refused, or TimeoutError once the time is over."""
        deadline = time.monotonic() + timeout
        question = {
            "request_id": uuid7(),
            "command": "call",
            "script": script,
            "handler": handler,
            "params": params,
        }
        pause = 0.05
        while time.monotonic() < deadline:
            question["timeout"] = max(0.001, deadline - time.monotonic())
            try:
                return self.ask(question, deadline, on_part)
            except Refused as refused:
                if refused.code not in ("busy", "rate_limited"):
                    raise
                # Nothing ran: ask again after the pause that the daemon names.
                pause = refused.retry_after or pause
            except (OSError, EOFError):
                # Lost, or not there yet: connect again. The request keeps its id.
                self.close()
            time.sleep(min(pause * random.uniform(0.5, 1.0), max(0, deadline - time.monotonic())))
            pause = min(pause * 2, 5.0)
        raise TimeoutError(f"{script} {handler} had no answer within {timeout} s")

    def ask(self, question, deadline, on_part):
        """Sends one question and reads until the end of its answer."""
        if self.stream is None:
            self.connect()
        self.stream.write(json.dumps(question).encode() + b"\n")
        self.stream.flush()
        while True:
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            line = self.stream.readline()
            if not line.endswith(b"\n"):
                raise EOFError("the daemon has closed the connection")
            answer = json.loads(line)
            if answer.get("request_id") != question["request_id"]:
                continue  # a late answer to a question that was given up
            if answer["status"] == "part" and on_part:
                on_part(answer["part"])
            elif answer["status"] == "ok":
                return answer.get("result")
            elif answer["status"] == "error":
                raise Refused(answer["error"])

    def connect(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(5.0)
        self.socket.connect(self.path)
        self.stream = self.socket.makefile("rwb")

    def close(self):
        if self.stream is not None:
            stream, self.stream = self.stream, None
            self.socket.close()
            try:
                stream.close()
            except OSError:
                pass  # what was not yet written goes with the connection


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    path, script, handler, *words = sys.argv[1:]
    params = dict(word.split("=", 1) for word in words)
    client = Client(path)
    try:
        result = client.call(script, handler, params)
    except (Refused, TimeoutError) as failure:
        sys.exit(f"client.py: {failure}")
    print(result if isinstance(result, str) else json.dumps(result))


if __name__ == "__main__":
    main()
