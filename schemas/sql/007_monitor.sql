-- What monitor remembers: how far every stage was, the dead letters, which alerts were told, who looked a person up.

-- How far a stage has read its topic, a row a minute: what Kafka itself forgets.
CREATE TABLE lag_history (
    consumer    text        NOT NULL, -- the group and the topic with their prefix, as Kafka knows them
    topic       text        NOT NULL,
    at          timestamptz NOT NULL,
    lag         bigint      NOT NULL, -- messages not finished
    read_offset bigint      NOT NULL, -- committed, and the log's end: sums over the partitions
    end_offset  bigint      NOT NULL,
    oldest_s    integer     NOT NULL, -- how old the oldest unfinished message was; 0: there was none
    workers     integer     NOT NULL, -- that answered
    PRIMARY KEY (consumer, topic, at)
);

-- The dead letters of every topic, as Kafka keeps them, and what was done about each. Read from Kafka in order, each once: the
-- place and the rows are one transaction.
--   open       nobody has dealt with it
--   replaying  to be sent to its topic again, as soon as the rate allows
--   replayed   Kafka has it again
--   discarded  a person said that it is not needed
CREATE TABLE dead_letters (
    dead_letter_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dlq           text        NOT NULL, -- topics with their prefix
    dlq_partition integer     NOT NULL,
    dlq_offset    bigint      NOT NULL,
    topic         text        NOT NULL, -- where it was, and where a replay goes
    at            timestamptz NOT NULL, -- when it was set aside
    code          text        NOT NULL, -- why, in a word
    reason        text        NOT NULL, -- the word and more of them
    key           bytea,
    value         bytea,
    trace_id      text,
    subject       text, -- what its work is known by, where that can be read: an appt_id, a request_id, an ISBN
    state         text        NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'replaying', 'replayed', 'discarded')),
    decided_at    timestamptz,
    decided_by    text,
    why           text,
    UNIQUE (dlq, dlq_partition, dlq_offset)
);
CREATE INDEX dead_letters_open ON dead_letters (at DESC, dead_letter_id DESC) WHERE state = 'open';
CREATE INDEX dead_letters_open_kinds ON dead_letters (topic, code, at DESC, dead_letter_id DESC) WHERE state = 'open';
CREATE INDEX dead_letters_replaying ON dead_letters (decided_at, dead_letter_id) WHERE state = 'replaying';
CREATE INDEX dead_letters_subject ON dead_letters (subject);
CREATE INDEX dead_letters_trace ON dead_letters (trace_id);
CREATE INDEX dead_letters_decided ON dead_letters (decided_at DESC, dead_letter_id DESC) WHERE state <> 'open';

CREATE TABLE dead_letter_reads (
    dlq         text    NOT NULL,
    partition   integer NOT NULL,
    next_offset bigint  NOT NULL,
    PRIMARY KEY (dlq, partition)
);

-- How many are open, of each topic and reason: counted as they come and go, for to count a hundred thousand takes too long for
-- a page that is looked at all day.
CREATE TABLE dead_letter_counts (
    topic text   NOT NULL,
    code  text   NOT NULL,
    n     bigint NOT NULL,
    PRIMARY KEY (topic, code)
);
CREATE FUNCTION dead_letters_count() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO dead_letter_counts AS c (topic, code, n)
        SELECT topic, code, -count(*) FROM olds WHERE state = 'open' GROUP BY topic, code ORDER BY topic, code
        ON CONFLICT (topic, code) DO UPDATE SET n = c.n + excluded.n;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO dead_letter_counts AS c (topic, code, n)
        SELECT topic, code, count(*) FROM news WHERE state = 'open' GROUP BY topic, code ORDER BY topic, code
        ON CONFLICT (topic, code) DO UPDATE SET n = c.n + excluded.n;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER dead_letters_came AFTER INSERT ON dead_letters REFERENCING NEW TABLE AS news
    FOR EACH STATEMENT EXECUTE FUNCTION dead_letters_count();
CREATE TRIGGER dead_letters_changed AFTER UPDATE ON dead_letters REFERENCING OLD TABLE AS olds NEW TABLE AS news
    FOR EACH STATEMENT EXECUTE FUNCTION dead_letters_count();
CREATE TRIGGER dead_letters_went AFTER DELETE ON dead_letters REFERENCING OLD TABLE AS olds
    FOR EACH STATEMENT EXECUTE FUNCTION dead_letters_count();

-- Verbs: one, several, or all that match (NULL matches all). They return how many.
CREATE FUNCTION dead_letters_decide(state_ text, ids bigint[], topic_ text, code_ text, until timestamptz, who text, why_ text)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    n bigint;
BEGIN
    UPDATE dead_letters SET state = state_, decided_at = clock_timestamp(), decided_by = who, why = why_
     WHERE state = 'open' AND (ids IS NULL OR dead_letter_id = ANY (ids)) AND (topic_ IS NULL OR topic = topic_)
       AND (code_ IS NULL OR code = code_) AND (until IS NULL OR at <= until);
    GET DIAGNOSTICS n = ROW_COUNT;
    INSERT INTO attempts (stage, subject, work_id, call, verdict, code, reason)
    SELECT 'desk', subject, subject, CASE state_ WHEN 'discarded' THEN 'discard' ELSE 'replay' END, 'done', state_,
           concat_ws(': ', 'by ' || who, nullif(why_, ''))
      FROM dead_letters
     WHERE ids IS NOT NULL AND dead_letter_id = ANY (ids) AND state = state_ AND decided_by = who AND subject IS NOT NULL;
    RETURN n;
END $$;

-- Alerts, one row while it lasts: told once when it begins and once when it ends.
CREATE TABLE alerts (
    alert_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text        NOT NULL, -- as the README's table and the Prometheus rule call it
    subject    text        NOT NULL, -- a stage, a vendor
    summary    text        NOT NULL,
    since      timestamptz NOT NULL DEFAULT clock_timestamp(),
    told_at    timestamptz,
    ended_at   timestamptz,
    end_told_at timestamptz
);
CREATE UNIQUE INDEX alerts_open ON alerts (name, subject) WHERE ended_at IS NULL;
CREATE INDEX alerts_untold ON alerts (since) WHERE told_at IS NULL OR (ended_at IS NOT NULL AND end_told_at IS NULL);

-- Who looked for a person or a booking, and who changed what, on the page and on the command line.
CREATE TABLE monitor_log (
    at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    who   text        NOT NULL,
    verb  text        NOT NULL, -- timeline, dead letter, export, erase, replay, …
    about text        NOT NULL,
    note  text
);
CREATE INDEX monitor_log_at ON monitor_log (at);

-- purge() of all that is past: the work's own, and what was watched of it.
ALTER FUNCTION purge(integer) RENAME TO purge_work;
CREATE FUNCTION purge_watched(keep_days integer) RETURNS TABLE (what text, deleted bigint) LANGUAGE plpgsql AS $$
DECLARE
    before timestamptz := now() - make_interval(days => keep_days);
    n      bigint;
BEGIN
    DELETE FROM lag_history WHERE at < greatest(before, now() - interval '32 days');
    GET DIAGNOSTICS n = ROW_COUNT; RETURN QUERY SELECT 'lag_history', n;
    DELETE FROM dead_letters WHERE state IN ('replayed', 'discarded') AND decided_at < before; -- open: somebody must still see it
    GET DIAGNOSTICS n = ROW_COUNT; RETURN QUERY SELECT 'dead_letters', n;
    DELETE FROM alerts WHERE ended_at < before;
    GET DIAGNOSTICS n = ROW_COUNT; RETURN QUERY SELECT 'alerts', n;
    DELETE FROM monitor_log WHERE at < before;
    GET DIAGNOSTICS n = ROW_COUNT; RETURN QUERY SELECT 'monitor_log', n;
END $$;
CREATE FUNCTION purge(keep_days integer) RETURNS TABLE (what text, deleted bigint) LANGUAGE sql AS $$
    SELECT * FROM purge_work(keep_days) UNION ALL SELECT * FROM purge_watched(keep_days)
$$;

-- Verb: this person is not to come in: none of the windows that are not made is made. New bookings come to the desk anew.
CREATE INDEX appts_asked ON appts (asked_id);
CREATE FUNCTION appt_refuse(id uuid, who text, note_ text DEFAULT NULL) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    them uuid[];
BEGIN
    WITH said AS (
        UPDATE appts SET answer = 'refused_by_desk', reason = concat_ws(': ', 'refused by ' || who, nullif(note_, '')), retry_at = NULL,
                         answered_at = clock_timestamp()
         WHERE asked_id = (SELECT asked_id FROM appts WHERE appt_id = id) AND wanted AND prereg_id IS NULL AND ends_at > clock_timestamp()
           AND answer IS DISTINCT FROM 'unknown' AND answer IS DISTINCT FROM 'made' AND answer IS DISTINCT FROM 'refused_by_desk'
        RETURNING appt_id)
    SELECT coalesce(array_agg(appt_id), '{}') INTO them FROM said;
    UPDATE desk SET closed_at = clock_timestamp(), closed_by = who, note = nullif(note_, '')
     WHERE kind = 'refused_by_desk' AND subject = ANY (them::text[]) AND closed_at IS NULL;
    INSERT INTO attempts (stage, subject, work_id, call, verdict, code, reason)
    SELECT 'desk', i::text, i::text, 'refuse', 'done', 'refused_by_desk', concat_ws(': ', 'by ' || who, nullif(note_, '')) FROM unnest(them) AS i;
    RETURN cardinality(them);
END $$;

-- Verb, as before, and of those who were refused too.
CREATE OR REPLACE FUNCTION appt_ask_again(id uuid, who text) RETURNS boolean LANGUAGE sql AS $$
    WITH said AS (
        UPDATE appts SET retry_at = clock_timestamp(), answer = nullif(answer, 'refused_by_desk')
         WHERE appt_id = id AND wanted AND prereg_id IS NULL AND answer IS DISTINCT FROM 'unknown'
        RETURNING appt_id, asked_id),
    forgotten AS (DELETE FROM asked_ids a USING said WHERE a.asked_id = said.asked_id),
    noted AS (
        INSERT INTO attempts (stage, subject, work_id, call, verdict, code, reason)
        SELECT 'desk', appt_id::text, appt_id::text, 'ask again', 'done', 'ask_again', 'by ' || who FROM said)
    SELECT count(*) > 0 FROM said;
$$;

-- To find by what a person has at hand.
CREATE INDEX appts_trace ON appts (trace_id);
CREATE INDEX requests_trace ON requests (trace_id);
CREATE INDEX users_barcode ON users (barcode);
CREATE INDEX users_emails ON users USING gin (emails);
