-- Everything of one person, shown or erased.
--
-- A person is found by Alma's primary id, by an id as a form asked for it, by a card or by an e-mail address. One who asks only
-- for what a service calls them by (FOLIO's id of the user, Wise's number) is found by that.

-- Windows of erased people that are not over: nothing of the person is in them any more, but that they are not wanted, and what
-- the gate made. A message that Kafka still has, or a producer, finds that there is nothing to be done.
ALTER TABLE appts ADD COLUMN erased_at timestamptz;

-- Whatever a program that had the work in hand writes later, nobody comes back into such a row.
CREATE FUNCTION appts_stay_erased() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.wanted := false;
    NEW.asked_id := OLD.asked_id;
    NEW.email := NULL;
    NEW.primary_id := NULL;
    NEW.visitor_id := NULL;
    NEW.barcode := NULL;
    NEW.reason := NULL;
    NEW.trace_id := NULL;
    RETURN NEW;
END $$;
CREATE TRIGGER appts_stay_erased BEFORE UPDATE ON appts FOR EACH ROW
    WHEN (OLD.erased_at IS NOT NULL) EXECUTE FUNCTION appts_stay_erased();

-- Bookings of erased people, which their service will show again at the next poll: what it says of that person is left out. Who
-- that is stands here as a salted hash of the id on the form ('' where there was none), for a booking may have others' rows.
CREATE TABLE erased_bookings (
    erased_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source       text        NOT NULL,
    booking_id   text        NOT NULL,
    salt         bytea       NOT NULL,
    asked_sha256 bytea       NOT NULL,
    until        timestamptz NOT NULL -- a booking that is moved by more than a month is a new one
);
CREATE INDEX erased_bookings_id ON erased_bookings (source, booking_id);

-- The intents of users-resolve had the card for a name.
UPDATE intents SET work_id = encode(sha256(convert_to(work_id, 'UTF8')), 'hex') WHERE stage = 'users-resolve';

-- ---- who it is ----

CREATE TYPE person_found AS (
    people    bigint,     -- how many of `users` it names
    ids       text[],     -- primary ids, ids on forms, cards, e-mails: what rows and messages know the person by
    primaries text[],    -- of these, Alma's primary id
    asked     text[],     -- and ids on forms
    numbers   text[],     -- vendors' numbers of the person
    hashes    text[],     -- names of work at users-resolve
    appts     uuid[],
    requests  uuid[],
    bookings  bookings[],
    subjects  text[]      -- what the desk, the history and the dead letters know it by
);

CREATE FUNCTION person_find(id text) RETURNS person_found LANGUAGE plpgsql STABLE AS $$
DECLARE
    given text := btrim(id);
    cards text[];
    mails text[];
    f     person_found;
BEGIN
    IF coalesce(given, '') = '' THEN
        RAISE EXCEPTION 'want a primary id, an id as it was asked for, a card or an e-mail address';
    END IF;
    f.primaries := ARRAY(
        SELECT primary_id FROM users WHERE given IN (primary_id, barcode, visitor_barcode) OR lower(given) = ANY (emails)
        UNION SELECT primary_id FROM asked_ids WHERE asked_id = given
        UNION SELECT primary_id FROM appts WHERE given IN (asked_id, primary_id, barcode) AND primary_id IS NOT NULL);
    f.people := cardinality(f.primaries);
    IF f.people > 1 THEN -- a shared e-mail address, a card that was handed on: nobody is shown or erased for another
        RAISE EXCEPTION '% people are known by that: ask with the primary id of one', f.people;
    END IF;
    f.asked := ARRAY(
        SELECT unnest(f.primaries) UNION SELECT asked_id FROM asked_ids WHERE primary_id = ANY (f.primaries)
        UNION SELECT asked_id FROM appts WHERE primary_id = ANY (f.primaries)
        UNION SELECT asked_id FROM appts WHERE asked_id = given);
    cards := ARRAY(
        SELECT barcode FROM users WHERE primary_id = ANY (f.primaries) AND barcode IS NOT NULL
        UNION SELECT visitor_barcode FROM users WHERE primary_id = ANY (f.primaries) AND visitor_barcode IS NOT NULL
        UNION SELECT barcode FROM appts WHERE primary_id = ANY (f.primaries) AND barcode IS NOT NULL);
    mails := ARRAY(
        SELECT unnest(emails) FROM users WHERE primary_id = ANY (f.primaries)
        UNION SELECT lower(given) WHERE position('@' IN given) > 0);
    f.ids := ARRAY(SELECT DISTINCT i FROM unnest(f.asked || cards || mails || given) AS i WHERE i <> '' ORDER BY 1);
    f.numbers := ARRAY(
        SELECT visitor_id FROM users WHERE primary_id = ANY (f.primaries) AND visitor_id IS NOT NULL
        UNION SELECT visitor_id FROM appts WHERE primary_id = ANY (f.primaries) AND visitor_id IS NOT NULL
        UNION SELECT unnest(ARRAY[patron_id, user_id]) FROM oneclick_patrons WHERE card = ANY (f.ids));
    f.numbers := array_remove(f.numbers, NULL);
    f.hashes := ARRAY(SELECT encode(sha256(convert_to(i, 'UTF8')), 'hex') FROM unnest(f.ids) AS i);
    -- a window nobody could be found for is of whoever has its e-mail; any other is of whom its id names
    f.appts := ARRAY(
        SELECT appt_id FROM appts a
         WHERE erased_at IS NULL AND (primary_id = ANY (f.primaries) OR barcode = ANY (cards)
            OR primary_id IS NULL AND (asked_id = ANY (f.asked) OR email = ANY (mails) AND (answer = 'unknown_id' OR email = lower(given))
               AND NOT EXISTS (SELECT FROM asked_ids i WHERE i.asked_id = a.asked_id AND i.primary_id <> ALL (f.primaries)))));
    f.bookings := ARRAY(
        SELECT b FROM bookings b
          LEFT JOIN LATERAL (SELECT bool_or(s ->> 'asked_id' = ANY (f.asked)) AS ours, bool_or(s ->> 'asked_id' <> ALL (f.asked)) AS others
                               FROM jsonb_array_elements(CASE jsonb_typeof(b.said) WHEN 'array' THEN b.said ELSE '[]' END) AS s) AS said ON true
         WHERE said.ours OR EXISTS (
               SELECT FROM appts a WHERE a.source = b.source AND a.booking_id = b.booking_id AND a.appt_id = ANY (f.appts))
            OR lower(b.email) = ANY (mails) AND said.others IS NOT TRUE AND NOT EXISTS (
               SELECT FROM appts a WHERE a.source = b.source AND a.booking_id = b.booking_id AND a.appt_id <> ALL (f.appts)
                  AND a.erased_at IS NULL));
    f.requests := ARRAY(SELECT request_id FROM requests WHERE patron = ANY (f.ids));
    f.subjects := ARRAY(
        SELECT unnest(f.appts)::text UNION SELECT unnest(f.requests)::text UNION SELECT booking_id FROM unnest(f.bookings));
    RETURN f;
END $$;

-- Bytes as a text, where they are one; else in base64.
CREATE FUNCTION bytes_as_text(bytes bytea) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN convert_from(bytes, 'UTF8');
EXCEPTION WHEN OTHERS THEN
    RETURN 'base64:' || encode(bytes, 'base64');
END $$;

-- Dead letters of a person: of their work, or with an id of theirs in it.
CREATE FUNCTION person_dead_letters(f person_found) RETURNS SETOF dead_letters LANGUAGE sql STABLE AS $$
    SELECT d.* FROM dead_letters d
     WHERE d.subject = ANY (f.subjects) OR EXISTS (
           SELECT FROM unnest(f.ids) AS i
            WHERE d.key = convert_to(i, 'UTF8') OR position(convert_to('"' || i || '"', 'UTF8') IN d.value) > 0
               OR length(i) > 5 AND (position(convert_to(i, 'UTF8') IN d.value) > 0 OR position(convert_to(i, 'UTF8') IN d.key) > 0))
$$;

-- When Kafka has forgotten every message that there is now: as the producers last saw its topics (infinity: one keeps them without
-- end; NULL: none has looked yet). Dead letters are not counted: their topics keep them until somebody deletes them there.
CREATE FUNCTION kafka_until() RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN bool_or(value::bigint < 0) THEN 'infinity' ELSE now() + make_interval(secs => max(value::bigint / 1000.0)) END
      FROM producer_marks WHERE producer = 'kafka' AND mark LIKE 'keeps %'
$$;

-- Verb: everything of one person. Who was shown it is for the caller to note in monitor_log.
CREATE FUNCTION person_export(id text) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE
    f person_found := person_find(id);
BEGIN
    RETURN jsonb_build_object(
        'known_by', to_jsonb(f.ids),
        'users', (SELECT coalesce(jsonb_agg(to_jsonb(u)), '[]') FROM users u WHERE u.primary_id = ANY (f.primaries)),
        'asked_ids', (SELECT coalesce(jsonb_agg(to_jsonb(i)), '[]') FROM asked_ids i WHERE i.asked_id = ANY (f.asked) OR i.primary_id = ANY (f.primaries)),
        'bookings', (SELECT coalesce(jsonb_agg(to_jsonb(b) ORDER BY b.starts_at), '[]') FROM unnest(f.bookings) AS b),
        'appts', (SELECT coalesce(jsonb_agg(to_jsonb(a) ORDER BY a.starts_at), '[]') FROM appts a WHERE a.appt_id = ANY (f.appts)),
        'requests', (SELECT coalesce(jsonb_agg(to_jsonb(r) ORDER BY r.accepted_at), '[]') FROM requests r WHERE r.request_id = ANY (f.requests)),
        'oneclick_patrons', (SELECT coalesce(jsonb_agg(to_jsonb(p)), '[]') FROM oneclick_patrons p WHERE p.card = ANY (f.ids)),
        'desk', (SELECT coalesce(jsonb_agg(to_jsonb(d) ORDER BY d.desk_id), '[]') FROM desk d WHERE d.subject = ANY (f.subjects)),
        'attempts', (SELECT coalesce(jsonb_agg(to_jsonb(t) ORDER BY t.at), '[]') FROM attempts t WHERE t.subject = ANY (f.subjects)),
        'intents', (SELECT coalesce(jsonb_agg(to_jsonb(i)), '[]') FROM intents i
                     WHERE i.work_id = ANY (f.subjects) OR i.stage = 'users-resolve' AND i.work_id = ANY (f.hashes)),
        'dead_letters', (SELECT coalesce(jsonb_agg(to_jsonb(d) || jsonb_build_object('key', bytes_as_text(d.key), 'value', bytes_as_text(d.value))
                                                   ORDER BY d.at), '[]') FROM person_dead_letters(f) AS d),
        'monitor_log', (SELECT coalesce(jsonb_agg(to_jsonb(l) ORDER BY l.at), '[]') FROM monitor_log l
                         WHERE l.about = ANY (f.ids || f.numbers || f.subjects)),
        'kafka_until', kafka_until());
END $$;

-- ---- erased ----

-- What must not be forgotten with the person: their bookings, for as long as a producer may be shown them again.
CREATE FUNCTION person_mark_bookings(f person_found) RETURNS void LANGUAGE sql AS $$
    WITH of_theirs AS (
        SELECT source, booking_id, asked_id, ends_at FROM appts WHERE appt_id = ANY (f.appts)
        UNION ALL SELECT b.source, b.booking_id, asked.id, coalesce(b.ends_at, now())
          FROM unnest(f.bookings) AS b CROSS JOIN LATERAL (
               SELECT s ->> 'asked_id' AS id FROM jsonb_array_elements(CASE jsonb_typeof(b.said) WHEN 'array' THEN b.said ELSE '[]' END) AS s
                WHERE s ->> 'asked_id' = ANY (f.asked)
               UNION ALL SELECT '') AS asked),
    salted AS (
        SELECT source, booking_id, asked_id, max(ends_at) AS ends_at, uuid_send(gen_random_uuid()) AS salt
          FROM of_theirs GROUP BY source, booking_id, asked_id)
    INSERT INTO erased_bookings (source, booking_id, salt, asked_sha256, until)
    SELECT source, booking_id, salt, sha256(salt || convert_to(asked_id, 'UTF8')), greatest(ends_at, now()) + interval '30 days' FROM salted
$$;

-- Verb: everything of one person is deleted or blanked. It says how much of what; and besides:
--   to be withdrawn          windows ahead that the gate has made, or may have: they are on the desk as `withdraw`, with the
--                            pre-registration's number and no person. Nobody but a person can take them back
--   dead letters in Kafka    that the .dlq topics keep until somebody deletes them there
--   kafka_until              when Kafka has forgotten the rest, in seconds since 1970; NULL: never, or no producer has looked yet
-- Work that is not done ends: windows ahead are no longer wanted, requests are refused ("erased"), and their callers not called.
-- What must not be done twice is still known: such windows keep their rows until they are over, a request its caller's ref (unless
-- an id of the person is in it), and what a service still shows of the person's bookings is left out. So is nothing of what it shows
-- of new ones: who must be forgotten there as well is deleted there first, and at the gate, where the visitor is.
-- A call that is under way would write down what it brings: then nothing is erased, and it says when to ask again.
CREATE FUNCTION person_erase(id text, who_ text) RETURNS TABLE (what text, erased bigint) LANGUAGE plpgsql AS $$
DECLARE
    f       person_found;
    busy    timestamptz;
    settled text[]; -- windows whose withdrawal somebody has dealt with
    whats   text[] := '{}';
    counts  bigint[] := '{}';
    n       bigint;
    m       bigint;
BEGIN
    -- in this order: producers hold the first while they write; bookings-new writes the others, if the window's row lets it
    LOCK TABLE erased_bookings, users, asked_ids IN SHARE ROW EXCLUSIVE MODE;
    f := person_find(id);
    SELECT max(deadline) INTO busy FROM intents
     WHERE state = 'taken' AND deadline > clock_timestamp()
       AND (work_id = ANY (f.subjects) OR stage = 'users-resolve' AND work_id = ANY (f.hashes));
    IF busy IS NOT NULL THEN
        RAISE EXCEPTION 'a call for this person is under way: ask again in % s', ceil(extract(epoch FROM busy - clock_timestamp()))
              USING ERRCODE = 'object_in_use';
    END IF;
    PERFORM person_mark_bookings(f);

    SELECT count(*) INTO n FROM desk WHERE subject = ANY (f.subjects);
    whats := whats || 'desk'::text; counts := counts || n;
    settled := ARRAY(SELECT appt_id::text FROM appts a WHERE appt_id = ANY (f.appts) AND NOT wanted
                        AND NOT EXISTS (SELECT FROM desk d WHERE d.subject = a.appt_id::text AND d.closed_at IS NULL));
    DELETE FROM appts WHERE appt_id = ANY (f.appts) AND ends_at <= clock_timestamp();
    GET DIAGNOSTICS n = ROW_COUNT;
    UPDATE appts SET unwanted_reason = CASE WHEN wanted THEN 'the person was erased' ELSE unwanted_reason END,
                     unwanted_at = coalesce(unwanted_at, clock_timestamp()), wanted = false, asked_id = 'erased', email = NULL,
                     primary_id = NULL, visitor_id = NULL, barcode = NULL, reason = NULL, trace_id = NULL, retry_at = NULL,
                     erased_at = clock_timestamp()
     WHERE appt_id = ANY (f.appts);
    GET DIAGNOSTICS m = ROW_COUNT; whats := whats || 'appts'::text; counts := counts || n + m;
    DELETE FROM desk WHERE subject = ANY (f.subjects) AND NOT (kind = 'withdraw' AND closed_at IS NULL AND subject <> ALL (settled));
    UPDATE desk SET note = NULL WHERE subject = ANY (f.subjects);

    UPDATE attempts SET work_id = subject, reason = NULL, trace_id = NULL WHERE subject = ANY (f.subjects);
    GET DIAGNOSTICS n = ROW_COUNT;
    -- of windows that were deleted before, in the words of an older version
    UPDATE attempts SET work_id = subject, reason = NULL, trace_id = NULL WHERE stage = 'users-resolve' AND work_id = ANY (f.ids || f.hashes);
    GET DIAGNOSTICS m = ROW_COUNT; whats := whats || 'attempts'::text; counts := counts || n + m;
    DELETE FROM intents WHERE stage = 'users-resolve' AND work_id = ANY (f.ids || f.hashes);
    GET DIAGNOSTICS n = ROW_COUNT; whats := whats || 'intents'::text; counts := counts || n;

    UPDATE requests r SET state = CASE WHEN state IN ('accepted', 'waiting', 'set_aside') THEN 'refused' ELSE state END,
           code = CASE WHEN state IN ('accepted', 'waiting', 'set_aside') THEN 'erased' ELSE code END, patron = 'erased', asked = '{}',
           ref = CASE WHEN EXISTS (SELECT FROM unnest(f.ids) AS i WHERE length(i) > 3 AND position(i IN r.ref) > 0) THEN 'erased ' || request_id ELSE ref END,
           known = NULL, words = NULL, outcome = NULL, waits_for = NULL, retry_at = NULL, trace_id = NULL, callback_url = NULL,
           callback_at = NULL, answered_at = coalesce(answered_at, clock_timestamp())
     WHERE request_id = ANY (f.requests);
    GET DIAGNOSTICS n = ROW_COUNT; whats := whats || 'requests'::text; counts := counts || n;
    DELETE FROM desk WHERE subject = ANY (f.requests::text[]);
    DELETE FROM oneclick_patrons WHERE card = ANY (f.ids);
    GET DIAGNOSTICS n = ROW_COUNT; whats := whats || 'oneclick_patrons'::text; counts := counts || n;

    DELETE FROM dead_letters WHERE dead_letter_id IN (SELECT dead_letter_id FROM person_dead_letters(f));
    GET DIAGNOSTICS n = ROW_COUNT; whats := whats || 'dead_letters'::text || 'dead letters in Kafka'::text; counts := counts || n || n;
    UPDATE monitor_log SET about = 'erased', note = NULL
     WHERE about = ANY (f.ids || f.numbers || f.subjects) OR EXISTS (
           SELECT FROM unnest(f.ids) AS i WHERE length(i) > 5 AND (position(i IN note) > 0 OR position(i IN about) > 0));
    GET DIAGNOSTICS n = ROW_COUNT; whats := whats || 'monitor_log'::text; counts := counts || n;

    DELETE FROM bookings b USING unnest(f.bookings) AS t
     WHERE b.source = t.source AND b.location_id = t.location_id AND b.booking_id = t.booking_id;
    GET DIAGNOSTICS n = ROW_COUNT; whats := whats || 'bookings'::text; counts := counts || n;
    DELETE FROM asked_ids i WHERE i.asked_id = ANY (f.asked) OR i.primary_id = ANY (f.primaries);
    GET DIAGNOSTICS n = ROW_COUNT; whats := whats || 'asked_ids'::text; counts := counts || n;
    DELETE FROM users WHERE primary_id = ANY (f.primaries);
    GET DIAGNOSTICS n = ROW_COUNT; whats := whats || 'users'::text; counts := counts || n;

    SELECT count(*) INTO n FROM desk WHERE kind = 'withdraw' AND closed_at IS NULL AND subject = ANY (f.subjects);
    whats := whats || 'to be withdrawn'::text; counts := counts || n;
    INSERT INTO monitor_log (who, verb, about, note)
    SELECT who_, 'erase', 'a person', string_agg(w || ' ' || c, ', ') FROM unnest(whats, counts) AS u(w, c) WHERE c > 0;
    RETURN QUERY SELECT * FROM unnest(whats, counts);
    RETURN QUERY SELECT 'kafka_until', CASE WHEN isfinite(kafka_until()) THEN ceil(extract(epoch FROM kafka_until()))::bigint END;
END $$;

-- purge() of these as well.
CREATE OR REPLACE FUNCTION purge(keep_days integer) RETURNS TABLE (what text, deleted bigint) LANGUAGE sql AS $$
    WITH bookings_ AS (DELETE FROM erased_bookings WHERE until < now() RETURNING 1),
         pauses_ AS (DELETE FROM pauses WHERE ended_at < now() - make_interval(days => keep_days) RETURNING 1)
    SELECT * FROM purge_work(keep_days) UNION ALL SELECT * FROM purge_watched(keep_days)
    UNION ALL SELECT 'erased_bookings', count(*) FROM bookings_ UNION ALL SELECT 'pauses', count(*) FROM pauses_
$$;
