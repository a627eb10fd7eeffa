"""A real Chromium without a window, driven by its DevTools protocol."""

import base64
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import time
import urllib.request
from typing import Any

import pytest
import websocket

__all__ = ["Browser"]

_WAIT_S = 120  # a test machine may be busy
_KEYS = {"Enter": 13, "Escape": 27, "Backspace": 8, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}


class Browser:
    """One page of a browser, as a context manager; skips the test where there is no Chromium.

    Attributes:
        complaints: What the page logged as errors, its policy's refusals and uncaught exceptions.
    """

    def __init__(self, profile: pathlib.Path, size: tuple[int, int] = (1400, 900)) -> None:
        program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        if program is None:
            pytest.skip("needs Chromium: apt-get install chromium")
        self.complaints: list[str] = []
        self._ids = itertools.count(1)
        self._process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--no-first-run", "--disable-background-networking", f"--window-size={size[0]},{size[1]}",
             f"--user-data-dir={profile}", "--remote-debugging-port=0", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "HOME": str(profile)},
        )  # fmt: skip
        try:
            self._socket = websocket.create_connection(self._address(profile), timeout=_WAIT_S, suppress_origin=True)
            for domain in ("Page", "Runtime", "Log"):
                self.call(f"{domain}.enable")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(30)

    def _address(self, profile: pathlib.Path) -> str:
        port = profile / "DevToolsActivePort"
        _until(lambda: port.exists() and port.read_text().count("\n"), "Chromium does not start")
        where = f"http://127.0.0.1:{port.read_text().split()[0]}/json/list"

        def page() -> str | None:
            with urllib.request.urlopen(where, timeout=_WAIT_S) as answer:
                pages = [each for each in json.load(answer) if each["type"] == "page"]
            return pages[0]["webSocketDebuggerUrl"] if pages else None

        return _until(page, "Chromium has no page")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Calls a method of the protocol and returns its result."""
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            told = json.loads(self._socket.recv())
            if told.get("id") == number:
                assert "error" not in told, told
                return told["result"]
            if told.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.complaints.append(json.dumps(told["params"]))

    def open(self, page: pathlib.Path, ready: str = ".exam") -> None:
        """Opens a page and waits until what `ready` selects says that it is open."""
        self.complaints.clear()
        self.call("Page.navigate", url=page.resolve().as_uri())
        _until(lambda: self.get(f"document.querySelector('{ready}')?.dataset.opened"), "the page does not open")

    def get(self, expression: str) -> Any:
        """Evaluates JavaScript and returns what it gives; promises are awaited."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def press(self, x: float, y: float) -> None:
        self.mouse("mousePressed", x, y, button="left", buttons=1, clickCount=1)

    def release(self, x: float, y: float) -> None:
        self.mouse("mouseReleased", x, y, button="left", buttons=0, clickCount=1)

    def click(self, x: float, y: float) -> None:
        self.press(x, y)
        self.release(x, y)

    def drag(self, start: tuple[float, float], end: tuple[float, float], steps: int = 5) -> None:
        self.press(*start)
        for step in range(1, steps + 1):
            x, y = (a + (b - a) * step / steps for a, b in zip(start, end, strict=True))
            self.mouse("mouseMoved", x, y, button="left", buttons=1)
        self.release(*end)

    def key(self, key: str) -> None:
        text = {"text": key} if len(key) == 1 else {}
        code = _KEYS.get(key, ord(key[0]))
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def screenshot(self) -> bytes:
        """Returns what is on the screen, a PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot")["data"])


def _until(there: Any, otherwise: str) -> Any:
    deadline = time.monotonic() + _WAIT_S
    while time.monotonic() < deadline:
        if found := there():
            return found
        time.sleep(0.05)
    raise TimeoutError(otherwise)
