"""migrate on a throw-away PostgreSQL: what it says, what it leaves, and what it exits with.

SHELFWIRE_BUILD names the directory that holds the program migrate.
"""
import os
import pathlib
import re
import shutil
import socket
import sqlite3
import struct
import subprocess
import threading
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SQL = ROOT / "schemas/sql"
FILES = sorted(path.name for path in SQL.iterdir())
LAST = len(FILES)
PROGRAM = pathlib.Path(os.environ.get("SHELFWIRE_BUILD", ROOT / "build/bin")).resolve() / "migrate"
DONE, MISUSE, FAILED = 0, 100, 111


def start(env, *words):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "SQL_DIR", "MIGRATE_"))}
    return subprocess.Popen([PROGRAM, *words], env={**clean, "SQL_DIR": str(SQL), "MIGRATE_WAIT_SECONDS": "0", **env},
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process):
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def run(env, *words):
    return end(start(env, *words))


@pytest.fixture
def migrated(database):
    code, out, err = run(database.env)
    assert code == DONE, err
    return database


@pytest.fixture
def sql_dir(tmp_path):
    return pathlib.Path(shutil.copytree(SQL, tmp_path / "sql"))


def tables(database):
    return database.one("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")


# ---- migrating ----

def test_fresh_and_again(database):
    code, out, err = run(database.env)
    assert (code, err) == (DONE, "")
    lines = out.splitlines()
    assert [line.split()[:2] for line in lines[:-1]] == [[name, "applied"] for name in FILES]
    assert re.fullmatch(rf"schema {LAST}, {LAST} applied in \d+ ms", lines[-1])
    assert database.rows("SELECT version, name, length(sha256), applied_at <= now() FROM schema_migrations ORDER BY 1") == [
        (n, name, 64, True) for n, name in enumerate(FILES, 1)]
    assert run(database.env) == (DONE, f"schema {LAST}, nothing to do\n", "")


def test_an_older_schema_is_brought_up(database):
    cursor = database.connection.cursor()
    assert run(database.env)[0] == DONE
    # as if only the first file had been there: the second is what is left to do
    cursor.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    cursor.execute((SQL / FILES[0]).read_text())
    cursor.execute("CREATE TABLE schema_migrations (version integer PRIMARY KEY, name text NOT NULL, sha256 text NOT NULL,"
                   " applied_at timestamptz NOT NULL DEFAULT clock_timestamp(), took_ms bigint NOT NULL)")
    cursor.execute("INSERT INTO schema_migrations VALUES (1, %s, encode(sha256(convert_to(%s, 'UTF8')), 'hex'), now(), 1)",
                   (FILES[0], (SQL / FILES[0]).read_text()))
    code, out, err = run(database.env, "--check")
    assert code == MISUSE and f"{FILES[0]} applied" in out and f"{FILES[1]} pending" in out and "run `migrate`" in err
    code, out, err = run(database.env)
    assert code == DONE and f"schema {LAST}, {LAST - 1} applied" in out
    assert FILES[0] not in out


def test_two_at_once(database):
    holder = database.cluster.connect(database.name)
    key = re.search(r'LOCK_KEY "(\d+)"', (ROOT / "ops/migrate.c").read_text())[1]
    holder.cursor().execute(f"SELECT pg_advisory_lock({key})")
    both = [start(database.env), start(database.env)]
    deadline = time.monotonic() + 20
    while database.one("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                       " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())") < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert tables(database) == 0
    holder.close()
    ends = [end(process) for process in both]
    assert [code for code, _, _ in ends] == [DONE, DONE]
    assert sorted(out.splitlines()[-1].split(",")[1].split()[0] for _, out, _ in ends) == sorted([str(LAST), "nothing"])
    assert all("waiting for it" in err for _, _, err in ends)


def test_dry_run_changes_nothing(database):
    code, out, err = run(database.env, "--dry-run")
    assert (code, err) == (DONE, "")
    assert f"schema 0, {LAST} to apply; nothing was changed" in out
    assert tables(database) == 0


def test_check(database):
    code, out, err = run(database.env, "--check")
    assert code == MISUSE and out.splitlines() == [f"{name} pending" for name in FILES] + [f"schema 0 of {LAST}"]
    assert tables(database) == 0
    run(database.env)
    code, out, err = run(database.env, "--check")
    assert (code, err) == (DONE, "") and out.count(" applied ") == LAST


def test_the_checkout_is_found_without_a_setting(database):
    if PROGRAM.parent.parent.parent != ROOT:
        pytest.skip("this build lies outside the checkout")
    assert run({**database.env, "SQL_DIR": ""})[0] == DONE


def test_a_file_that_was_changed_is_refused(migrated, sql_dir):
    (sql_dir / FILES[0]).write_text((sql_dir / FILES[0]).read_text() + "-- one more line\n")
    for words in [(), ("--check",), ("--dry-run",)]:
        code, out, err = run({**migrated.env, "SQL_DIR": str(sql_dir)}, *words)
        assert code == MISUSE and f"{FILES[0]} was changed after it was applied" in err


def change(old, new):
    return lambda folder: (folder / old).rename(folder / new)


# when, what is done to the directory, what is said
DIRECTORIES = [
    ("a gap", change(FILES[-1], f"{LAST + 1:03}_more.sql"), f"want number {LAST:03} before {LAST + 1:03}_more.sql"),
    ("a number twice", lambda d: shutil.copy(d / FILES[0], d / "001_other.sql"), "want number 002 before 001_other.sql"),
    ("no first one", change(FILES[0], "000_engine.sql"), "000_engine.sql"),
    ("another file", lambda d: (d / "notes.txt").write_text("x"), "notes.txt does not belong there"),
    ("an editor's copy", lambda d: (d / (FILES[0] + "~")).write_text("x"), f"{FILES[0]}~ does not belong there"),
    ("two digits", change(FILES[0], "01_engine.sql"), "01_engine.sql does not belong there"),
    ("no name", change(FILES[0], "001.sql"), "001.sql does not belong there"),
    ("one too many", lambda d: (d / f"{LAST + 1:03}_more.sql").write_text("SELECT 1;"), f"schema {LAST + 1}, this program"),
    ("one too few", lambda d: (d / FILES[-1]).unlink(), f"schema {LAST - 1}, this program"),
    ("an empty file", lambda d: (d / FILES[-1]).write_text(""), f"{FILES[-1]}: is empty"),
    ("a zero byte", lambda d: (d / FILES[-1]).write_bytes(b"SELECT 1;\0"), f"{FILES[-1]}: holds a zero byte"),
    ("a directory", lambda d: ((d / FILES[-1]).unlink(), (d / FILES[-1]).mkdir()), f"{FILES[-1]}: cannot read it"),
    ("no directory", shutil.rmtree, "No such file"),
]


@pytest.mark.parametrize("damage, says", [row[1:] for row in DIRECTORIES], ids=[row[0] for row in DIRECTORIES])
def test_a_directory_that_is_not_ours(database, sql_dir, damage, says):
    damage(sql_dir)
    code, out, err = run({**database.env, "SQL_DIR": str(sql_dir)})
    assert (code, out) == (MISUSE, "") and says in err
    assert tables(database) == 0


# when, the last file, what is said
BROKEN = [
    ("a word that is none", "CREATE TABLE half (n int);\n-- ü\nCREATE TABEL x ();\n", "line 3: syntax error at or near \"TABEL\""),
    ("a table that is not there", "CREATE TABLE half (n int);\n\nSELECT *\n  FROM nowhere;\n", "line 4: relation \"nowhere\" does not exist"),
    ("after letters of two bytes", "-- üüüüüüüüüüüüüüüüüüüü\nSELECT 1;\nSELECT nothing;\n", "line 3: column \"nothing\""),
    ("a failure without a place", "CREATE TABLE half (n int);\nCREATE TABLE half (n int);\n", "statement 2: relation \"half\" already exists"),
    ("data to copy", "CREATE TABLE half (n int);\nCOPY half FROM STDIN;\n", "a statement that no migration can hold"),
    ("its own end", "CREATE TABLE half (n int);\nROLLBACK;\n", "ends the transaction it runs in"),
]


@pytest.mark.parametrize("text, says", [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_a_broken_file_leaves_nothing(database, sql_dir, text, says):
    (sql_dir / FILES[-1]).write_text(text)
    code, out, err = run({**database.env, "SQL_DIR": str(sql_dir)})
    assert code == FAILED and f"{FILES[-1]}" in err and says in err
    assert database.one("SELECT to_regclass('half')") is None
    assert database.one("SELECT max(version) FROM schema_migrations") == LAST - 1
    code, out, err = run(database.env)  # with the file mended
    assert code == DONE and f"schema {LAST}, 1 applied" in out


def test_a_newer_database_is_refused(migrated):
    migrated.rows("INSERT INTO schema_migrations (version, name, sha256, took_ms) VALUES (%s, 'next', '', 1)", LAST + 1)
    for words in [(), ("--check",), ("--purge", "1")]:
        code, out, err = run(migrated.env, *words)
        assert code == MISUSE and "upgrade the program" in err


def test_a_row_that_is_missing_is_refused(migrated):
    migrated.rows("DELETE FROM schema_migrations WHERE version = 1")
    code, out, err = run(migrated.env)
    assert code == MISUSE and f"but not {FILES[0]} before it" in err


# ---- the server ----

def test_another_encoding_is_refused(make_database):
    database = make_database("ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    code, out, err = run(database.env)
    assert code == MISUSE and "has the encoding LATIN1" in err


def test_a_wrong_password_ends_at_once(database):
    began = time.monotonic()
    code, out, err = run({**database.env, "PGHOST": "127.0.0.1", "PGPASSWORD": "wr0ng-secret", "MIGRATE_WAIT_SECONDS": "30"})
    assert code == MISUSE and "refuses us" in err and "wr0ng-secret" not in err
    assert time.monotonic() - began < 10


def test_the_right_password(database):
    assert run({**database.env, "PGHOST": "127.0.0.1"})[0] == DONE


def test_no_server():
    with socket.socket() as taken:  # bound and not listening: nobody answers
        taken.bind(("127.0.0.1", 0))
        began = time.monotonic()
        code, out, err = run({"PGHOST": "127.0.0.1", "PGPORT": str(taken.getsockname()[1]), "MIGRATE_WAIT_SECONDS": "1"})
    assert code == FAILED and "PostgreSQL is not there" in err and err.count("waiting up to 1 s") == 1
    assert 1 <= time.monotonic() - began < 10


def old_server(listener):
    """Says of itself that it is PostgreSQL 12.22."""
    with listener.accept()[0] as peer:
        length, = struct.unpack("!I", peer.recv(4, socket.MSG_WAITALL))
        peer.recv(length - 4, socket.MSG_WAITALL)

        def message(kind, body):
            peer.sendall(kind + struct.pack("!I", len(body) + 4) + body)

        message(b"R", struct.pack("!I", 0))
        message(b"S", b"server_version\0" + b"12.22\0")
        message(b"S", b"server_encoding\0UTF8\0")
        message(b"Z", b"I")
        while peer.recv(1024):
            pass


def test_an_old_server_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=old_server, args=(listener,), daemon=True).start()
        code, out, err = run({"PGHOST": "127.0.0.1", "PGPORT": str(listener.getsockname()[1]), "PGUSER": "x",
                              "PGSSLMODE": "disable", "PGGSSENCMODE": "disable"})
    assert (code, err) == (MISUSE, "migrate: PostgreSQL 12.22 is too old: want 13 or newer\n")


def test_it_waits_for_a_server(database):
    database.connection.close()
    database.cluster.stop()
    try:
        process = start({**database.env, "MIGRATE_WAIT_SECONDS": "60"})
        assert "waiting up to 60 s" in process.stderr.readline()
    finally:
        database.cluster.start()
    assert end(process)[0] == DONE


# ---- the command line ----

# when, the words, what is said
WORDS = [
    ("an unknown one", ["--fast"], "unknown argument --fast"),
    ("a file that nobody asked for", ["cache.db"], "unknown argument cache.db"),
    ("taking over nothing", ["--take-over"], "--take-over wants a file"),
    ("an option for a file", ["--take-over", "--even-so"], "--take-over wants a file"),
    ("purging nothing", ["--purge"], "--purge wants a number of days"),
    ("no days", ["--purge", "0"], "want a number of days"),
    ("days below none", ["--purge", "-1"], "want a number of days"),
    ("a word for days", ["--purge", "30d"], "want a number of days"),
    ("two things at once", ["--purge", "30", "--take-over", "x"], "one run each"),
    ("check and another thing", ["--check", "--purge", "30"], "one run each"),
    ("even so, but what", ["--even-so"], "belongs to --take-over"),
]


@pytest.mark.parametrize("words, says", [row[1:] for row in WORDS], ids=[row[0] for row in WORDS])
def test_words_that_are_wrong(words, says):
    code, out, err = run({}, *words)
    assert (code, out) == (MISUSE, "") and says in err and err.count("\n") == 1


def test_help_and_version():
    code, out, err = run({}, "--help")
    assert (code, err) == (DONE, "")
    for word in ["--take-over", "--even-so", "--purge", "--dry-run", "--check", "SQL_DIR", "MIGRATE_WAIT_SECONDS"]:
        assert word in out
    assert f"schema {LAST}" in run({}, "--version")[1]


# ---- taking over ----

def old_file(path, people=(), visits=(), users="primary_id TEXT PRIMARY KEY, barcode, visitor_id",
             appts="appt_id TEXT PRIMARY KEY, prereg_id"):
    connection = sqlite3.connect(path)
    for table, columns, rows in [("users", users, people), ("appts", appts, visits)]:
        if columns:
            connection.execute(f"CREATE TABLE {table} ({columns})")
            for row in rows:
                connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
    connection.commit()
    connection.close()
    return str(path)


# when, users of the file, appts of the file, users afterwards, taken_over afterwards, lines said
TAKEN = [
    ("as it was", [("G00000001", "22820000000001", "v1")], [("cs_1", "p1")],
     [("G00000001", "22820000000001", "v1", "22820000000001", True)], [("cs_1", "p1")],
     ["took over 1 people (0 known already) and 1 bookings (0 known already)",
      "people without a visitor id: 0; bookings without a pre-registration id: 0"]),
    ("nothing in it", [], [], [], [],
     ["took over 0 people (0 known already) and 0 bookings (0 known already)",
      "people without a visitor id: 0; bookings without a pre-registration id: 0"]),
    ("ids that never came", [("G00000001", "2282", None), ("G00000002", None, None)], [("cs_1", None)],
     [("G00000001", "2282", None, None, False), ("G00000002", None, None, None, False)], [("cs_1", None)],
     ["took over 2 people (0 known already) and 1 bookings (0 known already)",
      "people without a visitor id: 2; bookings without a pre-registration id: 1"]),
    ("whole numbers", [(123, 22820000000001, 42)], [(77, 9007199254740993)],
     [("123", "22820000000001", "42", "22820000000001", True)], [("77", "9007199254740993")],
     ["took over 1 people (0 known already) and 1 bookings (0 known already)",
      "people without a visitor id: 0; bookings without a pre-registration id: 0"]),
    ("blanks and small letters", [(" g00000001\t", " 2282 ", "vX ")], [(" cs_aB\n", " pX")],
     [("G00000001", "2282", "vX", "2282", True)], [("cs_aB", "pX")],
     ["took over 1 people (0 known already) and 1 bookings (0 known already)",
      "people without a visitor id: 0; bookings without a pre-registration id: 0"]),
    ("blank is none", [("G00000001", "", " ")], [("cs_1", "  ")],
     [("G00000001", None, None, None, False)], [("cs_1", None)],
     ["took over 1 people (0 known already) and 1 bookings (0 known already)",
      "people without a visitor id: 1; bookings without a pre-registration id: 1"]),
    ("one person twice: the visitor counts", [("G1", "b", None), ("g1", "b", "v1")], [],
     [("G1", "b", "v1", "b", True)], [],
     ["took over 1 people (1 known already) and 0 bookings (0 known already)",
      "people without a visitor id: 1; bookings without a pre-registration id: 0"]),
    ("nobody", [(" ", "b", "v"), (None, "b", "v")], [("", "p")], [], [],
     ["took over 0 people (0 known already) and 0 bookings (0 known already)",
      "people without a visitor id: 0; bookings without a pre-registration id: 0",
      "left out, without an id of their own: 3"]),
    ("quotes and letters of two bytes", [("O'\"\\Ü", "b\x01c", "v")], [],
     [("O'\"\\Ü", "b\x01c", "v", "b\x01c", True)], [],
     ["took over 1 people (0 known already) and 0 bookings (0 known already)",
      "people without a visitor id: 0; bookings without a pre-registration id: 0"]),
]


@pytest.mark.parametrize("people, visits, users, taken, says", [row[1:] for row in TAKEN], ids=[row[0] for row in TAKEN])
def test_take_over(migrated, tmp_path, people, visits, users, taken, says):
    path = old_file(tmp_path / "cache.db", people, visits)
    before = pathlib.Path(path).read_bytes()

    def now_there():
        return (migrated.rows("SELECT primary_id, barcode, visitor_id, visitor_barcode, visitor_at IS NOT NULL FROM users"
                              " ORDER BY 1"),
                migrated.rows("SELECT booking_id, prereg_id FROM taken_over ORDER BY 1"))

    code, out, err = run(migrated.env, "--take-over", path, "--dry-run")
    assert (code, err) == (DONE, "") and out.startswith(says[0].replace("took over", "would take over"))
    assert now_there() == ([], [])

    code, out, err = run(migrated.env, "--take-over", path)
    assert (code, out.splitlines(), err) == (DONE, says, "")
    assert now_there() == (users, taken)
    assert migrated.one("SELECT count(*) FROM users WHERE checked_at IS NOT NULL") == 0

    code, out, err = run(migrated.env, "--take-over", path)
    assert code == DONE and out.startswith("took over 0 people") and " and 0 bookings" in out
    assert now_there() == (users, taken)
    assert pathlib.Path(path).read_bytes() == before


def test_take_over_leaves_what_is_known(migrated, tmp_path):
    migrated.rows("INSERT INTO users (primary_id, barcode, visitor_id, checked_at) VALUES ('G1', 'new', 'v2', now())")
    path = old_file(tmp_path / "cache.db", [("G1", "old", "v1"), ("G2", "b", "v3")])
    code, out, err = run(migrated.env, "--take-over", path)
    assert out.startswith("took over 1 people (1 known already)")
    assert migrated.rows("SELECT barcode, visitor_id FROM users ORDER BY 1") == [("b", "v3"), ("new", "v2")]


def test_take_over_many(migrated, tmp_path):
    path = old_file(tmp_path / "cache.db", [(f"G{n:08}", f"2282{n:010}", f"v{n}") for n in range(2500)],
                    [(f"cs_{n}", f"p{n}") for n in range(2000)])
    code, out, err = run(migrated.env, "--take-over", path)
    assert code == DONE and out.startswith("took over 2500 people (0 known already) and 2000 bookings (0 known already)")
    assert migrated.one("SELECT count(*) FROM users WHERE barcode = '228200' || right(primary_id, 8)") == 2500


def raw(content):
    return lambda path: path.write_bytes(content)


# when, the file, what is said
FILES_NOT_OURS = [
    ("no file", lambda path: None, "unable to open"),
    ("a directory", lambda path: path.mkdir(), "want the SQLite file"),
    ("another format", raw(b"primary_id,barcode\n" * 100), "file is not a database"),
    ("an empty file", raw(b""), "no such table: users"),
    ("cut short", lambda path: (old_file(path, [(f"G{n}", "b" * 90, "v") for n in range(500)]),
                                path.write_bytes(path.read_bytes()[:5000])), "malformed"),
    ("without users", lambda path: old_file(path, users=None), "no such table: users"),
    ("without appts", lambda path: old_file(path, [("G1", "b", "v")], appts=None), "no such table: appts"),
    ("without a column", lambda path: old_file(path, users="primary_id, barcode"), "no such column: visitor_id"),
    ("letters that are none", lambda path: old_file(path, [(b"G\xff\xfe", "b", "v")]), "invalid byte sequence"),
]


@pytest.mark.parametrize("make, says", [row[1:] for row in FILES_NOT_OURS], ids=[row[0] for row in FILES_NOT_OURS])
def test_a_file_that_is_not_ours(migrated, tmp_path, make, says):
    path = tmp_path / "cache.db"
    make(path)
    code, out, err = run(migrated.env, "--take-over", str(path))
    assert code != DONE and out == "" and says in err and err.count("\n") == 1
    assert migrated.one("SELECT count(*) FROM users") == 0


def test_take_over_wants_the_schema(database, tmp_path):
    path = old_file(tmp_path / "cache.db")
    code, out, err = run(database.env, "--take-over", path)
    assert code == MISUSE and "run `migrate`" in err


def test_take_over_after_the_first_run(migrated, tmp_path):
    path = old_file(tmp_path / "cache.db", [("G1", "b", "v")])
    migrated.rows("INSERT INTO bookings (source, location_id, booking_id, said) VALUES ('webcheckout', '1', '1', '[]')")
    code, out, err = run(migrated.env, "--take-over", path, "--dry-run")
    assert code == DONE, "another source's bookings are none of its business" + err
    migrated.rows("INSERT INTO bookings (source, location_id, booking_id, said) VALUES ('libcal', '1', 'cs_1', '[]')")
    code, out, err = run(migrated.env, "--take-over", path)
    assert code == MISUSE and "--even-so" in err and migrated.one("SELECT count(*) FROM users") == 0
    code, out, err = run(migrated.env, "--take-over", path, "--even-so")
    assert code == DONE and migrated.one("SELECT count(*) FROM users") == 1


# ---- purging ----

def test_purge(migrated):
    for days in (-40, -10, 3):
        migrated.rows("INSERT INTO appts (source, location_id, booking_id, asked_id, destination, starts_at, ends_at)"
                      " VALUES ('libcal', '1', 'cs', 'G1', 'd', now() + %s * interval '1 day', now() + %s * interval '1 day'"
                      " + interval '1 hour')", days, days)
    code, out, err = run(migrated.env, "--purge", "30", "--dry-run")
    assert (code, err) == (DONE, "") and "appts 1\n" in out and migrated.one("SELECT count(*) FROM appts") == 3
    code, out, err = run(migrated.env, "--purge", "30")
    assert (code, err) == (DONE, "") and "appts 1\n" in out and "users 0\n" in out
    assert migrated.one("SELECT count(*) FROM appts") == 2
    assert "appts 0\n" in run(migrated.env, "--purge", "30")[1]


def test_purge_wants_the_schema(database):
    code, out, err = run(database.env, "--purge", "30")
    assert code == MISUSE and "run `migrate`" in err
