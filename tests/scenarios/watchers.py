"""Those who look at our groups from outside, as a Kafka operator does: Burrow and kcat."""
import io
import json
import re
import socket
import socketserver
import struct
import subprocess
import threading
import urllib.request

from shelfwire import wait_for

BURROW = """
[general]
pidfile="{folder}/burrow.pid"
stdout-logfile="{folder}/burrow.out"
[logging]
filename="{folder}/burrow.log"
level="info"
[zookeeper]
servers=["127.0.0.1:{zookeeper}"]
timeout=6
root-path="/burrow"
[client-profile.test]
client-id="burrow"
kafka-version="2.1.0"
[cluster.local]
class-name="kafka"
servers=["{bootstrap}"]
client-profile="test"
topic-refresh=1
offset-refresh=1
[consumer.local]
class-name="kafka"
cluster="local"
servers=["{bootstrap}"]
client-profile="test"
start-latest=false
[httpserver.default]
address="127.0.0.1:{port}"
"""


class ZooKeeper(socketserver.ThreadingTCPServer):
    """
    As much of a ZooKeeper as Burrow asks for: it keeps its notifiers' lock in one, and does not start without. Kafka has none any
    longer. Nodes are names; none of them is ever taken away from under somebody.
    """
    daemon_threads, allow_reuse_address = True, True

    class RequestHandlerClass(socketserver.BaseRequestHandler):
        def read(self):
            (size,) = struct.unpack(">i", self.exactly(4))
            return self.exactly(size)

        def exactly(self, size):
            found = b""
            while len(found) < size:
                piece = self.request.recv(size - len(found))
                if not piece:
                    raise EOFError
                found += piece
            return found

        def write(self, body):
            self.request.sendall(struct.pack(">i", len(body)) + body)

        def handle(self):
            try:
                _, _, timeout = struct.unpack_from(">iqi", self.read())
                self.write(struct.pack(">iiqi", 0, timeout, 1, 16) + bytes(16))
                while True:
                    self.answer(self.read())
            except (EOFError, OSError):
                pass

        def answer(self, asked):
            xid, kind = struct.unpack_from(">ii", asked)
            error, body = self.server.ask(kind, asked[8:])
            self.write(struct.pack(">iqi", xid, self.server.changes, error) + body)

    def __init__(self):
        super().__init__(("127.0.0.1", 0), self.RequestHandlerClass)
        self.nodes, self.changes, self.guard = {"/"}, 1, threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def ask(self, kind, asked):
        CREATE, EXISTS, PING, CHILDREN, CLOSE = 1, 3, 11, 12, -11
        if kind in (PING, CLOSE):
            return 0, b""
        (size,) = struct.unpack_from(">i", asked)
        path = asked[4:4 + size].decode()
        stat = struct.pack(">qqqqiiiqiiq", 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1)
        with self.guard:
            if kind == CREATE:
                (flags,) = struct.unpack_from(">i", asked, len(asked) - 4)
                path += f"{self.changes:010}" if flags & 2 else ""  # a sequence
                if path in self.nodes:
                    return -110, b""
                self.nodes.add(path)
                self.changes += 1
                return 0, struct.pack(">i", len(path)) + path.encode()
            if kind == EXISTS:
                return (0, stat) if path in self.nodes else (-101, b"")
            if kind == CHILDREN:
                names = [n.rpartition("/")[2].encode() for n in self.nodes if n.rpartition("/")[0] == path]
                return 0, struct.pack(">i", len(names)) + b"".join(struct.pack(">i", len(n)) + n for n in names) + stat
        return -6, b""  # not implemented


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Burrow:
    def __init__(self, servers, folder):
        self.folder, self.port, self.zookeeper = folder, free_port(), ZooKeeper()
        (folder / "burrow.toml").write_text(BURROW.format(folder=folder, port=self.port, bootstrap=servers.bootstrap,
                                                          zookeeper=self.zookeeper.server_address[1]))
        with open(folder / "burrow.err", "wb") as log:
            self.process = subprocess.Popen(["Burrow", "-config-dir", folder], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def words(self):
        return "".join(p.read_text(errors="replace")[-3000:] for p in sorted(self.folder.glob("burrow.[elo]*")))

    def lags(self, group, topic):
        """{partition: lag}, as far as it has seen any."""
        assert self.process.poll() is None, f"Burrow ended ({self.process.returncode}): {self.words()}"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v3/kafka/local/consumer/{group}/lag", timeout=10) as answer:
                found = json.load(answer)["status"]
        except OSError:
            return {}  # it is not there yet, or does not know the group yet
        return {p["partition"]: p["current_lag"] for p in found["partitions"] or [] if p["topic"] == topic}

    def groups(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v3/kafka/local/consumer", timeout=10) as answer:
            return json.load(answer)["consumers"]

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.zookeeper.shutdown()
        self.zookeeper.server_close()


def kcat(servers, *arguments):
    done = subprocess.run(["kcat", "-b", servers.bootstrap, *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def kcat_committed(servers):
    """
    {(group, topic, partition): offset}, from the records that Kafka itself keeps. (To ask for the messages behind what is committed
    is not only to look: kcat -o stored commits what it has read.)
    """
    read, found = io.BytesIO(kcat(servers, "-C", "-t", "__consumer_offsets", "-o", "beginning", "-e", "-q", "-f", "%K %k%S %s")), {}

    def sized():
        word = b""
        while not word.endswith(b" "):
            byte = read.read(1)
            if not byte:
                return None
            word += byte
        return read.read(max(int(word), 0))

    def text(key):
        return key.read(struct.unpack(">h", key.read(2))[0]).decode()

    while (key := sized()) is not None:
        value = sized()
        key = io.BytesIO(key)
        if struct.unpack(">h", key.read(2))[0] > 1:
            continue  # who is in a group
        place = text(key), text(key), struct.unpack(">i", key.read(4))[0]
        found[place] = struct.unpack_from(">q", value, 2)[0] if value else 0  # 0: forgotten
    return found


def kcat_lags(servers, group, topic, partitions):
    asked = [word for p in range(partitions) for word in ("-t", f"{topic}:{p}:-1")]
    ends = dict(re.findall(r"\[(\d+)\] offset (\d+)", kcat(servers, "-Q", *asked).decode()))
    committed = kcat_committed(servers)
    return {p: int(ends[str(p)]) - committed.get((group, topic, p), 0) for p in range(partitions)}


def true_lags(messages, finished, partitions):
    """By what was sent and what became of it alone: {partition: messages from the first one on that is not finished}."""
    found = {}
    for p in range(partitions):
        keys = [m.key.decode() for m in messages if m.partition == p]
        first = next((i for i, key in enumerate(keys) if key not in finished), len(keys))
        found[p] = len(keys) - first
    return found


def see_the_same(who, want, timeout=60):
    """who: {name: how to ask}. All say `want` in the end."""
    for name, ask in who.items():
        wait_for(lambda: ask() == want, lambda: f"{name} says {ask()}, and it is {want}", timeout, 0.25)
