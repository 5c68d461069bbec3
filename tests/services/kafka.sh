#!/usr/bin/env bash
#
# kafka.sh - a throw-away Apache Kafka for tests, in KRaft mode; everything it has lies in DIR.
#
#   kafka.sh start DIR [--brokers 1|3] [--lines N] [--set NAME=VALUE]...
#                                  start, or start again what is not running; --set adds a line to server.properties,
#                                  --lines listeners (below; all three only when DIR is new)
#   kafka.sh stop DIR [N]          stop all brokers, or broker N, cleanly
#   kafka.sh kill DIR [N]          crash: kill -9 of all, or of broker N
#   kafka.sh restart-broker DIR N  start broker N again, stopping it first if it runs
#   kafka.sh env DIR               assignments for eval: KAFKA_BOOTSTRAP_SERVERS, and KAFKA_LINES
#   kafka.sh tool DIR CLASS [ARG]... one of Kafka's own tools with --bootstrap-server set, for example
#                                  org.apache.kafka.tools.TopicCommand --list, or MetadataQuorumCommand describe --status
#   kafka.sh prepare               only fill the cache, which start does when needed
#
# FAST=1         compile Java lightly: half the CPU at the start, less throughput later
# KAFKA_VERSION  4.1.1 unless set
# KAFKA_JARS     a folder with Kafka's jars, instead of the cache
# The cache is ${XDG_CACHE_HOME:-$HOME/.cache}/shelfwire/kafka-VERSION: the jars of kafka-pom.xml from Maven Central, and an
# archive of loaded classes (cds), which makes each start about a third shorter.
#
# Brokers are numbered from 1; each is also a controller. Broker N has DIR/broker-N: server.properties, data, pid, log.
# Lines: a single broker may have further listeners, for clients that a test cuts off. Each listens on a port of its own and
# tells its clients to come to another, where the test puts a forwarder. KAFKA_LINES has them as "PORT:ADVERTISED ...".
# In a VALUE of --set, @PORT@ and @CONTROLLER_PORT@ are the broker's own: listeners=PLAINTEXT://127.0.0.1:@PORT@,... adds one.
# Topics are never made by themselves. With three brokers, killing one leaves a quorum; what happens to a client then takes
# the time it takes in production (broker.session.timeout.ms is left at 9 s, with one broker it is 3 s, so that a start
# after a crash is short).
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$here/lib.sh"

kafka_version=${KAFKA_VERSION:-4.1.1}
cluster_id=c2hlbGZ3aXJlLXRlc3RzIQ

usage() {
    cat >&2 <<'END'
usage: kafka.sh start DIR [--brokers 1|3] [--lines N] [--set NAME=VALUE]... | stop DIR [N] | kill DIR [N]
                restart-broker DIR N | env DIR | tool DIR CLASS [ARG]... | prepare
END
    exit 2
}

find_java() {
    local version

    java=${JAVA_HOME:+$JAVA_HOME/bin/java}
    java=${java:-java}
    version=$("$java" -version 2>&1 | sed -n '1s/.*version "\([0-9]*\).*/\1/p') || true
    [[ -n $version ]] || die "Java was not found: run tests/setup.sh test"
    ((version >= 17)) || die "Kafka $kafka_version needs Java 17 or newer, not $version"
}

# Sets jars, classpath and cds; fetches the jars once. A half-filled cache is never seen: it is filled beside and renamed.
prepare() {
    local cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/shelfwire beside

    find_java
    jars=${KAFKA_JARS:-$cache/kafka-$kafka_version}
    if [[ ! -d $jars ]]; then
        [[ -z ${KAFKA_JARS:-} ]] || die "KAFKA_JARS: there is no folder $jars"
        command -v mvn >/dev/null || die "Maven was not found: run tests/setup.sh test"
        echo "kafka.sh: fetching Apache Kafka $kafka_version, once" >&2
        mkdir -p -- "$cache"
        beside=$(mktemp -d -- "$cache/fetching.XXXXXX")
        # shellcheck disable=SC2064 # the folder's name now, not then
        trap "rm -rf -- '${beside//\'/\'\\\'\'}'" EXIT
        mvn -q -B --strict-checksums -f "$here/kafka-pom.xml" "-Dkafka.version=$kafka_version" \
            dependency:copy-dependencies -DincludeScope=runtime "-DoutputDirectory=$beside/jars" >"$beside/log" 2>&1 ||
            die "Maven could not fetch Kafka: $(grep -m 1 ERROR "$beside/log" || tail -n 1 "$beside/log")"
        mv -T -- "$beside/jars" "$jars" 2>/dev/null || [[ -d $jars ]] || die "could not make $jars"
        rm -rf -- "$beside"
        trap - EXIT
    fi
    # the same order each time: an archive of classes is only used with the class path it was made with
    classpath=$(printf '%s:' "$jars"/*.jar)
    classpath=${classpath%:}
    cds=$jars/classes-$("$java" -Xinternalversion 2>/dev/null | cksum | cut -d ' ' -f 1).jsa
}

# The archive of classes: what a broker had loaded when it had just started, written as it stops. A nicety: without it all
# works, slower. KAFKA_ARCHIVE is only for this: where the broker started below is to write it.
archive_classes() {
    local scratch

    [[ -z ${KAFKA_ARCHIVE:-} && ! -e $cds && -w $jars ]] || return 0
    scratch=$(mktemp -d)
    if KAFKA_ARCHIVE=$scratch/classes.jsa "$here/kafka.sh" start "$scratch/kafka" >/dev/null; then
        "$here/kafka.sh" stop "$scratch/kafka" >/dev/null || true
    fi
    if [[ -s $scratch/classes.jsa ]]; then
        cp -- "$scratch/classes.jsa" "$cds.$$" && mv -- "$cds.$$" "$cds"
    fi
    rm -rf -- "$scratch"
}

# Sets command: Java with what every run of it shares. Arguments: options.
java_command() {
    command=("$java" -XX:+UseSerialGC -Djava.net.preferIPv4Stack=true)
    [[ ! -e $cds ]] || command+=("-XX:SharedArchiveFile=$cds" -Xshare:auto -Xlog:cds=off -Xlog:cds+dynamic=off)
    [[ ${FAST:-0} != 1 ]] || command+=(-XX:TieredStopAtLevel=1)
    command+=("$@" -cp "$classpath")
}

properties() { # properties N BROKERS PORTS... : broker N's server.properties
    local n=$1 brokers=$2 i at voters="" listen="" advertise="" protocols=""
    local -a port=("${@:3}")         # broker N's client port at 2N-2, its controller's behind it; then two a line

    for ((i = 1; i <= brokers; i++)); do
        voters+=,$i@127.0.0.1:${port[2 * i - 1]}
    done
    for ((i = 1; i <= lines; i++)); do
        at=$((2 * (brokers + i) - 2))
        listen+=,LINE$i://127.0.0.1:${port[at]}
        advertise+=,LINE$i://127.0.0.1:${port[at + 1]}
        protocols+=,LINE$i:PLAINTEXT
    done
    cat <<END
process.roles=broker,controller
node.id=$n
controller.quorum.voters=${voters#,}
listeners=PLAINTEXT://127.0.0.1:${port[2 * n - 2]},CONTROLLER://127.0.0.1:${port[2 * n - 1]}$listen
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT$protocols
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs=$dir/broker-$n/data

auto.create.topics.enable=false
num.partitions=10
default.replication.factor=$brokers
min.insync.replicas=$((brokers > 1 ? 2 : 1))
log.retention.hours=720
log.cleaner.dedupe.buffer.size=4194304

offsets.topic.num.partitions=5
offsets.topic.replication.factor=$brokers
transaction.state.log.num.partitions=5
transaction.state.log.replication.factor=$brokers
transaction.state.log.min.isr=$((brokers > 1 ? 2 : 1))
share.coordinator.state.topic.num.partitions=5
share.coordinator.state.topic.replication.factor=$brokers
share.coordinator.state.topic.min.isr=$((brokers > 1 ? 2 : 1))

group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
END
    if ((brokers == 1)); then
        printf '%s\n' broker.session.timeout.ms=3000 broker.heartbeat.interval.ms=500
    fi
    # otherwise each is told as it listens, those of --set too
    ((lines == 0)) || echo "advertised.listeners=PLAINTEXT://127.0.0.1:${port[2 * n - 2]}$advertise"
    local -a set=("${extra[@]//@PORT@/${port[2 * n - 2]}}")
    ((${#extra[@]} == 0)) || printf '%s\n' "${set[@]//@CONTROLLER_PORT@/${port[2 * n - 1]}}"
}

create() { # create BROKERS
    local brokers=$1 i n bootstrap="" pids=()
    local -a port=() command
    local -A seen=()

    while ((${#port[@]} < 2 * (brokers + lines))); do
        i=$(free_port)
        [[ -n ${seen[$i]:-} ]] || port+=("$i")
        seen[$i]=1
    done
    for ((n = 1; n <= brokers; n++)); do
        rm -rf -- "$dir/broker-$n"
        mkdir -- "$dir/broker-$n"
        properties "$n" "$brokers" "${port[@]}" >"$dir/broker-$n/server.properties"
        java_command -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=warn
        "${command[@]}" kafka.tools.StorageTool format -t "$cluster_id" -c "$dir/broker-$n/server.properties" \
            >"$dir/broker-$n/log" 2>&1 </dev/null &
        pids[n]=$!
        bootstrap+=,127.0.0.1:${port[2 * n - 2]}
    done
    for ((n = 1; n <= brokers; n++)); do
        wait "${pids[n]}" || die "formatting broker $n failed: $(first_error "$dir/broker-$n/log")"
    done
    printf '%s\n' "$brokers" >"$dir/brokers"
    for ((i = 2 * brokers; i < ${#port[@]}; i += 2)); do
        printf '%s:%s\n' "${port[i]}" "${port[i + 1]}"
    done >"$dir/lines"
    printf '%s\n' "${bootstrap#,}" >"$dir/bootstrap"   # the last one: where it is, the cluster is whole
}

# A line to show when something of Java's did not work.
first_error() {
    grep -m 1 -E 'ERROR|FATAL|Exception' -- "$1" || tail -n 1 -- "$1"
}

launch() { # launch N: starts broker N and does not wait for it
    local n=$1 heap=(-Xms256m -Xmx512m) home=$dir/broker-$1
    local -a command

    (($(<"$dir/brokers") == 1)) || heap=(-Xms192m -Xmx384m)
    [[ -z ${KAFKA_ARCHIVE:-} ]] || heap+=("-XX:ArchiveClassesAtExit=$KAFKA_ARCHIVE")
    java_command "${heap[@]}" -XX:+ExitOnOutOfMemoryError -Dorg.slf4j.simpleLogger.defaultLogLevel=info \
        -Dorg.slf4j.simpleLogger.showDateTime=true "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS"
    wc -l <"$home/log" >"$home/logged"
    ( cd "$home" && detached setsid "${command[@]}" kafka.Kafka "$home/server.properties" ) \
        >>"$home/log" 2>&1 </dev/null &
    pid_file_write "$home/pid" $!
}

running() { # running N
    running_pid "$dir/broker-$1/pid" >/dev/null
}

# Waits until every broker that was started is known to itself as to all the others, so that it has its partitions.
await_brokers() {
    local n up deadline=$((SECONDS + ${KAFKA_WAIT_S:-90})) brokers bootstrap listed
    local -a server

    brokers=$(<"$dir/brokers")
    bootstrap=$(<"$dir/bootstrap")
    IFS=, read -ra server <<<"$bootstrap"
    for ((n = 1; n <= brokers; n++)); do
        [[ -e $dir/broker-$n/pid ]] || continue
        while :; do
            running "$n" || die "broker $n ended: $(tail -n "+$(<"$dir/broker-$n/logged")" "$dir/broker-$n/log" |
                grep -m 1 -E 'ERROR|FATAL|Exception' || tail -n 1 "$dir/broker-$n/log")"
            if port_taken "${server[n - 1]##*:}"; then
                listed=$(kcat -b "${server[n - 1]}" -L -m 2 -X log_level=0 2>/dev/null || true)
                for ((up = 1; up <= brokers; up++)); do
                    [[ ! -e $dir/broker-$up/pid || $listed == *"broker $up at "* ]] || break
                done
                ((up <= brokers)) || break
            fi
            ((SECONDS < deadline)) || die "broker $n does not answer; its log is $dir/broker-$n/log"
            sleep 0.1
        done
    done
}

# halt SIGNAL TENTHS N... : signals them all, then waits for each. One that a SIGTERM does not end in time (the last ones
# of three have no quorum left to say good-bye to) is killed.
halt() {
    local signal=$1 tenths=$2 n pid brokers up=0
    local -A stopping=()

    brokers=$(<"$dir/brokers")
    for ((n = 1; n <= brokers; n++)); do
        if running "$n"; then
            up=$((up + 1))
        fi
    done
    if ((2 * up < brokers && tenths > 50)); then
        tenths=50                    # there is no quorum to say good-bye to already
    fi
    for n in "${@:3}"; do
        if pid=$(running_pid "$dir/broker-$n/pid"); then
            stopping[$n]="$pid $(process_start "$pid" || true)"
            kill "-$signal" "$pid"
        fi
    done
    for n in "${!stopping[@]}"; do
        pid=${stopping[$n]% *}
        if ! await_gone "$pid" "${stopping[$n]#* }" "$tenths"; then
            kill -KILL "$pid" 2>/dev/null || true
            await_gone "$pid" "${stopping[$n]#* }" 100 || die "broker $n (pid $pid) does not go away"
        fi
    done
    for n in "${@:3}"; do
        rm -f -- "$dir/broker-$n/pid"
    done
    halted=${#stopping[@]}
}

start() { # start BROKERS, 0 for what is there, or else one
    local brokers=$1 n count=0 t0=$EPOCHREALTIME

    if [[ ! -e $dir/bootstrap ]]; then
        create "$((brokers ? brokers : 1))"
    elif ((brokers != 0 && brokers != $(<"$dir/brokers") || lines > 0 || ${#extra[@]} > 0)); then
        die "$dir has $(<"$dir/brokers") broker(s) already; --brokers, --lines and --set are for a new folder"
    fi
    for ((n = 1; n <= $(<"$dir/brokers"); n++)); do
        if ! running "$n"; then
            launch "$n"
            count=$((count + 1))
        fi
    done
    await_brokers
    if ((count == 0)); then
        echo "kafka.sh: runs already on $(<"$dir/bootstrap")"
    else
        echo "kafka.sh: Apache Kafka $kafka_version on $(<"$dir/bootstrap"), $(elapsed "$t0") s"
    fi
}

which_brokers() { # which_brokers [N]: sets chosen
    local brokers

    [[ -e $dir/bootstrap ]] || die "nothing was started in $dir"
    brokers=$(<"$dir/brokers")
    if (($# == 0)); then
        mapfile -t chosen < <(seq "$brokers")
    else
        if ! [[ $1 =~ ^[1-9]$ ]] || (($1 > brokers)); then
            die "there is no broker $1, they are numbered 1 to $brokers"
        fi
        chosen=("$1")
    fi
}

end() { # end WORD SIGNAL TENTHS [N]
    which_brokers "${@:4}"
    halt "$2" "$3" "${chosen[@]}"
    if ((halted == 0)); then
        echo "kafka.sh: not running"
    elif (($# > 3)); then
        echo "kafka.sh: $1 broker $4"
    else
        echo "kafka.sh: $1"
    fi
}

restart_broker() { # restart_broker N
    local t0=$EPOCHREALTIME

    which_brokers "$1"
    halt TERM 200 "$1"
    launch "$1"
    await_brokers
    echo "kafka.sh: broker $1 is back, $(elapsed "$t0") s"
}

extra=()
lines=0
action=${1:-}
[[ $action == prepare && $# == 1 || -n ${2:-} ]] || usage
case $action in
    start)
        brokers=0
        target=$2
        shift 2
        while (($# > 0)); do
            case $1 in
                --brokers)
                    [[ ${2:-} == 1 || ${2:-} == 3 ]] || usage
                    brokers=$2
                    ;;
                --lines)
                    [[ ${2:-} =~ ^[1-9][0-9]?$ ]] || usage
                    lines=$2
                    ;;
                --set)
                    [[ ${2:-} == ?*=* ]] || usage
                    extra+=("$2")
                    ;;
                *) usage ;;
            esac
            shift 2
        done
        ((brokers <= 1 || lines == 0)) || usage
        command -v kcat >/dev/null || die "kcat was not found: run tests/setup.sh test"
        dir=$(own_dir "$target" kafka)
        prepare
        archive_classes
        start "$brokers"
        ;;
    stop | kill)
        (($# <= 3)) || usage
        dir=$(check_dir "$2" kafka)
        if [[ $action == stop ]]; then
            end stopped TERM 200 "${@:3}"
        else
            end killed KILL 100 "${@:3}"
        fi
        ;;
    restart-broker)
        (($# == 3)) || usage
        dir=$(check_dir "$2" kafka)
        prepare
        restart_broker "$3"
        ;;
    env)
        (($# == 2)) || usage
        dir=$(check_dir "$2" kafka)
        [[ -e $dir/bootstrap ]] || die "nothing was started in $dir"
        printf 'KAFKA_BOOTSTRAP_SERVERS=%s\nKAFKA_LINES=%q\n' "$(<"$dir/bootstrap")" "$(paste -s -d ' ' "$dir/lines")"
        echo "export KAFKA_BOOTSTRAP_SERVERS KAFKA_LINES"
        ;;
    tool)
        (($# >= 3)) || usage
        dir=$(check_dir "$2" kafka)
        [[ -e $dir/bootstrap ]] || die "nothing was started in $dir"
        prepare
        java_command -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=error
        exec "${command[@]}" "$3" --bootstrap-server "$(<"$dir/bootstrap")" "${@:4}"
        ;;
    prepare)
        prepare
        archive_classes
        echo "kafka.sh: Apache Kafka $kafka_version is in $jars"
        ;;
    *) usage ;;
esac
