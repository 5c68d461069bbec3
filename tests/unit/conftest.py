"""A throw-away PostgreSQL for the tests here, and an empty database of it for each test."""
import itertools
import os
import pathlib
import shlex
import subprocess
import tempfile

import psycopg2
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Cluster:
    def __init__(self, folder):
        self.folder = folder
        self.numbers = itertools.count(1)
        self.start()
        printed = self.script("env")
        self.env = dict(item.split("=", 1) for item in shlex.split(printed) if "=" in item)

    def script(self, verb):
        done = subprocess.run([ROOT / "tests/services/postgres.sh", verb, self.folder], env={**os.environ, "FSYNC": "off"},
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def start(self):
        self.script("start")

    def stop(self):
        self.script("stop")

    def connect(self, name):
        connection = psycopg2.connect(host=self.env["PGHOST"], port=self.env["PGPORT"], user=self.env["PGUSER"],
                                      password=self.env["PGPASSWORD"], dbname=name)
        connection.autocommit = True
        return connection


class Database:
    """An empty database: its environment for programs, and one statement at a time."""

    def __init__(self, cluster, options=""):
        self.name = f"test_{next(cluster.numbers)}"
        admin = cluster.connect(cluster.env["PGDATABASE"])
        admin.cursor().execute(f"CREATE DATABASE {self.name} {options}")
        admin.close()
        self.cluster = cluster
        self.env = {**cluster.env, "PGDATABASE": self.name}
        self.connection = cluster.connect(self.name)

    def rows(self, sql, *values):
        cursor = self.connection.cursor()
        cursor.execute(sql, values or None)
        return cursor.fetchall() if cursor.description else []

    def one(self, sql, *values):
        (row,) = self.rows(sql, *values)
        return row[0]


@pytest.fixture(scope="session")
def cluster():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o711)  # the server's user must reach what lies in it
        made = Cluster(os.path.join(folder, "pg"))
        yield made
        made.stop()


@pytest.fixture
def make_database(cluster):
    made = []

    def make(options=""):
        made.append(Database(cluster, options))
        return made[-1]

    yield make
    for database in made:
        database.connection.close()


@pytest.fixture
def database(make_database):
    return make_database()
