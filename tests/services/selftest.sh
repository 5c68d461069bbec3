#!/usr/bin/env bash
#
# selftest.sh - do the servers that tests run on do what tests expect of them? All of them, or those that are named:
#
#   selftest.sh [postgres] [embedded] [kafka] [kafka3]
#
# Each is started in a scratch folder, used, stopped, killed, started again. Prints a line a check, then
# "N passed, N failed"; exits 1 if one failed. About two minutes for all, on two cores.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
scratch=$(mktemp -d)
chmod go+x "$scratch"                # PostgreSQL's user has to reach its folder
passed=0
failed=0
embedded_pid=""

clean_up() {
    [[ -z $embedded_pid ]] || kill "$embedded_pid" 2>/dev/null || true
    [[ ! -e $scratch/pg ]] || "$here/postgres.sh" stop "$scratch/pg" >/dev/null 2>&1 || true
    [[ ! -e $scratch/kafka ]] || "$here/kafka.sh" kill "$scratch/kafka" >/dev/null 2>&1 || true
    [[ ! -e $scratch/kafka3 ]] || "$here/kafka.sh" kill "$scratch/kafka3" >/dev/null 2>&1 || true
    rm -rf -- "$scratch"
}
trap clean_up EXIT

# check WHAT COMMAND...: passes if the command succeeds; shows its last words if not.
check() {
    local what=$1

    shift
    if "$@" >"$scratch/out" 2>&1; then
        passed=$((passed + 1))
        echo "ok      $what"
    else
        failed=$((failed + 1))
        echo "FAILED  $what: $(tail -n 1 "$scratch/out")"
    fi
}

same() {
    echo "wanted \"$1\", got \"$2\""
    [[ $1 == "$2" ]]
}

exits() { # exits STATUS COMMAND...
    local rc=0

    "${@:2}" || rc=$?
    echo "wanted exit $1, got $rc"
    ((rc == $1))
}

# Messages are numbers; what comes back is compared sorted, since partitions come in any order.
produce() { # produce SERVERS TOPIC FIRST LAST
    seq "$3" "$4" | timeout 60 kcat -P -b "$1" -t "$2" -X acks=all -X linger.ms=20 -X log_level=0 2>/dev/null
}

holds() { # holds SERVERS TOPIC FIRST LAST
    same "$(seq "$3" "$4" | paste -sd ' ')" \
        "$(timeout 60 kcat -C -e -q -b "$1" -t "$2" -o beginning -X log_level=0 2>/dev/null | sort -n | paste -sd ' ')"
}

group_reads() { # group_reads SERVERS TOPIC FIRST LAST: a new member of group "g" reads just these, and commits them
    same "$(seq "$3" "$4" | paste -sd ' ')" \
        "$(timeout 60 kcat -b "$1" -G g -q -c $(($4 - $3 + 1)) -X auto.offset.reset=earliest -X session.timeout.ms=6000 \
            -X fetch.wait.max.ms=20 -X log_level=0 "$2" 2>/dev/null | sort -n | paste -sd ' ')"
}

partitions_of() { # partitions_of SERVERS TOPIC
    kcat -L -b "$1" -t "$2" -m 5 | sed -n "s/.*topic \"$2\" with \([0-9]*\) .*/\1/p"
}

query() {
    psql -XAtq -v ON_ERROR_STOP=1 -c "$1"
}

test_postgres() {
    local port assignments

    check "postgres.sh: no arguments is misuse" exits 2 "$here/postgres.sh"
    check "postgres.sh: a folder with something else in it is refused" exits 1 "$here/postgres.sh" start "$here"
    check "postgres.sh: stop before start says so" exits 1 "$here/postgres.sh" stop "$scratch/nothing"
    check "PostgreSQL starts" "$here/postgres.sh" start "$scratch/pg"
    assignments=$("$here/postgres.sh" env "$scratch/pg")
    eval "$assignments"
    port=$PGPORT
    check "it takes statements on its socket" query "create table t (n int); insert into t values (1)"
    check "and on 127.0.0.1" env PGHOST=127.0.0.1 psql -XAtq -c "insert into t values (2)"
    check "but not with a wrong password" exits 2 env PGHOST=127.0.0.1 PGPASSWORD=wrong psql -XAtq -c "select 1"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=127.0.0.1 -addext \
        subjectAltName=IP:127.0.0.1 -keyout "$scratch/key.pem" -out "$scratch/certificate.pem" 2>/dev/null
    check "it takes a certificate" "$here/postgres.sh" certificate "$scratch/pg" "$scratch/certificate.pem" "$scratch/key.pem"
    check "and shows it" env PGHOST=127.0.0.1 PGSSLMODE=verify-full PGSSLROOTCERT="$scratch/certificate.pem" psql -XAtq -c "select 1"
    check "fsync is on" same on "$(query "show fsync")"
    check "starting it twice does no harm" "$here/postgres.sh" start "$scratch/pg"
    query "insert into t values (3); do 'begin loop end loop; end'" 2>/dev/null &
    sleep 0.5
    check "it is killed while busy" "$here/postgres.sh" kill "$scratch/pg"
    wait $! || true
    check "nobody answers then" exits 2 query "select 1"
    check "it starts again" "$here/postgres.sh" start "$scratch/pg"
    eval "$("$here/postgres.sh" env "$scratch/pg")"
    check "on its old port" same "$port" "$PGPORT"
    check "what was committed is there, and nothing else" same "1,2" "$(query "select string_agg(n::text, ',' order by n) from t")"
    check "it stops" "$here/postgres.sh" stop "$scratch/pg"
    check "FSYNC=off is taken" env FSYNC=off "$here/postgres.sh" start "$scratch/pg"
    check "and shown" same off "$(query "show fsync")"
    check "it stops again" "$here/postgres.sh" stop "$scratch/pg"
    check "a stopped one is no error" "$here/postgres.sh" stop "$scratch/pg"
}

embedded_start() { # embedded_start PORT
    rm -f -- "$scratch/port"
    "$scratch/embedded-broker" --port "$1" --port-file "$scratch/port" --topics a:3,b --topics c:10 \
        --partitions-default 2 >"$scratch/embedded.out" 2>&1 &
    embedded_pid=$!
    for _ in {1..50}; do
        [[ ! -s $scratch/port ]] || return 0
        sleep 0.02
    done
    cat "$scratch/embedded.out"
    return 1
}

embedded_stop() {
    kill "-$1" "$embedded_pid"
    exits 0 wait "$embedded_pid"
}

test_embedded() {
    local server port flags

    read -ra flags <<<"$(pkg-config --cflags --libs rdkafka)"
    check "embedded-broker compiles without a warning" "${CC:-cc}" -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -Wconversion \
        -Werror -o "$scratch/embedded-broker" "$here/embedded-broker.c" "${flags[@]}" -pthread
    check "embedded-broker: a wrong argument is misuse" exits 100 "$scratch/embedded-broker" --port many
    check "embedded-broker: a wrong topic is misuse" exits 100 "$scratch/embedded-broker" --topics "a b"
    check "it takes a free port" embedded_start 0
    port=$(<"$scratch/port")
    check "and stops on SIGINT" embedded_stop INT
    check "it takes the port it is told" embedded_start "$port"
    server=127.0.0.1:$port
    check "and says which" same "embedded-broker: listening on $server" "$(<"$scratch/embedded.out")"
    check "and advertises it" same "$server" "$(kcat -L -b "$server" -m 5 | sed -n 's/.*broker 1 at //p')"
    check "and no other server gets it" exits 111 "$scratch/embedded-broker" --port "$port"
    check "a topic has the partitions it was given" same "3 10" "$(partitions_of "$server" a) $(partitions_of "$server" c)"
    check "or the default" same 2 "$(partitions_of "$server" b)"
    check "it takes messages" produce "$server" a 1 20
    check "and gives them back" holds "$server" a 1 20
    check "a group reads them" group_reads "$server" a 1 20
    check "more come" produce "$server" a 21 25
    check "the group goes on from what it committed" group_reads "$server" a 21 25
    check "it stops on SIGTERM" embedded_stop TERM
    check "and starts on the same port at once" embedded_start "$port"
    check "with nothing remembered" holds "$server" a 1 0
    check "it stops" embedded_stop TERM
    embedded_pid=""
}

test_kafka() {
    local server

    check "kafka.sh: no arguments is misuse" exits 2 "$here/kafka.sh"
    check "kafka.sh: two brokers are misuse" exits 2 "$here/kafka.sh" start "$scratch/kafka" --brokers 2
    check "kafka.sh: stop before start says so" exits 1 "$here/kafka.sh" stop "$scratch/nothing"
    check "Apache Kafka starts" "$here/kafka.sh" start "$scratch/kafka" --set log.retention.hours=700 --set port.again=@PORT@
    eval "$("$here/kafka.sh" env "$scratch/kafka")"
    server=$KAFKA_BOOTSTRAP_SERVERS
    check "--set is taken" grep -qx log.retention.hours=700 "$scratch/kafka/broker-1/server.properties"
    check "and its own port in it" grep -qx "port.again=${server##*:}" "$scratch/kafka/broker-1/server.properties"
    check "no topic comes by itself" exits 1 produce "$server" nobody-made-it 1 1
    check "its own tools work" "$here/kafka.sh" tool "$scratch/kafka" org.apache.kafka.tools.TopicCommand \
        --create --topic t --partitions 4
    check "it takes messages" produce "$server" t 1 20
    check "and gives them back" holds "$server" t 1 20
    check "a group reads them" group_reads "$server" t 1 20
    check "starting it twice does no harm" "$here/kafka.sh" start "$scratch/kafka"
    check "it stops" "$here/kafka.sh" stop "$scratch/kafka"
    check "and starts again" "$here/kafka.sh" start "$scratch/kafka"
    check "with its messages" holds "$server" t 1 20
    check "it takes more" produce "$server" t 21 30
    check "it is killed" "$here/kafka.sh" kill "$scratch/kafka"
    check "nobody answers then" exits 1 kcat -L -b "$server" -m 1
    check "and starts again" "$here/kafka.sh" start "$scratch/kafka"
    check "with all messages" holds "$server" t 1 30
    check "the group goes on from what it committed" group_reads "$server" t 21 30
    check "it stops" "$here/kafka.sh" stop "$scratch/kafka"
    check "a stopped one is no error" "$here/kafka.sh" stop "$scratch/kafka"
}

test_kafka3() {
    local servers

    check "three brokers start" "$here/kafka.sh" start "$scratch/kafka3" --brokers 3
    eval "$("$here/kafka.sh" env "$scratch/kafka3")"
    servers=$KAFKA_BOOTSTRAP_SERVERS
    check "each is on a port of its own" same 3 "$(tr , '\n' <<<"$servers" | sort -u | wc -l)"
    check "a topic is made on all" "$here/kafka.sh" tool "$scratch/kafka3" org.apache.kafka.tools.TopicCommand \
        --create --topic t --partitions 3
    check "they take messages" produce "$servers" t 1 20
    check "one is killed" "$here/kafka.sh" kill "$scratch/kafka3" 2
    check "the others take messages" produce "$servers" t 21 40
    check "and have them all" holds "$servers" t 1 40
    check "a broker 4 is no broker" exits 1 "$here/kafka.sh" kill "$scratch/kafka3" 4
    check "the killed one comes back" "$here/kafka.sh" restart-broker "$scratch/kafka3" 2
    check "another is stopped" "$here/kafka.sh" stop "$scratch/kafka3" 1
    check "messages are taken" produce "$servers" t 41 60
    check "start brings back what is missing" "$here/kafka.sh" start "$scratch/kafka3"
    check "nothing was lost" holds "$servers" t 1 60
    check "they stop" "$here/kafka.sh" stop "$scratch/kafka3"
}

all=(postgres embedded kafka kafka3)
for name in "$@"; do
    if [[ " ${all[*]} " != *" $name "* ]]; then
        echo "usage: selftest.sh [postgres] [embedded] [kafka] [kafka3]" >&2
        exit 2
    fi
done
(($# > 0)) || set -- "${all[@]}"
for name in "$@"; do
    "test_$name"
done
echo "$passed passed, $failed failed"
((failed == 0))
