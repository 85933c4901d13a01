"""A headless Chromium, driven over its remote debugging protocol through a pipe. Needs Python only.

The protocol: https://chromedevtools.github.io/devtools-protocol/. Messages are JSON, each followed by a NUL;
Chromium reads them from file descriptor 3 and writes to 4 (--remote-debugging-pipe).
"""

import base64
import json
import os
import pathlib
import select
import shutil
import subprocess
import tempfile
import time


def find_chromium():
    for name in (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome"):
        path = shutil.which(name) if name else None
        if path:
            return path
    return None


class Browser:
    """Chromium with a profile of its own, in an empty temporary folder."""

    def __init__(self, program):
        self.profile = tempfile.TemporaryDirectory(prefix="reno-browser-", ignore_cleanup_errors=True)
        to_child, self.write_end = os.pipe()
        self.read_end, from_child = os.pipe()

        def number_pipes():  # by way of high numbers, for the pipes may be 3 and 4 themselves
            for old, high in ((to_child, 60), (from_child, 61)):
                os.dup2(old, high, inheritable=False)
            os.dup2(60, 3)
            os.dup2(61, 4)

        self.process = subprocess.Popen(
            [program, "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--no-first-run",
             "--disable-dev-shm-usage", "--disable-background-networking", "--hide-scrollbars", "--font-render-hinting=none",
             f"--user-data-dir={self.profile.name}", "about:blank"],
            preexec_fn=number_pipes, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_child)
        os.close(from_child)
        self.buffer = b""
        self.count = 0
        self.events = []

    def close(self):
        try:
            self.send("Browser.close")
            self.process.wait(10)
        except (OSError, TimeoutError, RuntimeError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        self.profile.cleanup()

    def receive(self, timeout):
        end = time.monotonic() + timeout
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.read_end], [], [], max(0, end - time.monotonic()))
            if not ready:
                return None
            piece = os.read(self.read_end, 1 << 20)
            if not piece:
                raise RuntimeError("the browser is gone")
            self.buffer += piece
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def send(self, method, parameters=None, session=None, timeout=60):
        self.count += 1
        message = {"id": self.count, "method": method, "params": parameters or {}}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.write_end, data):]
        end = time.monotonic() + timeout
        while True:
            answer = self.receive(end - time.monotonic())
            if answer is None:
                raise TimeoutError(f"no answer to {method} in {timeout} s")
            if answer.get("id") == self.count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self.events.append(answer)

    def open(self, file, **options):
        return Page(self, file, **options)


class Page:
    """One page in a window of its own size and colour scheme; everything it complains about is collected."""

    def __init__(self, browser, file, width=1200, height=900, dark=False, phone=False):
        self.browser = browser
        target = browser.send("Target.createTarget", {"url": "about:blank"})["targetId"]
        self.target = target
        self.session = browser.send("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.send("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 2 if phone else 1, "mobile": phone})
        if phone:
            self.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
        self.send("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]})
        browser.events.clear()
        self.requests = []
        self.complaints = []
        self.send("Page.navigate", {"url": pathlib.Path(file).resolve().as_uri()})
        self.wait("document.readyState === 'complete'")
        self.settle()

    def send(self, method, parameters=None, **options):
        return self.browser.send(method, parameters, self.session, **options)

    def settle(self):
        """Lets two frames be drawn, and takes in what the page said until then."""
        self.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")
        for event in self.browser.events:
            if event.get("sessionId") != self.session:
                continue
            parameters = event.get("params", {})
            if event["method"] == "Runtime.exceptionThrown":
                details = parameters["exceptionDetails"]
                self.complaints.append(details.get("exception", {}).get("description", details["text"]))
            elif event["method"] == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
                self.complaints.append(str([argument.get("value") for argument in parameters["args"]]))
            elif event["method"] == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
                self.complaints.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")
            elif event["method"] == "Network.requestWillBeSent":
                self.requests.append(parameters["request"]["url"])
        self.browser.events.clear()

    def evaluate(self, expression):
        result = self.send("Runtime.evaluate", {"expression": expression, "awaitPromise": True, "returnByValue": True})
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            raise RuntimeError(f"{expression}: {details.get('exception', {}).get('description', details['text'])}")
        return result["result"].get("value")

    def wait(self, condition, timeout=30):
        end = time.monotonic() + timeout
        while not self.evaluate(condition):
            if time.monotonic() > end:
                raise TimeoutError(f"{condition} did not become true")
            time.sleep(0.02)

    def place(self, selector, x=0.5, y=0.5):
        """A point of an element, scrolled into view, in the window's coordinates."""
        box = self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); if (!e) return null; e.scrollIntoView({{block: 'center'}});"
            " const b = e.getBoundingClientRect(); return [b.left, b.top, b.width, b.height]; })()")
        if box is None:
            raise RuntimeError(f"there is no {selector} on the page")
        self.settle()
        return {"x": box[0] + x * box[2], "y": box[1] + y * box[3]}

    def hover(self, selector, x=0.5, y=0.5):
        self.send("Input.dispatchMouseEvent", {"type": "mouseMoved", **self.place(selector, x, y)})
        self.settle()

    def click(self, selector, x=0.5, y=0.5):
        point = self.place(selector, x, y)
        self.send("Input.dispatchMouseEvent", {"type": "mouseMoved", **point})
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", {"type": kind, "button": "left", "clickCount": 1, **point})
        self.settle()

    def press(self, key, times=1):
        codes = {"ArrowLeft": 37, "ArrowRight": 39, "Home": 36, "End": 35, "Escape": 27, "Enter": 13, "Tab": 9}
        for _ in range(times):
            details = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
            if key == "Enter":
                details["text"] = "\r"
            self.send("Input.dispatchKeyEvent", {"type": "keyDown", **details})
            self.send("Input.dispatchKeyEvent", {"type": "keyUp", **details})
        self.settle()

    def type(self, text):
        self.send("Input.insertText", {"text": text})
        self.settle()

    def focus(self, selector):
        self.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")
        self.settle()

    def screenshot(self, file, whole=True):
        parameters = {"format": "png", "captureBeyondViewport": whole}
        if whole:
            size = self.send("Page.getLayoutMetrics")["cssContentSize"]
            parameters["clip"] = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 6000), "scale": 1}
        data = self.send("Page.captureScreenshot", parameters)["data"]
        pathlib.Path(file).write_bytes(base64.b64decode(data))

    def close(self):
        self.browser.send("Target.closeTarget", {"targetId": self.target})
