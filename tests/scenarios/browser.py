"""A headless Chromium, spoken to over its DevTools protocol: what a person with a browser sees of a page."""
import itertools
import json
import pathlib
import subprocess
import tempfile

import requests
import websocket
from pypi import installed
from shelfwire import wait_for

AXE = "0.1.0"  # axe-core-python, which brings axe-core's script


def axe_source():
    return next(installed("axe-core-python", AXE).glob("lib/python3*/site-packages/axe_core_python/axe.min.js")).read_text()


class Browser:
    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="browser-")
        self.process = subprocess.Popen(
            ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-port=0", "--remote-allow-origins=*",
             "--disable-background-networking", "--no-first-run", f"--user-data-dir={self.folder.name}", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port_file = pathlib.Path(self.folder.name) / "DevToolsActivePort"
        port = wait_for(lambda: port_file.exists() and port_file.read_text().split("\n")[0], "Chromium does not start", 60)
        page = wait_for(lambda: [t for t in requests.get(f"http://127.0.0.1:{port}/json", timeout=10).json() if t["type"] == "page"], "no page", 30)[0]
        self.socket = websocket.create_connection(page["webSocketDebuggerUrl"], timeout=60)
        self.numbers, self.events = itertools.count(1), []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            said = json.loads(self.socket.recv())
            if said.get("id") == number:
                assert "error" not in said, said
                return said["result"]
            self.events.append(said)

    def go(self, url):
        self.events.clear()
        self.call("Page.navigate", url=url)
        wait_for(lambda: self.js("document.readyState") == "complete", f"{url} does not load", 30)

    def js(self, code):
        said = self.call("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in said, said
        return said["result"].get("value")

    def complaints(self):
        """What the browser's console says is wrong; and what was asked for anywhere but here."""
        self.js("1")
        return [e["params"] for e in self.events if e["method"] == "Log.entryAdded" and e["params"]["entry"]["level"] in ("error", "warning")
                or e["method"] == "Runtime.exceptionThrown"
                or e["method"] == "Network.requestWillBeSent" and not e["params"]["request"]["url"].startswith(("http://127.0.0.1:", "about:", "data:"))]

    def look(self, width=1400, height=1000, dark=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def key(self, name, code):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code)

    def axe(self, source):
        """What axe-core finds wrong, a line each."""
        self.js(source + "; 1")
        found = self.js("axe.run(document, {resultTypes: ['violations']}).then(r => r.violations.map(v =>"
                        " v.id + ': ' + v.help + ': ' + v.nodes.slice(0, 3).map(n => n.html.slice(0, 160)).join(' | ')))")
        return found

    def close(self):
        self.socket.close()
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()
