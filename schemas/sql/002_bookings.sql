-- LibCal bookings on their way to the gate.

-- What LibCal last said of a bookId at a location: all its rows as one set.
CREATE TABLE bookings (
    source      text        NOT NULL,
    location_id text        NOT NULL,
    booking_id  text        NOT NULL,
    said        jsonb       NOT NULL, -- the rows, as they were read: start, end, status, person, check-in, space, seat
    starts_at   timestamptz,
    ends_at     timestamptz,
    first_name  text,
    last_name   text,
    email       text,
    first_seen  timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_seen   timestamptz NOT NULL DEFAULT clock_timestamp(),
    gone_at     timestamptz, -- confirmed by id that LibCal no longer has it
    PRIMARY KEY (source, location_id, booking_id)
);
CREATE INDEX bookings_by_id ON bookings (booking_id);
CREATE INDEX bookings_by_end ON bookings (ends_at);

-- People, by Alma's primary id.
CREATE TABLE users (
    primary_id      text PRIMARY KEY,
    barcode         text, -- the ACTIVE one; NULL: Alma knows the person, but no active card
    user_group      text,
    group_desc      text,
    first_name      text,
    last_name       text,
    emails          text[] NOT NULL DEFAULT '{}', -- lower case
    expiry_date     date,
    status          text,
    blocked         boolean NOT NULL DEFAULT false,
    checked_at      timestamptz, -- when Alma said so; NULL: taken over, never asked
    visitor_id      text, -- PassagePoint's id of the visitor made for visitor_barcode
    visitor_barcode text,
    visitor_at      timestamptz,
    first_seen      timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 80);

-- Who an id written on a form turned out to be, so that Alma is not asked each time.
CREATE TABLE asked_ids (
    asked_id   text PRIMARY KEY,
    primary_id text        NOT NULL,
    checked_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX asked_ids_primary ON asked_ids (primary_id);

-- One row per access window of a booking: what is wanted, what was sent, what is known. The row decides; a message only
-- triggers.
CREATE TABLE appts (
    appt_id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    source          text        NOT NULL,
    location_id     text        NOT NULL,
    booking_id      text        NOT NULL,
    asked_id        text        NOT NULL,
    destination     text        NOT NULL,
    starts_at       timestamptz NOT NULL, -- margins included
    ends_at         timestamptz NOT NULL,
    before_s        integer     NOT NULL DEFAULT 0,
    after_s         integer     NOT NULL DEFAULT 0,
    offset_s        integer     NOT NULL DEFAULT 0, -- the row's own offset from UTC, for its local day
    email           text,       -- of the booking, lower case, compared with Alma's
    wanted          boolean     NOT NULL DEFAULT true,
    unwanted_reason text,
    unwanted_at     timestamptz,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    sent_at         timestamptz, -- when Kafka acknowledged its message
    retry_at        timestamptz, -- a stage answered "not yet": the producer sends it again then
    primary_id      text,
    -- NULL until a stage answers: made, unknown (nobody knows whether it was made), set_aside, or why not:
    -- no_card, unknown_id, expired, blocked, email_differs, two_visitors, refused, visitor_gone, no_category …
    answer          text,
    reason          text,
    answered_at     timestamptz,
    visitor_id      text,
    barcode         text,
    prereg_id       text,
    maybe_made      boolean     NOT NULL DEFAULT false, -- a call before the last may have made one too
    trace_id        text,
    -- what the desk must know of this row, derived: see appts_desk
    desk_kind       text GENERATED ALWAYS AS (
        CASE WHEN NOT wanted AND (prereg_id IS NOT NULL OR maybe_made OR answer IN ('made', 'unknown')) THEN 'withdraw'
             WHEN NOT wanted THEN NULL
             WHEN answer = 'made' AND maybe_made THEN 'maybe_twice'
             WHEN answer = 'made' THEN NULL
             WHEN answer = 'visitor_gone' THEN NULL
             ELSE answer END) STORED,
    CHECK (starts_at < ends_at)
) WITH (fillfactor = 80);
CREATE INDEX appts_booking ON appts (source, location_id, booking_id) WHERE wanted;
CREATE INDEX appts_booking_id ON appts (booking_id);
CREATE INDEX appts_person ON appts (primary_id) WHERE prereg_id IS NOT NULL;
CREATE INDEX appts_unsent ON appts (created_at) WHERE wanted AND sent_at IS NULL;
CREATE INDEX appts_retry ON appts (retry_at) WHERE wanted AND retry_at IS NOT NULL;
CREATE INDEX appts_unanswered ON appts (sent_at) WHERE wanted AND answer IS NULL AND sent_at IS NOT NULL;
CREATE INDEX appts_end ON appts (ends_at);

CREATE FUNCTION appts_desk() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF OLD.desk_kind IS NOT NULL AND OLD.desk_kind IS DISTINCT FROM NEW.desk_kind THEN
            PERFORM desk_clear(OLD.desk_kind, OLD.appt_id::text);
        END IF;
    END IF;
    IF NEW.desk_kind IS NOT NULL AND NEW.ends_at > clock_timestamp() THEN
        PERFORM desk_say(NEW.desk_kind, NEW.appt_id::text,
            CASE NEW.desk_kind
            WHEN 'withdraw' THEN
                concat('withdraw at the gate: ', NEW.unwanted_reason,
                       CASE WHEN NEW.prereg_id IS NOT NULL THEN '; pre-registration ' || NEW.prereg_id END,
                       CASE WHEN NEW.answer = 'unknown' THEN '; nobody knows whether it was made: look for it' END,
                       CASE WHEN NEW.maybe_made AND NEW.prereg_id IS NOT NULL THEN '; there may be a second one' END)
            WHEN 'maybe_twice' THEN concat('an earlier try may have made a second pre-registration: look for it beside ', NEW.prereg_id)
            WHEN 'unknown' THEN
                concat('nobody knows whether the pre-registration was made: look at the gate, then say made or not made', '; ' || NEW.reason)
            ELSE coalesce(NEW.reason, NEW.answer) END,
            NEW.starts_at);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER appts_desk_insert AFTER INSERT ON appts FOR EACH ROW
    WHEN (NEW.desk_kind IS NOT NULL) EXECUTE FUNCTION appts_desk();
CREATE TRIGGER appts_desk_update AFTER UPDATE ON appts FOR EACH ROW
    WHEN (OLD.desk_kind IS DISTINCT FROM NEW.desk_kind
          -- whatever its text or its place in the list is made of; nothing else, so that what a person closed stays closed
          OR (NEW.desk_kind IS NOT NULL
              AND (OLD.reason, OLD.unwanted_reason, OLD.prereg_id, OLD.answer, OLD.maybe_made, OLD.starts_at)
                  IS DISTINCT FROM
                  (NEW.reason, NEW.unwanted_reason, NEW.prereg_id, NEW.answer, NEW.maybe_made, NEW.starts_at)))
    EXECUTE FUNCTION appts_desk();

-- Verb: a person looked at the gate and found the pre-registration of a window whose outcome nobody knew.
CREATE FUNCTION appt_made(id uuid, prereg text, who text) RETURNS boolean LANGUAGE sql AS $$
    WITH said AS (
        UPDATE appts SET answer = 'made', prereg_id = prereg, maybe_made = false, answered_at = clock_timestamp(),
                         reason = 'found at the gate by ' || who
         WHERE appt_id = id AND prereg_id IS NULL AND prereg <> '' RETURNING appt_id),
    noted AS (
        INSERT INTO attempts (stage, subject, work_id, call, verdict, code, reason)
        SELECT 'desk', appt_id::text, appt_id::text, 'made', 'done', 'made', 'by ' || who FROM said)
    SELECT count(*) > 0 FROM said;
$$;

-- Verb: … and did not find it: it is made now (the producer sends the window again).
CREATE FUNCTION appt_not_made(id uuid, who text) RETURNS boolean LANGUAGE sql AS $$
    WITH said AS (
        UPDATE appts SET answer = NULL, maybe_made = false, retry_at = clock_timestamp(),
                         reason = 'not at the gate, says ' || who
         WHERE appt_id = id AND prereg_id IS NULL AND answer = 'unknown' RETURNING appt_id),
    freed AS (
        UPDATE intents i SET state = 'released', changed_at = clock_timestamp() FROM said
         WHERE i.stage = 'prereg-create' AND i.work_id = said.appt_id::text
           AND NOT (i.state = 'taken' AND i.deadline > clock_timestamp())), -- a try under way says itself what came of it
    noted AS (
        INSERT INTO attempts (stage, subject, work_id, call, verdict, code, reason)
        SELECT 'desk', appt_id::text, appt_id::text, 'not made', 'done', 'not_made', 'by ' || who FROM said)
    SELECT count(*) > 0 FROM said;
$$;

-- Verb: ask again now (a card was issued, an id was corrected in Alma).
CREATE FUNCTION appt_ask_again(id uuid, who text) RETURNS boolean LANGUAGE sql AS $$
    WITH said AS (
        UPDATE appts SET retry_at = clock_timestamp()
         WHERE appt_id = id AND wanted AND prereg_id IS NULL AND answer IS DISTINCT FROM 'unknown'
        RETURNING appt_id, asked_id),
    forgotten AS (DELETE FROM asked_ids a USING said WHERE a.asked_id = said.asked_id),
    noted AS (
        INSERT INTO attempts (stage, subject, work_id, call, verdict, code, reason)
        SELECT 'desk', appt_id::text, appt_id::text, 'ask again', 'done', 'ask_again', 'by ' || who FROM said)
    SELECT count(*) > 0 FROM said;
$$;

-- What the old script had registered on the day of the cut-over (migrate --take-over).
CREATE TABLE taken_over (
    booking_id text PRIMARY KEY,
    prereg_id  text,
    taken_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The desk need not be told of a visit that is over.
CREATE FUNCTION desk_close_past() RETURNS void LANGUAGE sql AS $$
    UPDATE desk d SET closed_at = clock_timestamp(), closed_by = 'shelfwire', note = 'the visit is over'
      FROM appts a WHERE d.closed_at IS NULL AND a.ends_at < now()
       AND a.appt_id = CASE WHEN d.subject ~ '^[0-9a-f]{8}-[0-9a-f-]{27}$' THEN d.subject::uuid END;
$$;

-- Deletes what is past: windows, their bookings, people without any, closed desk rows, history.
CREATE FUNCTION purge(keep_days integer) RETURNS TABLE (what text, deleted bigint) LANGUAGE plpgsql AS $$
DECLARE
    before  timestamptz := now() - make_interval(days => keep_days);
    part    text;
    n       bigint;
    dropped bigint;
BEGIN
    PERFORM desk_close_past();
    DELETE FROM appts WHERE ends_at < before;
    GET DIAGNOSTICS n = ROW_COUNT; RETURN QUERY SELECT 'appts', n;
    DELETE FROM bookings WHERE coalesce(ends_at, last_seen) < before AND last_seen < before;
    GET DIAGNOSTICS n = ROW_COUNT; RETURN QUERY SELECT 'bookings', n;
    DELETE FROM asked_ids i WHERE checked_at < before
       AND NOT EXISTS (SELECT FROM appts a WHERE a.asked_id = i.asked_id);
    GET DIAGNOSTICS n = ROW_COUNT; RETURN QUERY SELECT 'asked_ids', n;
    DELETE FROM users u WHERE coalesce(checked_at, visitor_at, first_seen) < before
       AND NOT EXISTS (SELECT FROM asked_ids i WHERE i.primary_id = u.primary_id)
       AND NOT EXISTS (SELECT FROM appts a WHERE a.primary_id = u.primary_id)
       AND NOT EXISTS (SELECT FROM appts a WHERE a.asked_id = u.primary_id);
    GET DIAGNOSTICS n = ROW_COUNT; RETURN QUERY SELECT 'users', n;
    DELETE FROM desk WHERE coalesce(closed_at, visit_at) < before; -- open and without a visit: somebody must still see it
    GET DIAGNOSTICS n = ROW_COUNT; RETURN QUERY SELECT 'desk', n;
    DELETE FROM intents i WHERE changed_at < before
       AND (state IN ('finished', 'released') OR NOT EXISTS (SELECT FROM appts a WHERE a.appt_id::text = i.work_id));
    GET DIAGNOSTICS n = ROW_COUNT; RETURN QUERY SELECT 'intents', n;
    DELETE FROM taken_over WHERE taken_at < before;
    GET DIAGNOSTICS n = ROW_COUNT; RETURN QUERY SELECT 'taken_over', n;
    DELETE FROM attempts_rest WHERE at < before;
    GET DIAGNOSTICS n = ROW_COUNT;
    FOR part IN SELECT c.relname FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
                 WHERE inhparent = 'attempts'::regclass AND c.relname ~ '^attempts_\d{4}_\d\d$'
                   AND (to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month') AT TIME ZONE 'UTC' <= before LOOP
        EXECUTE format('SELECT count(*) FROM %I', part) INTO dropped;
        EXECUTE format('DROP TABLE %I', part);
        n := n + dropped;
    END LOOP;
    RETURN QUERY SELECT 'attempts', n;
    PERFORM attempts_make_partitions();
END $$;
