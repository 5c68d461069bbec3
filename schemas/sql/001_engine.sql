-- The stage engine's own tables: who owns a partition, what was meant to be done, what came of it, the vendors' quotas,
-- and the desk: the list of what needs a person.

-- A worker takes the next epoch of a partition when Kafka assigns it. An intent is written only under the epoch that is
-- current, so a worker that lost its partitions without noticing is refused here.
CREATE TABLE partition_owners (
    topic     text        NOT NULL, -- with its prefix, as Kafka knows it
    partition integer     NOT NULL,
    epoch     bigint      NOT NULL,
    owner     text        NOT NULL,
    since     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (topic, partition)
);

-- One row per piece of work that changes something at a vendor, committed before the call.
--   taken     a call is, or may have been, under way: nobody knows until an answer is recorded
--   unsure    a call ended and nobody knows whether the vendor did it: ask, or a person decides
--   released  known not to have been done: may be called again without asking
--   finished  its outcome is recorded in the stage's own table
-- prior_* is what the last taker found, handed back to it by the statement that takes the intent.
CREATE TABLE intents (
    stage       text        NOT NULL,
    work_id     text        NOT NULL,
    state       text        NOT NULL CHECK (state IN ('taken', 'released', 'unsure', 'finished')),
    owner       text        NOT NULL,
    tries       integer     NOT NULL DEFAULT 1,
    deadline    timestamptz NOT NULL, -- by this clock no call of this try can still be under way
    changed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    prior_state text,
    prior_owner text,
    prior_past  boolean, -- the deadline found had passed
    PRIMARY KEY (stage, work_id)
) WITH (fillfactor = 80);

-- The history: every call and what came of it. Append-only; whole months are dropped by purge().
CREATE TABLE attempts (
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    stage       text        NOT NULL,
    subject     text        NOT NULL, -- what a person looks for: an appt_id, later a request id or an ISBN
    work_id     text        NOT NULL,
    call        text        NOT NULL,
    verdict     text        NOT NULL, -- done, later, rejected, dead, unknown, again
    code        text        NOT NULL,
    reason      text,
    http_status smallint,
    duration_ms integer,
    trace_id    text
) PARTITION BY RANGE (at);
CREATE INDEX attempts_subject ON attempts (subject);
CREATE TABLE attempts_rest PARTITION OF attempts DEFAULT;

-- Makes this month's and the next two months' partitions. Whoever migrates or purges calls it.
CREATE FUNCTION attempts_make_partitions() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    month date;
BEGIN
    FOR month IN SELECT date_trunc('month', now() AT TIME ZONE 'UTC')::date + make_interval(months => n) FROM generate_series(0, 2) AS n LOOP
        BEGIN
            EXECUTE format('CREATE TABLE IF NOT EXISTS %I PARTITION OF attempts FOR VALUES FROM (%L) TO (%L)',
                           'attempts_' || to_char(month, 'YYYY_MM'), month::text || ' 00:00:00+00',
                           (month + interval '1 month')::date::text || ' 00:00:00+00');
        EXCEPTION WHEN check_violation THEN
            NULL; -- attempts_rest already holds rows of that month: they stay there, nothing is lost
        END;
    END LOOP;
END $$;
SELECT attempts_make_partitions();

-- A vendor's quota, shared by every worker: paced by the generic cell rate algorithm. `account` is a hash of the key,
-- never the key.
CREATE TABLE quotas (
    vendor       text        NOT NULL,
    account      text        NOT NULL,
    next_at      timestamptz NOT NULL DEFAULT '-infinity',
    paused_until timestamptz NOT NULL DEFAULT '-infinity',
    paused_why   text,
    PRIMARY KEY (vendor, account)
);

-- Leases up to `slots` call slots, spacing_us apart. Returns in how many microseconds the first one begins and how many
-- were given; none while the account is paused or when others have leased the next quarter of a second already
-- (first_in_us then says when to ask again). A slot nobody uses is lost, never saved up.
CREATE FUNCTION quota_lease(v text, a text, spacing_us bigint, slots integer,
                            OUT first_in_us bigint, OUT given integer, OUT paused_us bigint, OUT why text)
LANGUAGE plpgsql AS $$
DECLARE
    q   quotas;
    now timestamptz;
    at  timestamptz;
BEGIN
    INSERT INTO quotas (vendor, account) VALUES (v, a) ON CONFLICT DO NOTHING;
    SELECT * INTO q FROM quotas WHERE vendor = v AND account = a FOR UPDATE;
    now := clock_timestamp();
    paused_us := 0;
    given := 0;
    IF q.paused_until > now THEN
        paused_us := (extract(epoch FROM least(q.paused_until, now + interval '1 day') - now) * 1000000)::bigint;
        first_in_us := paused_us;
        why := q.paused_why;
        RETURN;
    END IF;
    at := greatest(q.next_at, now);
    first_in_us := (extract(epoch FROM at - now) * 1000000)::bigint;
    IF first_in_us > 250000 AND first_in_us > spacing_us THEN
        first_in_us := first_in_us - 200000;
        RETURN;
    END IF;
    given := slots;
    UPDATE quotas SET next_at = at + make_interval(secs => slots * spacing_us / 1000000.0)
     WHERE vendor = v AND account = a;
END $$;

-- Pauses an account for everybody; a longer pause that is in force stays.
CREATE FUNCTION quota_pause(v text, a text, pause_us bigint, reason text) RETURNS void LANGUAGE sql AS $$
    INSERT INTO quotas AS q (vendor, account, paused_until, paused_why)
    VALUES (v, a, clock_timestamp() + make_interval(secs => pause_us / 1000000.0), reason)
    ON CONFLICT (vendor, account) DO UPDATE
       SET paused_until = excluded.paused_until, paused_why = excluded.paused_why
     WHERE q.paused_until < excluded.paused_until;
$$;

-- The desk. One open row per kind and subject; it closes itself when its cause is gone.
CREATE TABLE desk (
    desk_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind      text        NOT NULL,
    subject   text        NOT NULL,
    reason    text        NOT NULL,
    visit_at  timestamptz, -- when it matters: the list is read soonest first
    opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    closed_at timestamptz,
    closed_by text, -- 'shelfwire', or who did it
    note      text
);
CREATE UNIQUE INDEX desk_open ON desk (kind, subject) WHERE closed_at IS NULL;
CREATE INDEX desk_subject ON desk (subject);

CREATE FUNCTION desk_say(kind_ text, subject_ text, reason_ text, visit_at_ timestamptz) RETURNS void LANGUAGE sql AS $$
    INSERT INTO desk AS d (kind, subject, reason, visit_at) VALUES (kind_, subject_, reason_, visit_at_)
    ON CONFLICT (kind, subject) WHERE closed_at IS NULL
    DO UPDATE SET reason = excluded.reason, visit_at = excluded.visit_at
     WHERE (d.reason, d.visit_at) IS DISTINCT FROM (excluded.reason, excluded.visit_at);
$$;

CREATE FUNCTION desk_clear(kind_ text, subject_ text) RETURNS void LANGUAGE sql AS $$
    UPDATE desk SET closed_at = clock_timestamp(), closed_by = 'shelfwire'
     WHERE kind = kind_ AND subject = subject_ AND closed_at IS NULL;
$$;

-- Verb: a person has dealt with it.
CREATE FUNCTION desk_done(desk_id_ bigint, who text, note_ text DEFAULT NULL) RETURNS boolean LANGUAGE sql AS $$
    WITH done AS (
        UPDATE desk SET closed_at = clock_timestamp(), closed_by = who, note = note_
         WHERE desk_id = desk_id_ AND closed_at IS NULL RETURNING 1)
    SELECT count(*) > 0 FROM done;
$$;

-- What a producer remembers between runs.
CREATE TABLE producer_marks (
    producer text        NOT NULL,
    mark     text        NOT NULL,
    value    text        NOT NULL,
    set_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (producer, mark)
);
