"""A real headless Chromium, driven over the W3C WebDriver protocol with nothing but the standard library."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--hide-scrollbars",
)  # fmt: skip
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
#: Everything of a selector, within shadow roots too, which is where Bokeh draws.
_DEEP = """
const found = []; const visit = root => { for (const e of root.querySelectorAll('*')) {
  if (e.matches(SELECTOR)) found.push(e); if (e.shadowRoot) visit(e.shadowRoot); } }; visit(document);
"""


def is_there() -> bool:
    """Whether Chromium and its driver are installed."""
    return shutil.which("chromium") is not None and shutil.which("chromedriver") is not None


class Browser:
    """One window of a size, with a profile of its own.

    Parameters
    ----------
    folder : path
        Empty; gets the profile.
    width, height : int
        Of the page in pixels.
    phone : bool
        A touch screen.
    """

    def __init__(self, folder: Path, width: int, height: int, phone: bool = False) -> None:
        self.driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True)
        assert self.driver.stdout is not None
        port = None
        while port is None and (line := self.driver.stdout.readline()):
            found = re.search(r"on port (\d+)\.", line)
            port = found and found[1]
        self.url = f"http://127.0.0.1:{port}/session"
        options: dict[str, Any] = {"args": [*_FLAGS, f"--user-data-dir={folder}", f"--window-size={width},{height}"],
                                   "binary": shutil.which("chromium")}  # fmt: skip
        options["mobileEmulation"] = {"deviceMetrics": {"width": width, "height": height, "pixelRatio": 1,
                                                        "mobile": phone, "touch": phone}}  # fmt: skip
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        self.url += "/" + self._call("", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def close(self) -> None:
        """End the browser and its driver."""
        try:
            self._call("", method="DELETE")
        finally:
            self.driver.terminate()
            self.driver.wait()
            assert self.driver.stdout is not None
            self.driver.stdout.close()

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def go(self, url: str) -> None:
        """Load a page."""
        self._call("/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """What a piece of JavaScript returns."""
        return self._call("/execute/sync", {"script": script, "args": arguments})

    def texts(self, selector: str) -> list[str]:
        """The text of every element of a selector, whatever shadow it lies in."""
        return self.run(_DEEP.replace("SELECTOR", "arguments[0]") + "return found.map(e => e.innerText);", selector)

    def wait(self, condition: str, seconds: float = 30.0, *arguments: Any) -> Any:
        """Wait until an expression of JavaScript is true; returns its value."""
        end = time.monotonic() + seconds
        while not (value := self.run(f"return {condition};", *arguments)):
            if time.monotonic() > end:
                raise AssertionError(f"not within {seconds} s: {condition}\n{self.log()}")
            time.sleep(0.05)
        return value

    def click(self, x: float, y: float) -> None:
        """Press and release at a place of the page."""
        steps = [{"type": "pointerMove", "duration": 0, "x": round(x), "y": round(y)},
                 {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]  # fmt: skip
        self._call("/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": steps}]})

    def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        steps = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._call("/actions", {"actions": [{"type": "key", "id": "keys", "actions": steps}]})

    def picture(self, path: Path) -> None:
        """What the window shows, as PNG."""
        path.write_bytes(base64.b64decode(self._call("/screenshot", method="GET")))

    def log(self) -> list[str]:
        """What the page said on its console since the last call, warnings and errors."""
        entries = self._call("/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] in ("WARNING", "SEVERE")]

    def _call(self, path: str, body: Any = None, method: str = "POST") -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"]) from error
