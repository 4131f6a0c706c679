"""Face: `relocscope step --gdb` as a person, or a script that reads its JSON Lines, sees it."""

import json
import sys
from typing import IO, Any

from relocscope.gdb.server import is_loopback, listen, serve
from relocscope.stepping.control import Control

_WARNING = (
    "relocscope: warning: --gdb {host}: whoever reaches this address may read and change the session; "
    "nothing asks them who they are\n"
)


def serve_gdb(control: Control, host: str, port: int, json_out: IO[str] | None) -> int:
    """Serve until a client kills it; 0. Each event is a line of text, and an object on `json_out`."""

    def report(event: str, facts: dict[str, Any]) -> None:
        if json_out is not None:
            json_out.write(json.dumps({"schema": "relocscope/step-gdb/1", "event": event, **facts}) + "\n")
            json_out.flush()
        if json_out is None or json_out.name not in ("-", "<stdout>"):
            sys.stdout.write(f"{_in_words(event, facts)}\n")
            sys.stdout.flush()

    if not is_loopback(host):
        sys.stderr.write(_WARNING.format(host=host))
    with listen(host, port) as listening:
        report("listening", {"host": host, "port": listening.getsockname()[1]})
        serve(control, listening, report)
    return 0


def _in_words(event: str, facts: dict[str, Any]) -> str:
    if event == "listening":
        host = f"[{facts['host']}]" if ":" in facts["host"] else facts["host"]
        return f"waiting for gdb: gdb-multiarch -ex 'target remote {host}:{facts['port']}'"
    if event == "connected":
        return f"gdb connected from {facts['peer']}"
    if event == "killed":
        return "gdb killed the session"
    return f"gdb went; the session stands at instruction {facts['insn']}, for the next one (end it with Ctrl-C)"
