-- Whom OneClick knows as whom: found once by card, e-mail or user name, and asked for again only when OneClick no longer knows
-- the number. Patron ids are those of one library.
CREATE TABLE oneclick_patrons (
    library    text        NOT NULL, -- OneClick's number of the library
    card       text        NOT NULL, -- as requests name the person
    patron_id  text        NOT NULL, -- OneClick's number of the person
    user_id    text,                 -- what a bearer for downloads is made of; NULL: OneClick has not said
    found_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    used_at    timestamptz NOT NULL DEFAULT clock_timestamp(), -- to the day
    PRIMARY KEY (library, card)
);
CREATE INDEX oneclick_patrons_used ON oneclick_patrons (used_at);

-- Deletes what is past: windows, their bookings, people without any, finished requests, whom OneClick knows as whom, closed
-- desk rows, history.
CREATE OR REPLACE FUNCTION purge(keep_days integer) RETURNS TABLE (what text, deleted bigint) LANGUAGE plpgsql AS $$
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
    DELETE FROM requests WHERE coalesce(answered_at, accepted_at) < before AND state NOT IN ('accepted', 'waiting');
    GET DIAGNOSTICS n = ROW_COUNT; RETURN QUERY SELECT 'requests', n;
    DELETE FROM oneclick_patrons p WHERE used_at < before
       AND NOT EXISTS (SELECT FROM requests r WHERE r.service = 'oneclick' AND r.patron = p.card);
    GET DIAGNOSTICS n = ROW_COUNT; RETURN QUERY SELECT 'oneclick_patrons', n;
    DELETE FROM desk WHERE coalesce(closed_at, visit_at) < before; -- open and without a visit: somebody must still see it
    GET DIAGNOSTICS n = ROW_COUNT; RETURN QUERY SELECT 'desk', n;
    DELETE FROM intents i WHERE changed_at < before
       AND (state IN ('finished', 'released') OR NOT EXISTS (SELECT FROM appts a WHERE a.appt_id::text = i.work_id)
            AND NOT EXISTS (SELECT FROM requests r WHERE r.request_id::text = i.work_id));
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
