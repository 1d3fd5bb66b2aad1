"""A headless Chromium, driven through its debugging pipe: no library, no port.

Messages are JSON, ended by a zero byte, on file descriptors 3 (to it) and 4 (from it): the DevTools protocol.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PROGRAM = next((p for p in ("chromium", "chromium-browser", "google-chrome") if shutil.which(p)), None)


class Chromium:
    """One page in a browser of its own; events of interest are kept."""

    def __init__(self, folder: Path, width: int = 1300, height: int = 900) -> None:
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        self._waiting, self._count = b"", 0
        self.events: list[dict[str, Any]] = []
        command = [
            *(
                PROGRAM or "chromium",
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
            ),
            *("--remote-debugging-pipe", f"--user-data-dir={folder}", f"--window-size={width},{height}"),
            *("--no-first-run", "--disable-background-networking", "about:blank"),
        ]
        high = (fcntl.fcntl(to_read, fcntl.F_DUPFD, 50), fcntl.fcntl(to_write, fcntl.F_DUPFD, 50))

        def place() -> None:  # in the child: where Chromium looks for the pipes
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        # The child only duplicates descriptors before it becomes Chromium.
        self._process = subprocess.Popen(command, pass_fds=(3, 4), preexec_fn=place, **quiet)  # noqa: PLW1509
        for end in high:
            os.close(end)
        os.close(to_read)
        os.close(to_write)
        self._session = ""
        try:
            self._attach()
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def _attach(self) -> None:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)

    def _message(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._waiting:
            if not select.select([self._read], [], [], max(deadline - time.monotonic(), 0))[0]:
                raise TimeoutError("Chromium does not answer")
            part = os.read(self._read, 1 << 20)
            if not part:
                raise EOFError("Chromium has ended")
            self._waiting += part
        raw, self._waiting = self._waiting.split(b"\0", 1)
        return json.loads(raw)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command's result; events that come before it are kept."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        deadline = time.monotonic() + 60
        while True:
            answer = self._message(deadline)
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def open(self, page: Path) -> None:
        """Load a page of pcaptool and wait until its script has run; forgets what was complained of before."""
        self.events.clear()
        self.call("Page.navigate", url=page.resolve().as_uri())
        deadline = time.monotonic() + 60
        while self.run("document.body && document.body.dataset.ready") != "yes":
            if time.monotonic() > deadline:
                raise TimeoutError(f"the page is not ready: {self.complaints()}")
            time.sleep(0.1)

    def run(self, script: str) -> Any:
        """Value of an expression in the page."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"])
        return result["result"].get("value")

    def click(self, selector: str) -> None:
        """A real click of the mouse in the middle of an element."""
        box = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'center'});"
            " const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def type(self, selector: str, text: str) -> None:
        """Text into a field."""
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """A screenshot as PNG."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

    def complaints(self) -> list[str]:
        """Exceptions, refusals of the content security policy, dialogs and requests that left, so far."""
        self.run("0")
        found = []
        for event in self.events:
            name, about = event.get("method", ""), event.get("params", {})
            if name in ("Runtime.exceptionThrown", "Page.javascriptDialogOpening"):
                found.append(f"{name} {about}")
            elif name == "Log.entryAdded" and about["entry"]["level"] == "error":
                found.append(about["entry"]["text"])
            elif name == "Network.requestWillBeSent":
                url = about["request"]["url"]
                if not url.startswith(("file:", "data:", "blob:", "about:")):
                    found.append(f"request {url}")
        return found
