#!/usr/bin/python3
"""worker.py - a stage as a plain Python worker, to be measured beside Shelfwire (../peers.py).

Written as a library's programmer with some care would write it: confluent-kafka, requests, psycopg2; a thread for each
call that may be under way, with a session and a connection of its own; messages with one key go to one thread, so that they
stay in order; an offset is committed only when it and all before it are finished, and finished is what PostgreSQL holds and
Kafka has acknowledged. It keeps no note of a call before it makes one.

  CALL                     createVisitor (users-resolve's work) or createPreReg (prereg-create's)
  FROM, TO, GROUP          topics, TO only for createVisitor; the consumer group
  THREADS                  100; 1: one message at a time, its offset committed before the next
  LOOKS_FIRST              1: what the row says is done is not called for again; 0: the row is only read
  KAFKA_BOOTSTRAP_SERVERS, KAFKA_GROUP_INSTANCE_ID, PG*, PASSAGEPOINT_URL, PASSAGEPOINT_USERNAME, PASSAGEPOINT_PASSWORD
"""

import collections
import json
import os
import queue
import signal
import sys
import threading
import time
import zlib

import confluent_kafka
import psycopg2
import requests

THREADS = int(os.environ.get("THREADS", "100"))
LOOKS_FIRST = os.environ.get("LOOKS_FIRST", "1") == "1"
ROOT = os.environ["PASSAGEPOINT_URL"] + "/pp/api/v2/"
COMMIT_MS = 100  # Shelfwire's own interval
ROOM = 50 * THREADS  # messages in hand: enough that there is work for every thread

local = threading.local()


def say(words):
    print(words, file=sys.stderr, flush=True)


class Token:
    """The gate's token, shared by all threads; one log-in at a time."""

    def __init__(self):
        self.lock, self.value = threading.Lock(), None

    def get(self):
        with self.lock:
            if not self.value:
                answer = local.http.post(ROOT + "auth/login", timeout=20, json={
                    "username": os.environ["PASSAGEPOINT_USERNAME"], "password": os.environ["PASSAGEPOINT_PASSWORD"]})
                answer.raise_for_status()
                self.value = answer.json()["token"]
            return self.value

    def refused(self, value):
        with self.lock:
            if self.value == value:
                self.value = None


token = Token()


def ask(method, path, **more):
    value = token.get()
    answer = local.http.request(method, ROOT + path, headers={"token": value}, timeout=20, **more)
    if answer.status_code == 401:
        token.refused(value)
    return answer


def id_of(answer):
    answer.raise_for_status()
    said = answer.json()
    return str((said["data"] if isinstance(said, dict) else said)[0]["id"])


# ---- the work: users-resolve's, prereg-create's ----

def create_visitor(message):
    with local.db.cursor() as sql:
        sql.execute("SELECT barcode, first_name, last_name, emails[1], visitor_id FROM users WHERE primary_id = %s",
                    (message["primary_id"],))
        barcode, first_name, last_name, email, visitor_id = sql.fetchone()
        if visitor_id and LOOKS_FIRST:
            return
        answer = ask("POST", "person/createVisitor", params={
            "category": "Student", "firstName": first_name, "lastName": last_name, "email": email,
            "mobilePhoneNo": message["primary_id"], "uniqueId": barcode})
        if answer.status_code == 409 and "ALREADY_EXIST" in answer.text:
            answer = ask("GET", "person/byUniqueId", params={"uniqueId": barcode})
        sql.execute("UPDATE users SET visitor_id = %s, visitor_barcode = %s, visitor_at = clock_timestamp()"
                    " WHERE primary_id = %s", (id_of(answer), barcode, message["primary_id"]))


def create_prereg(message):
    with local.db.cursor() as sql:
        sql.execute("SELECT u.visitor_id, u.barcode, extract(epoch FROM p.starts_at)::bigint,"
                    " extract(epoch FROM p.ends_at)::bigint, p.destination, p.prereg_id"
                    " FROM appts p JOIN users u ON u.primary_id = %s WHERE p.appt_id = %s",
                    (message["primary_id"], message["appt_id"]))
        visitor_id, barcode, start, end, destination, prereg_id = sql.fetchone()
        if prereg_id and LOOKS_FIRST:
            return
        answer = ask("POST", "visit/createPreReg", json={
            "startTime": str(start), "endTime": str(end), "visitorId": visitor_id, "destination": destination})
        sql.execute("UPDATE appts SET prereg_id = %s, answer = 'made', answered_at = clock_timestamp(), primary_id = %s,"
                    " visitor_id = %s, barcode = %s WHERE appt_id = %s",
                    (id_of(answer), message["primary_id"], visitor_id, barcode, message["appt_id"]))


WORK = {"createVisitor": create_visitor, "createPreReg": create_prereg}[os.environ["CALL"]]


# ---- offsets ----

class Offsets:
    """Which messages are in hand; stores, for the consumer's next commit, up to the oldest that is not finished."""

    def __init__(self, consumer):
        self.consumer, self.lock, self.count = consumer, threading.Lock(), 0
        self.in_hand = collections.defaultdict(collections.OrderedDict)  # (topic, partition): {offset: finished}

    def take(self, message):
        with self.lock:
            self.in_hand[message.topic(), message.partition()][message.offset()] = False
            self.count += 1

    def finish(self, message):
        with self.lock:
            offsets = self.in_hand[message.topic(), message.partition()]
            offsets[message.offset()] = True
            self.count -= 1
            last = None
            while offsets and next(iter(offsets.values())):
                last, _ = offsets.popitem(last=False)
            if last is not None:
                done = confluent_kafka.TopicPartition(message.topic(), message.partition(), last + 1)
                self.consumer.store_offsets(offsets=[done])


# ---- threads ----

stopping = threading.Event()


class Sent:
    """Whether Kafka has acknowledged one message."""

    def __init__(self):
        self.heard, self.error = threading.Event(), None

    def __call__(self, error, _message):
        self.error = error
        self.heard.set()


def send_on(message, producer):
    sent = Sent()
    producer.produce(os.environ["TO"], key=message.key(), value=message.value(), on_delivery=sent)
    if THREADS == 1:
        producer.flush()
    sent.heard.wait()
    if sent.error:
        raise confluent_kafka.KafkaException(sent.error)


def handle(message, producer):
    """Until it is done: what fails is tried again after a second, as what stands in the way is mostly the vendor."""
    while not stopping.is_set():
        try:
            WORK(json.loads(message.value()))
            if "TO" in os.environ:
                send_on(message, producer)
            return True
        except (requests.RequestException, psycopg2.Error, confluent_kafka.KafkaException, BufferError) as why:
            say(f"{type(why).__name__}, tried again")  # what it says may hold a person's data
            if isinstance(why, psycopg2.Error):
                reconnect()
            stopping.wait(1)
    return False


def reconnect():
    while not stopping.is_set():
        try:
            local.db = psycopg2.connect("")
            local.db.autocommit = True
            return
        except psycopg2.Error:
            stopping.wait(1)


def open_local():
    local.http = requests.Session()
    reconnect()


def serve(messages, offsets, producer):
    open_local()
    while True:
        message = messages.get()
        if message is None:
            return
        if handle(message, producer):
            offsets.finish(message)


def hear_acknowledgements(producer, over):
    while not over.is_set():
        producer.poll(0.1)


def run_threads(consumer, producer):
    offsets, queues = Offsets(consumer), [queue.SimpleQueue() for _ in range(THREADS)]
    threads = [threading.Thread(target=serve, args=(q, offsets, producer)) for q in queues]
    over = threading.Event()
    ears = threading.Thread(target=hear_acknowledgements, args=(producer, over))
    for thread in (*threads, ears):
        thread.start()
    while not stopping.is_set():
        if offsets.count >= ROOM:
            time.sleep(0.01)
            continue
        for message in consumer.consume(100, 0.1):
            if message.error():
                say(f"Kafka: {message.error().str()}")
                continue
            offsets.take(message)
            queues[zlib.crc32(message.key()) % THREADS].put(message)
    for q in queues:
        q.put(None)
    for thread in threads:
        thread.join()
    over.set()
    ears.join()


def run_one(consumer, producer):
    open_local()
    while not stopping.is_set():
        message = consumer.poll(0.1)
        if message is None:
            continue
        if message.error():
            say(f"Kafka: {message.error().str()}")
        elif handle(message, producer):
            consumer.commit(message, asynchronous=False)


def main():
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    servers = os.environ["KAFKA_BOOTSTRAP_SERVERS"]
    producer = confluent_kafka.Producer({"bootstrap.servers": servers, "acks": "all", "enable.idempotence": True,
                                         "partitioner": "murmur2_random"})
    settings = {"bootstrap.servers": servers, "group.id": os.environ["GROUP"], "auto.offset.reset": "earliest",
                "enable.auto.offset.store": False, "enable.auto.commit": THREADS > 1, "auto.commit.interval.ms": COMMIT_MS}
    if "KAFKA_GROUP_INSTANCE_ID" in os.environ:
        settings["group.instance.id"] = os.environ["KAFKA_GROUP_INSTANCE_ID"]
    consumer = confluent_kafka.Consumer(settings)
    consumer.subscribe([os.environ["FROM"]])
    (run_threads if THREADS > 1 else run_one)(consumer, producer)
    consumer.close()


if __name__ == "__main__":
    main()
