"""Certificates of a test's own authorities, made by openssl, and TLS put before what speaks none."""
import dataclasses
import datetime
import os
import pathlib
import signal
import subprocess

from shelfwire import ROOT, wait_for

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")


def openssl(*words, **more):
    done = subprocess.run(["openssl", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    assert done.returncode == 0, done.stdout


def lasts(days):
    """Until then; -1: until yesterday, which openssl 3.4 and newer want said in dates."""
    def date(day):
        return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=day)).strftime("%Y%m%d%H%M%SZ")

    options = subprocess.run(["openssl", "x509", "-help"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout
    if days > 0 or "-not_after" not in options:
        return ("-days", days)
    return ("-not_before", date(days - 1), "-not_after", date(days))


def free_port():
    done = subprocess.run(["bash", "-c", f". '{ROOT}/tests/services/lib.sh' && free_port"], stdout=subprocess.PIPE, check=True)
    return int(done.stdout)


@dataclasses.dataclass
class Certificate:
    certificate: pathlib.Path
    key: pathlib.Path

    @property
    def both(self):
        """In one file, as Kafka and socat want it."""
        file = self.key.with_suffix(".both")
        file.write_text(self.key.read_text() + self.certificate.read_text())
        return file


class Authority:
    def __init__(self, folder, name):
        self.folder, self.name = pathlib.Path(folder), name
        self.key, self.certificate = self.folder / f"{name}.key", self.folder / f"{name}.pem"
        openssl("req", "-x509", *KEY, "-nodes", "-keyout", self.key, "-out", self.certificate, "-days", 2, "-subj", f"/CN={name}")

    def issue(self, name, host="IP:127.0.0.1", days=2, password=None):
        """days: -1 has expired. A password is the key's."""
        it = Certificate(self.folder / f"{self.name}-{name}.pem", self.folder / f"{self.name}-{name}.key")
        secret = ["-passout", "env:KEY_PASSWORD"] if password else ["-nodes"]
        request = it.key.with_suffix(".csr")
        openssl("req", *KEY, *secret, "-keyout", it.key, "-out", request, "-subj", f"/CN={name}",
                "-addext", f"subjectAltName={host}", env={**os.environ, "KEY_PASSWORD": password or ""})
        openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, *lasts(days),
                "-copy_extensions", "copy", "-out", it.certificate)
        return it


class TlsFront:
    """Takes TLS on a port of its own and passes on what is in it."""

    def __init__(self, certificate, to_port):
        self.port = free_port()
        self.process = subprocess.Popen(
            ["socat", f"OPENSSL-LISTEN:{self.port},bind=127.0.0.1,reuseaddr,fork,verify=0,cert={certificate.both}",
             f"TCP:127.0.0.1:{to_port}"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        wait_for(lambda: subprocess.run(["bash", "-c", f": </dev/tcp/127.0.0.1/{self.port}"], stderr=subprocess.DEVNULL,
                                        check=False).returncode == 0, "socat does not listen", 10)

    def stop(self):
        os.killpg(self.process.pid, signal.SIGTERM)  # with those it has forked
        self.process.wait(10)
