-- What a person has paused, and what was paused before.
--   stage     it makes no call at its vendor and takes no new work; what is under way is finished, and written
--   location  its windows are not sent by the producer that reads it, and not called for by the stages that have them already:
--             they wait there, and so does whatever else they have of the same person, for order holds per person.
--             A location's id (LibCal's lid, WebCheckout's checkout centre) is its name; a number that both use is paused in both
-- Workers look every half second, producers at each of their rounds (RESEND_SECONDS). Nothing is lost: the work stays in Kafka,
-- which keeps it for as long as its topics' retention.
CREATE TABLE pauses (
    pause_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    what     text        NOT NULL CHECK (what IN ('stage', 'location')),
    name     text        NOT NULL CHECK (name <> ''),
    who      text        NOT NULL,
    why      text        NOT NULL,
    since    timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz,
    ended_by text
);
CREATE UNIQUE INDEX pauses_open ON pauses (what, name) WHERE ended_at IS NULL;

-- Verb. false: it is paused already, and stays so with the first one's reason.
CREATE FUNCTION pause(kind_ text, name_ text, who_ text, why_ text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF kind_ = 'stage' AND name_ <> ALL (ARRAY['bookings-new', 'users-resolve', 'prereg-create', 'catalog-delta', 'folio-requests',
                                               'wise-holds-prepare', 'wise-holds-place', 'oneclick-requests']) THEN
        RAISE EXCEPTION 'no stage is called %: want a worker''s name', name_; -- or nothing would stop, and nobody see it
    END IF;
    INSERT INTO pauses (what, name, who, why) VALUES (kind_, name_, who_, why_)
    ON CONFLICT (what, name) WHERE ended_at IS NULL DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO monitor_log (who, verb, about, note) VALUES (who_, 'pause', kind_ || ' ' || name_, nullif(why_, ''));
    RETURN true;
END $$;

-- Verb. false: it was not paused.
CREATE FUNCTION resume(kind_ text, name_ text, who_ text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    UPDATE pauses SET ended_at = clock_timestamp(), ended_by = who_ WHERE what = kind_ AND name = name_ AND ended_at IS NULL;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO monitor_log (who, verb, about) VALUES (who_, 'resume', kind_ || ' ' || name_);
    RETURN true;
END $$;
