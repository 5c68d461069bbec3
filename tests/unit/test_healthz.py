"""--healthz of any program: what a container's health check hears, of one that is well, that says it is not, and that is stuck."""
import http.server
import os
import pathlib
import socket
import subprocess
import threading

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = pathlib.Path(os.environ.get("SHELFWIRE_BUILD", ROOT / "build/bin")).resolve() / "prereg-create"


def ask(port, **env):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("METRICS_")}
    done = subprocess.run([PROGRAM, "--healthz"], env={**clean, "METRICS_PORT": str(port), **env}, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def answering():
    """Answers every request with the status it is told, and remembers who was asked."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.asked.append(self.path)
            self.send_response(self.server.status)
            self.end_headers()
            self.wfile.write(b"waiting for the gate\n")

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.status = [], 200
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_who_is_well_is_well_without_any_other_setting(answering):
    port = answering.server_address[1]
    assert ask(port) == (0, "", "")
    assert ask(port, METRICS_ADDRESS="0.0.0.0", http_proxy="http://127.0.0.1:9") == (0, "", ""), "the proxy is the vendors'"
    assert answering.asked == ["/healthz", "/healthz"]


def test_who_says_no_is_not(answering):
    answering.status = 503
    code, out, err = ask(answering.server_address[1])
    assert code == 111 and not out and "503" in err


def test_who_is_not_there_or_stuck_is_not():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        code, _, err = ask(port)
        assert code == 111 and "connect" in err, "nobody listens"
        silent.listen()
        code, _, err = ask(port)
        assert code == 111 and "timed out" in err, "somebody does, and never answers"


def test_nobody_to_ask():
    for port in ("", "-1", "0"):
        code, _, err = ask(port)
        assert code == 100 and "METRICS_PORT" in err
