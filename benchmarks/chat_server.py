"""A chat endpoint on this machine, in threads: it speaks the protocol, and answers what a script says.

Also a program of its own, for runs that are killed while it stays: `python -m benchmarks.chat_server` writes
its address as a line, and serves until it is ended.
"""

from __future__ import annotations

import base64
import io
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

import numpy as np
from PIL import Image

Body = dict[str, Any]


@dataclass
class Answer:
    """What the server sends back."""

    content: str | None = ""
    tool_calls: list[Body] = field(default_factory=list)
    finish: str = "stop"
    status: int = 200
    error: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    fields: Body = field(default_factory=dict)
    """Further fields of the message."""
    usage: tuple[int, int] | None = (100, 10)
    delay_s: float = 0.0
    raw: bytes | None = None
    """In place of everything."""
    content_length: int | None = None
    """A wrong one: the connection ends before so many bytes."""

    def body(self) -> bytes:
        if self.raw is not None:
            return self.raw
        if self.status != 200:
            return json.dumps({"error": {"message": self.error, "type": "e", "code": self.status}}).encode()
        message: Body = {"role": "assistant", "content": self.content, **self.fields}
        if self.tool_calls:
            message["tool_calls"] = self.tool_calls
        usage = (
            None
            if self.usage is None
            else dict(zip(("prompt_tokens", "completion_tokens"), self.usage, strict=True))
        )
        choice = {"index": 0, "message": message, "finish_reason": self.finish}
        return json.dumps(
            {"id": "1", "object": "chat.completion", "choices": [choice], "usage": usage}
        ).encode()


Script = Callable[[Body], Answer]


class ChatServer:
    """Answers `POST /v1/chat/completions` by a script; remembers what it was asked."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[Body] = []
        self.headers: list[dict[str, str]] = []
        self.most_together = 0
        self._together = 0
        self._lock = Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer._lock:
                    outer.requests.append(body)
                    outer.headers.append({name.lower(): value for name, value in self.headers.items()})
                    outer._together += 1
                    outer.most_together = max(outer.most_together, outer._together)
                answer = outer.script(body) if self.path == "/v1/chat/completions" else Answer(status=404)
                if answer.delay_s:
                    time.sleep(answer.delay_s)
                with outer._lock:
                    outer._together -= 1
                content = answer.body()
                try:
                    self.send_response(answer.status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(answer.content_length or len(content)))
                    for name, value in answer.headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(content)
                except ConnectionError:
                    pass  # the client did not wait
                if answer.content_length:
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # connections of killed clients

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"


@contextmanager
def serving(script: Script) -> Iterator[ChatServer]:
    """A server for the time of a `with` block."""
    server = ChatServer(script)
    thread = Thread(target=server.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.server.shutdown()
        server.server.server_close()
        thread.join()


def pictures_in(message: Body) -> list[np.ndarray]:
    """The pixels of the pictures in a message, as the server decodes them."""
    parts = message["content"] if isinstance(message["content"], list) else []
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    prefix = "data:image/png;base64,"
    assert all(url.startswith(prefix) for url in urls)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(url.removeprefix(prefix))))) for url in urls]


def texts_in(message: Body) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "".join(p.get("text", "") for p in content)


def turn_of(body: Body) -> int:
    """How many messages of the model a request holds."""
    return sum(m["role"] == "assistant" for m in body["messages"])


ARGUMENTS = '{"bbox_2d": [0, 0, 400, 400], "target_image": 1}'
CROP = f'<tool_call>\n{{"name": "crop_image", "arguments": {ARGUMENTS}}}\n</tool_call>'


def crops_once(body: Body) -> Answer:
    """Crops, then answers with a number that depends on the picture it got."""
    if turn_of(body) == 0:
        return Answer(f"I look closer. {CROP}")
    pixels = pictures_in(body["messages"][-1])[0]
    return Answer(f"\\boxed{{{int(pixels.astype(np.int64).sum()) % 10}}}")


def slowly(body: Body) -> Answer:
    """As `crops_once`; how long it takes depends on the request alone, and differs from task to task."""
    answer = crops_once(body)
    answer.delay_s = 0.02 + 0.2 * (body["seed"] % 7) / 7
    return answer


if __name__ == "__main__":
    stays = ChatServer(slowly)
    sys.stdout.write(f"{stays.url}\n")
    sys.stdout.flush()
    stays.server.serve_forever()
