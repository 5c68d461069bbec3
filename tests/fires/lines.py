"""A program's own way to PostgreSQL and Kafka, which a test cuts without touching the servers that others use.

Each way is a socat between the program and a server. Killed: connections are reset, and new ones refused. Stopped: a cut
network, in which packets go nowhere and nobody says so.
"""
import contextlib
import os
import random
import shutil
import signal
import socket
import socketserver
import subprocess
import threading
import time

from shelfwire import wait_for


def free_port():
    """Below those that the kernel gives to outgoing connections, so that it is still free after a cut."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)):
                return port


class Forwarder:
    def __init__(self, port, to):
        self.port, self.to, self.process = port, to, None
        self.join()

    def join(self):
        """There is a way, as at first."""
        assert not self.process
        socat = shutil.which("socat")
        assert socat, "socat was not found: run tests/setup.sh test"
        self.process = subprocess.Popen(
            [socat, f"TCP-LISTEN:{self.port},bind=127.0.0.1,reuseaddr,fork,backlog=64", f"TCP:127.0.0.1:{self.to}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)

        def listens():
            assert self.process.poll() is None, f"socat cannot listen on port {self.port}"
            with socket.socket() as s:
                return s.connect_ex(("127.0.0.1", self.port)) == 0
        wait_for(listens, f"socat does not listen on port {self.port}", 10, 0.01)

    def cut(self):
        """Connections are reset and refused."""
        if self.process:
            os.killpg(self.process.pid, signal.SIGKILL)  # the children, one a connection, are of its group
            self.process.wait()
            self.process = None

    def silence(self):
        os.killpg(self.process.pid, signal.SIGSTOP)

    def speak(self):
        os.killpg(self.process.pid, signal.SIGCONT)


class Sluggish(socketserver.ThreadingTCPServer):
    """A way on which each answer takes its time."""

    allow_reuse_address = daemon_threads = True

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            with socket.create_connection(("127.0.0.1", self.server.to)) as behind:
                threading.Thread(target=self.pass_on, args=(self.request, behind, 0), daemon=True).start()
                self.pass_on(behind, self.request, self.server.seconds)

        @staticmethod
        def pass_on(source, target, seconds):
            with contextlib.suppress(OSError):
                while chunk := source.recv(1 << 20):
                    time.sleep(seconds)
                    target.sendall(chunk)
                target.shutdown(socket.SHUT_WR)

    def __init__(self, port, to, seconds):
        super().__init__(("127.0.0.1", port), self.Handler)
        self.to, self.seconds = int(to), seconds
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class Line:
    """The ways of one program: .postgres and .kafka; .env leads it there."""

    def __init__(self, servers, number):
        """number: which of Kafka's lines, from 0 (Servers' `lines`)."""
        pg = servers.postgres.env
        real, advertised = servers.kafka.env["KAFKA_LINES"].split()[number].split(":")
        self.postgres = Forwarder(free_port(), pg["PGPORT"])
        self.kafka = Forwarder(int(advertised), real)
        self.env = {"PGHOST": "127.0.0.1", "PGPORT": str(self.postgres.port),
                    "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{advertised}"}

    def whole(self):
        """Whatever was done to it, it is as at first."""
        for way in (self.postgres, self.kafka):
            if way.process:
                way.speak()
            else:
                way.join()

    def close(self):
        self.postgres.cut()
        self.kafka.cut()
