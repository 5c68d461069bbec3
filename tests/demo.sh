#!/usr/bin/env bash
# The main jobs, from nothing: LibCal bookings become pre-registrations at the PassagePoint gate; OneClick's catalog becomes rows;
# what patrons ask of FOLIO, Wise and OneClick is done once, though an answer is lost.
#
#   tests/demo.sh          builds, starts PostgreSQL, the embedded broker, the sandbox of vendors and the programs, books a
#                          few rooms, tells what became of each, and ends
#   tests/demo.sh --keep   leaves everything running and prints the addresses
#
# Needs Debian 12 or newer and git; what is missing is installed with apt, as root or by sudo. It touches nothing outside
# its own folder in the temporary directory and the build folder.
set -euo pipefail
set +m
cd "$(dirname "$0")/.."

keep=no
case "${1:-}" in
'') ;;
--keep) keep=yes ;;
*) echo "usage: tests/demo.sh [--keep]" >&2; exit 100 ;;
esac

tests/setup.sh build
echo "Building …"
built=$(mktemp)
{ cmake --preset demo && cmake --build --preset demo; } >"$built" 2>&1 || { tail -30 "$built"; echo "demo.sh: the build failed" >&2; exit 111; }
rm -f "$built"
bin=$PWD/build/bin
began=$SECONDS

dir=$(mktemp -d "${TMPDIR:-/tmp}/shelfwire-demo.XXXXXX")
chmod go+x "$dir"
declare -A pids=()
programs=(libcal-bookings bookings-new users-resolve prereg-create oneclick-catalog catalog-delta
    patron-requests folio-requests wise-holds-prepare wise-holds-place oneclick-requests monitor)

finish() {
    local status=$?

    if [ "$keep" = yes ] && [ $status -eq 0 ]; then return; fi
    # the programs first, while the broker they say goodbye to is there; who has not gone in 5 s is not waited for
    for name in "${programs[@]}"; do kill "${pids[$name]:-}" 2>/dev/null || true; done
    for _ in $(seq 50); do
        local left=no
        for name in "${programs[@]}"; do
            if [ -n "${pids[$name]:-}" ] && kill -0 "${pids[$name]}" 2>/dev/null; then left=yes; fi
        done
        [ $left = yes ] || break
        sleep 0.1
    done
    { for name in "${!pids[@]}"; do kill -9 "${pids[$name]}" || true; done; wait; } 2>/dev/null || true
    tests/services/postgres.sh stop "$dir/postgres" >/dev/null 2>&1 || true
    if [ $status -ne 0 ]; then
        echo "demo.sh: something went wrong; the ends of the logs:" >&2
        tail -n 5 "$dir"/*.log >&2 || true
    fi
    rm -rf "$dir"
}
trap finish EXIT

start() { # NAME COMMAND...: its log is NAME.log
    local name=$1
    shift
    "$@" >>"$dir/$name.log" 2>&1 &
    pids[$name]=$!
}

until_true() { # WHAT SECONDS COMMAND...: waits for a state
    local what=$1 end=$((SECONDS + $2))
    shift 2
    until "$@" >/dev/null 2>&1; do
        if [ $SECONDS -ge $end ]; then echo "demo.sh: waited in vain for: $what" >&2; exit 111; fi
        sleep 0.1
    done
}

sql() { psql -qAtX -c "$1"; }
holds() { [ "$(sql "$1")" = t ]; }
say() { printf '\n%s\n' "$*"; }

# ---- the servers ----
tests/services/postgres.sh start "$dir/postgres" >"$dir/postgres.log"
eval "$(tests/services/postgres.sh env "$dir/postgres")"
start broker "$bin/embedded-broker" --port-file "$dir/broker.port" \
    --topics "$(for topic in bookings.new users.resolve prereg.create catalog.delta folio.requests wise.holds.prepare wise.holds.place oneclick.requests; do
        printf '%s:4,%s.dlq:1,' $topic $topic
    done | sed 's/,$//')"
start sandbox "$bin/sandbox" --port-file "$dir/sandbox.port"
until_true "the embedded broker and the sandbox" 10 test -s "$dir/broker.port" -a -s "$dir/sandbox.port"
vendors=http://127.0.0.1:$(cat "$dir/sandbox.port")
export KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:$(cat "$dir/broker.port") LOG_FORMAT=text METRICS_PORT=0
export LIBCAL_URL=$vendors LIBCAL_CLIENT_ID=123 LIBCAL_CLIENT_SECRET=sandbox-libcal-secret LIBCAL_LOCATIONS=1234 \
    LIBCAL_ID_QUESTION=q12505 LIBCAL_POLL_SECONDS=1 RESEND_SECONDS=1
export ALMA_URL=$vendors ALMA_API_KEYS=sandbox-alma-key ALMA_CALLS_PER_SECOND=20
export PASSAGEPOINT_URL=$vendors PASSAGEPOINT_USERNAME=sandbox PASSAGEPOINT_PASSWORD=sandbox-pp-password
export PASSAGEPOINT_CATEGORIES='{"UGRD": "Student", "*": "Visitor"}' PASSAGEPOINT_DESTINATIONS='{"1234": "LibCal Gelman"}'
export ONECLICK_URL=$vendors ONECLICK_LIBRARY_ID=1931 ONECLICK_TOKEN=sandbox-oneclick-token ONECLICK_DELTA_SECONDS=1 \
    ONECLICK_AVAILABILITY_SECONDS=1
export FOLIO_URL=$vendors FOLIO_TENANT=diku FOLIO_USERNAME=sandbox FOLIO_PASSWORD=sandbox-folio-password FOLIO_TIMEOUT_MS=2000
export WISE_URL=$vendors WISE_API_ID=sandbox-app WISE_API_KEY=sandbox-wise-key WISE_APPLICATION_NAME=Shelfwire WISE_USERNAME=sandbox \
    WISE_PASSWORD=sandbox-wise-password
SQL_DIR=$PWD/schemas/sql "$bin/migrate" >"$dir/migrate.log"

vendor() { curl -fsS -X "$1" "$vendors/admin/$2" -H 'Content-Type: application/json' --data-binary @- >/dev/null; }

# ---- people and bookings: tomorrow, in New York's winter ----
day=$(TZ=EST5 date -d tomorrow +%Y-%m-%d)
row() { # BOOKID PERSON EMAIL FROM TO STATUS
    printf '{"bookId":"%s","eid":71489,"cid":18578,"lid":1234,"fromDate":"%sT%s:00-05:00","toDate":"%sT%s:00-05:00","firstName":"-","lastName":"-","email":"%s","status":"%s","q12505":"%s"}' \
        "$1" "$day" "$4" "$day" "$5" "$3" "$6" "$2"
}
vendor POST alma/users <<JSON
[{"primary_id":"G00000001","first_name":"Ada","last_name":"Reader","email":"ada@example.edu","barcode":"22820000000001","group":{"value":"UGRD","desc":"Undergraduate"}},
 {"primary_id":"G00000002","first_name":"Ben","last_name":"Borrower","email":"ben@example.edu","barcode":"22820000000002","group":{"value":"FAC","desc":"Faculty"}},
 {"primary_id":"G00000003","first_name":"Cleo","last_name":"Patron","email":"cleo@example.edu","group":{"value":"UGRD","desc":"Undergraduate"},"identifiers":[{"value":"22820000000003","id_type":{"value":"BARCODE"},"status":"INACTIVE"}]},
 {"primary_id":"G00000004","first_name":"Dan","last_name":"Visitor","email":"dan@example.edu","barcode":"22820000000004","group":{"value":"UGRD","desc":"Undergraduate"}},
 {"primary_id":"G00000005","first_name":"Eve","last_name":"Student","email":"eve@example.edu","barcode":"22820000000005","group":{"value":"UGRD","desc":"Undergraduate"}}]
JSON
vendor PUT libcal/bookings <<JSON
[$(row cs_ada00001 G00000001 ada@example.edu 10:00 11:00 Confirmed),
 $(row cs_ben00002 ' g00000002' ben@example.edu 13:00 13:30 'Mediated Approved'),
 $(row cs_ben00002 ' g00000002' ben@example.edu 13:30 14:00 'Mediated Approved'),
 $(row cs_cleo0003 G00000003 cleo@example.edu 09:00 10:00 Confirmed),
 $(row cs_dan00004 G00000004 dan@example.edu 15:00 16:00 Confirmed)]
JSON

echo "Five bookings are made in LibCal for $day; Shelfwire is started: libcal-bookings, bookings-new, users-resolve, prereg-create."
for program in libcal-bookings bookings-new users-resolve; do start $program "$bin/$program"; done
# a name of its own: after a crash it knows at once what was its own
start_prereg() { KAFKA_GROUP_INSTANCE_ID=demo KAFKA_SESSION_TIMEOUT_MS=6000 start prereg-create "$bin/prereg-create"; }
start_prereg

made() { holds "SELECT count(*) = 1 FROM appts WHERE booking_id = '$1' AND prereg_id IS NOT NULL"; }
clock() { # BOOKID: its window, local, and the pre-registration
    sql "SELECT to_char(starts_at + offset_s * interval '1 s', 'HH24:MI') || '-' || to_char(ends_at + offset_s * interval '1 s', 'HH24:MI')
                || coalesce(', pre-registration ' || prereg_id, '') FROM appts WHERE booking_id = '$1'"
}

until_true "Ada's pre-registration" 30 made cs_ada00001
say "cs_ada00001  Ada booked one hour. LibCal → Alma (active card, group UGRD) → gate: visitor, then $(clock cs_ada00001)."
until_true "Ben's pre-registration" 30 made cs_ben00002
say "cs_ben00002  Ben booked two slots that touch, and typed his id with a blank and in lower case: one window, $(clock cs_ben00002)."
until_true "Cleo's answer" 30 holds "SELECT count(*) = 1 FROM desk WHERE kind = 'no_card' AND closed_at IS NULL"
say "cs_cleo0003  Cleo has no active card in Alma. No failure: it is on the desk (\"$(sql "SELECT reason FROM desk WHERE kind = 'no_card'")\")."
until_true "Dan's pre-registration" 30 made cs_dan00004
printf '{"status":"Cancelled by User"}' | vendor PATCH libcal/bookings/cs_dan00004
until_true "Dan's cancellation" 30 holds "SELECT count(*) = 1 FROM desk WHERE kind = 'withdraw' AND closed_at IS NULL"
say "cs_dan00004  Dan was pre-registered, and then cancelled. The gate has no interface to withdraw, so the desk is told:
             \"$(sql "SELECT reason FROM desk WHERE kind = 'withdraw'")\"."

# ---- a crash in mid-call ----
printf '{"vendor":"passagepoint","call":"createPreReg","kind":"stall","effect":true,"count":1}' | vendor POST faults
row cs_eve00005 G00000005 eve@example.edu 17:00 18:00 Confirmed | sed 's/.*/[&]/' | vendor POST libcal/bookings
until_true "Eve's call to be under way" 30 sh -c "curl -fsS $vendors/admin/effects?kind=preregs | grep -q '\"answered\": *false'"
{ kill -9 "${pids[prereg-create]}" && wait "${pids[prereg-create]}"; } 2>/dev/null || true # bash says "Killed" otherwise
start_prereg
until_true "the crash to be noticed" 40 holds "SELECT count(*) = 1 FROM desk WHERE kind = 'unknown' AND closed_at IS NULL"
say "cs_eve00005  Eve's call was under way when prereg-create was killed (kill -9). Restarted, it found the intent in PostgreSQL: the
             gate may have done it, and cannot be asked. It was not sent again; it is on the desk, and counted once at the gate:
             $(curl -fsS "$vendors/admin/counts" | grep -o '"duplicate_preregs": *[0-9]*' | grep -o '[0-9]*$') duplicates."
prereg=$(curl -fsS "$vendors/admin/effects?kind=preregs" | tr '{' '\n' | grep '"answered": *false' | grep -oE '"id": *"?[0-9]+' | grep -oE '[0-9]+$')
sql "SELECT appt_made(appt_id, '$prereg', 'the desk') FROM appts WHERE booking_id = 'cs_eve00005'" >/dev/null
say "             Somebody looked at the gate, found it, and said so (SELECT appt_made(…)): $(clock cs_eve00005)."

say "What happened to cs_ada00001, as monitor tells it (monitor find cs_ada00001):"
"$bin/monitor" find cs_ada00001 2>/dev/null | cut -f 1,2,4,7 | cut -c 12- | sed "s/\t/   /g; s/^/    /"
say "What the desk has to do, soonest visit first:"
psql -X -P border=0 -P footer=off -c "SELECT d.kind, a.booking_id, to_char(visit_at + offset_s * interval '1 s', 'DD Mon HH24:MI') AS visit, left(d.reason, 90) AS reason
    FROM desk d JOIN appts a ON a.appt_id::text = d.subject WHERE closed_at IS NULL ORDER BY visit_at" | sed 's/^/    /'
# ---- the OneClick catalog ----
printf '{"count":2000}' | vendor POST oneclick/generate
start catalog-delta "$bin/catalog-delta"
"$bin/oneclick-catalog" --import >"$dir/import.log" 2>&1
start oneclick-catalog "$bin/oneclick-catalog"
until_true "the catalog" 60 holds "SELECT count(available) = 2000 FROM titles WHERE owned"
say "OneClick's catalog was imported: $(sql "SELECT count(*) FROM titles WHERE owned") titles, $(sql "SELECT count(*) FROM titles WHERE available") of them available, read as a stream."
read -r gone lent <<<"$(sql "SELECT min(isbn) || ' ' || max(isbn) FROM titles WHERE available" | tail -1)"
vendor POST oneclick/titles <<'JSON'
{"isbn":"9781615730186","mediaType":"eAudio","title":"The Wind in the Willows","authors":"Grahame, Kenneth","narrators":"Guskin, Laura Flanagan","language":"English","titleId":14888}
JSON
vendor DELETE "oneclick/titles/$gone" </dev/null
printf '{"isbn":"%s","availability":false}' "$lent" | vendor POST oneclick/availability
until_true "what changed in the catalog" 60 holds "SELECT count(*) = 3 FROM titles WHERE isbn = '9781615730186' AND owned OR isbn = '$gone' AND NOT owned OR isbn = '$lent' AND NOT available"
say "Then one title was added (\"$(sql "SELECT title FROM titles WHERE isbn = '9781615730186'")\", sorted as \"$(sql "SELECT sort_title FROM titles WHERE isbn = '9781615730186'")\"), one was removed (its row stays,
no longer owned) and one was lent out: $(sql "SELECT count(*) FROM titles WHERE words @@ websearch_to_tsquery('simple', 'wind willows grahame') AND owned") row for a search of \"wind willows grahame\", $(sql "SELECT count(*) FROM titles WHERE changed_at > (SELECT max(set_at) FROM producer_marks WHERE mark = 'import arrived') AND (removed_at IS NOT NULL OR isbn IN ('9781615730186', '$lent'))") rows changed since the import."

# ---- what patrons ask for ----
patron=1ec54964-70f0-44cc-bd19-2a892ea0d336 book=32e5757d-6566-466e-b69d-994eb33d2c73 reader=4be868c83ea2f8c03b3e052bb35cf0ff
printf '[{"userId":"%s","itemId":"%s","loanDate":"2026-11-01T10:00:00Z","dueDate":"%sT23:00:00Z"}]' $patron $book "$(date -d '3 days' +%F)" | vendor POST folio/loans
printf '[{"id":"3407533","title":"Het grote boek van waar of niet waar?","placementCost":1.50}]' | vendor POST wise/titles
printf '[{"patronSystemId":"%s"}]' $reader | vendor POST wise/patrons
printf '{"card":"23333000123456","email":"reader@example.edu"}' | vendor POST oneclick/patrons
token=$("$bin/patron-requests" --add-caller discovery | sed -n 's/^token *//p')
for program in folio-requests wise-holds-prepare wise-holds-place oneclick-requests; do start $program "$bin/$program"; done
REQUESTS_PORT=0 start patron-requests "$bin/patron-requests"
until_true "patron-requests" 20 grep -qE 'requests on http' "$dir/patron-requests.log"
door=$(grep -oE 'requests on http://[0-9.:]+' "$dir/patron-requests.log" | grep -oE 'http.*')
ask() { curl -fs --retry 30 --retry-delay 1 --max-time 60 -H "Authorization: Bearer $token" "$door/requests$1" "${@:2}"; }
until_true "patron-requests to be ready" 30 sh -c "curl -s -o /dev/null -w '%{http_code}' -H 'Authorization: Bearer $token' $door/requests?ref=none | grep -q 404"
printf '{"vendor":"folio","call":"renew","kind":"drop_after","count":1}' | vendor POST faults
ask "" -H 'Content-Type: application/json' -d "[
 {\"ref\":\"renewal-1\",\"service\":\"folio\",\"action\":\"renew\",\"patron\":\"$patron\",\"item\":\"$book\"},
 {\"ref\":\"loan-1\",\"service\":\"oneclick\",\"action\":\"checkout\",\"patron\":\"23333000123456\",\"isbn\":\"9781615730186\",\"days\":7},
 {\"ref\":\"loan-2\",\"service\":\"oneclick\",\"action\":\"checkout\",\"patron\":\"23333000123456\",\"isbn\":\"$lent\"},
 {\"ref\":\"hold-1\",\"service\":\"wise\",\"action\":\"hold\",\"patron\":\"$reader\",\"library\":\"I649\",\"title\":\"3407533\",\"branch\":\"6490\",\"cost_max\":2},
 {\"ref\":\"hold-2\",\"service\":\"wise\",\"action\":\"hold\",\"patron\":\"$reader\",\"library\":\"I649\",\"title\":\"3407533\",\"branch\":\"6490\",\"cost_max\":1}]" >/dev/null
answered() { holds "SELECT count(*) = 1 FROM requests WHERE ref = '$1' AND state NOT IN ('accepted', 'waiting')"; }
told() { sql "SELECT state || ', ' || code || $2 FROM requests WHERE ref = '$1'"; } # REF SQL: what of its outcome
for ref in hold-1 hold-2 loan-1 loan-2 renewal-1; do until_true "the answer to $ref" 60 answered $ref; done
say "A discovery layer asked five things for patrons, over HTTP. FOLIO renewed a loan, and its answer was lost: the due date noted before
the call told that it was done ($(told renewal-1 "', due ' || left(outcome->'loan'->>'due', 10)")), and FOLIO was asked once: $(curl -fsS "$vendors/admin/counts" | grep -oE '"renewals": *[0-9]+' | grep -oE '[0-9]+$' | tail -1) renewal.
Wise placed a hold that costs 1.50, as up to 2.00 was agreed to ($(told hold-1 "', cost ' || (outcome->>'cost')")); where only 1.00 was, nothing was
placed, and the caller was asked ($(told hold-2 "', cost ' || (outcome->>'cost')")). OneClick lent the new title ($(told loan-1 "''")); the one that
somebody has borrowed it could not, and offers a hold ($(told loan-2 "', offer ' || (outcome->>'offer')"))."

# ---- the page ----
metrics=$(for program in "${programs[@]}"; do grep -ohE 'metrics and health on http://[0-9.:]+' "$dir/$program.log" 2>/dev/null | tail -1 | sed "s|.*//||" || true; done | paste -sd,)
MONITOR_PORT=0 MONITOR_PROGRAMS=$metrics start monitor "$bin/monitor"
until_true "monitor's page" 20 grep -q 'the page is at' "$dir/monitor.log"
page=$(grep -oE 'the page is at http://[0-9.:]+' "$dir/monitor.log" | grep -oE 'http.*')
waits() { curl -fsS "$page/overview.json" | grep -oE '"lag":[0-9]+' | sort | uniq -c | grep -qE '^ *8 "lag":0$'; }
until_true "monitor to have seen that nothing waits" 60 waits
say "monitor's page ($page) shows eight topics, in none of which anything waits, and $(curl -fsS "$page/overview.json" | grep -oE '"ready":true' | wc -l) programs that are well."

say "Done in $((SECONDS - began)) s after the build: $(sql "SELECT count(*) FROM appts WHERE prereg_id IS NOT NULL") windows made, each once."

if [ "$keep" = yes ]; then
    say "Everything is left running:"
    echo "    PostgreSQL   $(tests/services/postgres.sh env "$dir/postgres" | tr '\n' ' ')"
    echo "    Kafka        KAFKA_BOOTSTRAP_SERVERS=$KAFKA_BOOTSTRAP_SERVERS (embedded: one member a group)"
    echo "    the page     $page"
    echo "    vendors      $vendors (tests/sandbox/README.md)"
    for program in "${programs[@]}"; do
        echo "    $program  $(grep -ohE 'http://[0-9.]+:[0-9]+' "$dir/$program.log" | tail -1)/metrics /readyz, log $dir/$program.log"
    done
    echo "    to end it:   kill ${pids[*]}; tests/services/postgres.sh stop $dir/postgres; rm -rf $dir"
    disown -a
fi
