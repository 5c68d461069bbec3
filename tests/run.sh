#!/usr/bin/env bash
# Every test: installs what is missing, builds, and runs unit tests, the alerts' own, fuzz targets (a short while), the scenarios
# against PostgreSQL and Apache Kafka, the demo, the Debian package, and Docker Compose where an engine can run; tsan and valgrind,
# samples of the scenarios, when they are named. tests/run.sh [STEP...] runs only the steps named: unit python rules sandbox services
# fuzz scenarios tsan valgrind demo package compose. The exit code says whether all passed.
#   FUZZ_SECONDS  how long each fuzz target runs (5)
#   FUZZ_RUNS     how many executions instead: 10000000 takes hours
#   SAMPLE        which scenarios tsan and valgrind run, as pytest's arguments (a few)
set -euo pipefail
cd "$(dirname "$0")/.."

steps=("$@")
[ ${#steps[@]} -gt 0 ] || steps=(unit python rules sandbox services fuzz scenarios demo package compose)
passed=0
failed=0
logs=$(mktemp -d)
chmod go+x "$logs"
trap 'rm -rf "$logs"' EXIT

tests/setup.sh test

build() { # PRESET [TARGET...]
    cmake --preset "$1" >"$logs/cmake" 2>&1 && cmake --build --preset "$1" ${2:+--target "${@:2}"} >>"$logs/cmake" 2>&1 ||
        { tail -40 "$logs/cmake"; echo "run.sh: the $1 build failed"; exit 1; }
}

# Runs a command, shows the end of what it says, and counts it as one test; 77: it was not run.
one() { # NAME COMMAND...
    local name=$1 since=$SECONDS
    shift
    local status=0
    "$@" >"$logs/out" 2>&1 || status=$?
    if [ $status -eq 0 ]; then
        passed=$((passed + 1))
        printf 'ok    %s (%d s)\n' "$name" $((SECONDS - since))
    elif [ $status -eq 77 ]; then # it says why it cannot be run here
        printf 'skip  %s: %s\n' "$name" "$(tail -1 "$logs/out")"
    else
        failed=$((failed + 1))
        tail -60 "$logs/out"
        printf 'FAIL  %s (%d s)\n' "$name" $((SECONDS - since))
    fi
}

# pytest, counted test by test. What fails is tried once more: these tests wait for states, on machines that others use too;
# what fails twice has failed, and what passed only the second time is named.
pytests() { # NAME PATH...
    local name=$1 since=$SECONDS good=0 bad=0
    shift
    local run=(/usr/bin/python3 -m pytest -q -o "cache_dir=$logs/cache-${name%% *}" --no-header -rf --durations=5)
    # scenarios wait most of their time, each file on servers of its own
    if "${run[@]}" -n 3 --dist loadfile "$@" >"$logs/out" 2>&1; then
        good=$(counted passed)
    else
        good=$(counted passed)
        grep -E '^(FAILED|ERROR) ' "$logs/out" | sed 's/^/again: /' || tail -20 "$logs/out"
        if "${run[@]}" --last-failed --last-failed-no-failures none "$@" >"$logs/out" 2>&1; then
            good=$((good + $(counted passed)))
        else
            good=$((good + $(counted passed)))
            bad=$(counted 'failed|error|errors')
            [ "$bad" -gt 0 ] || bad=1
            tail -150 "$logs/out"
        fi
    fi
    passed=$((passed + good))
    failed=$((failed + bad))
    printf '%s  %s: %d passed, %d failed (%d s)\n' "$([ "$bad" -gt 0 ] && echo FAIL || echo 'ok  ')" "$name" "$good" "$bad" $((SECONDS - since))
}

counted() { # WORD: of pytest's closing line
    tail -1 "$logs/out" | grep -oE "[0-9]+ ($1)\\b" | awk '{n += $1} END {print n + 0}'
}

build release
build asan
export SHELFWIRE_BUILD="$PWD/build-asan/bin"
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1}" UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}"

for step in "${steps[@]}"; do
    case $step in
    unit) for test in build-asan/bin/*_test; do one "$(basename "$test")" "$test"; done ;;
    python) pytests "schemas, migrate, SQL" tests/unit ;;
    rules)
        one "rules: they can be read" promtool check rules ops/prometheus/shelfwire.rules.yml
        one "rules: each alert, told and not told" promtool test rules tests/rules/shelfwire.rules_test.yml
        ;;
    sandbox) one "sandbox" /usr/bin/python3 tests/sandbox/selftest.py build-asan/bin/sandbox ;;
    services) one "services" tests/services/selftest.sh postgres embedded kafka ;;
    fuzz)
        build fuzz
        limits=(-timeout=10 -rss_limit_mb=2048 -artifact_prefix="$logs/")
        enough=(-max_total_time="${FUZZ_SECONDS:-5}")
        [ -z "${FUZZ_RUNS:-}" ] || build fuzz-long
        for target in build-fuzz/bin/*_fuzz; do
            name=$(basename "$target" _fuzz)
            mkdir -p "$logs/corpus/$name"
            if [ -n "${FUZZ_RUNS:-}" ]; then # without the address sanitizer, which then sees what was found
                one "fuzz $name, $FUZZ_RUNS runs" "build-fuzz-long/bin/${name}_fuzz" -runs="$FUZZ_RUNS" "${limits[@]}" \
                    "$logs/corpus/$name" "tests/fuzz/corpus/$name"
                enough=(-runs=0)
            fi
            one "fuzz $name" "$target" "${enough[@]}" "${limits[@]}" "$logs/corpus/$name" "tests/fuzz/corpus/$name"
        done
        ;;
    scenarios) pytests "scenarios on PostgreSQL and Apache Kafka" tests/scenarios ;;
    tsan) # the threads are librdkafka's, and the same in every program; monitor has one of its own
        build tsan migrate sandbox bookings-new users-resolve prereg-create patron-requests monitor
        SHELFWIRE_BUILD="$PWD/build-tsan/bin" SHELFWIRE_PATIENCE=5 pytests "tsan: scenarios" \
            ${SAMPLE:-tests/scenarios/test_pipeline.py tests/scenarios/test_rebalance.py::test_sigterm_finishes_what_is_under_way_and_no_more
            tests/scenarios/test_requests.py::test_many_at_once_go_to_their_topics_and_each_mistake_is_named
            tests/scenarios/test_monitor.py}
        ;;
    valgrind) # what is read before it is written; and what is lost, as of a release build
        memcheck=(valgrind -q --leak-check=full --show-leak-kinds=definite,possible --errors-for-leak-kinds=definite,possible
            --error-exitcode=99 --num-callers=25)
        for test in build/bin/*_test; do one "valgrind $(basename "$test")" "${memcheck[@]}" "$test"; done
        SHELFWIRE_BUILD="$PWD/build/bin" SHELFWIRE_UNDER="${memcheck[*]}" SHELFWIRE_PATIENCE=5 pytests "valgrind: scenarios" \
            ${SAMPLE:-tests/scenarios/test_pipeline.py::test_a_second_delivery_of_everything_changes_nothing
            tests/scenarios/test_requests.py::test_many_at_once_go_to_their_topics_and_each_mistake_is_named}
        ;;
    demo) one "demo" tests/demo.sh ;;
    package) one "package" tests/package.sh ;;
    compose) one "compose" tests/compose.sh ;;
    *) echo "run.sh: no step is called $step: unit python rules sandbox services fuzz scenarios tsan valgrind demo package compose"; exit 100 ;;
    esac
done

printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
