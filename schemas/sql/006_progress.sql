-- How far the work is in these tables, beside what Kafka remembers of it. PostgreSQL restored from a backup has forgotten what
-- was made since; Kafka has not: its groups have committed offsets that are ahead of what stands here. So it is noticed.

-- Everything below next_offset is finished, and its outcome is in these tables. Kafka is told only what is noted here already,
-- so in ordinary life no group is ever ahead, whatever crashes.
CREATE TABLE progress (
    consumer    text        NOT NULL, -- the group and the topic with their prefix, as Kafka knows them
    topic       text        NOT NULL,
    partition   integer     NOT NULL,
    next_offset bigint      NOT NULL,
    notes       bigint      NOT NULL DEFAULT 1, -- how often it was noted: less than a worker remembers is a table from the past
    noted_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (consumer, topic, partition)
) WITH (fillfactor = 50);

-- Stages that worked before anything was noted: their groups are ahead without any fault.
CREATE TABLE progress_before (
    stage text PRIMARY KEY
);
INSERT INTO progress_before
SELECT stage FROM unnest(ARRAY['bookings-new', 'users-resolve', 'prereg-create', 'catalog-delta', 'folio-requests', 'wise-holds-prepare',
                               'wise-holds-place', 'oneclick-requests']) AS stage
 WHERE EXISTS (SELECT FROM partition_owners) OR EXISTS (SELECT FROM attempts) OR EXISTS (SELECT FROM titles);

-- That PostgreSQL was restored: noticed by a program, and said by a person. While one is noticed and nobody has said so, nothing
-- is done. Whatever was sent before it was said may have been done in the time that is forgotten.
CREATE TABLE restores (
    restore_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    noticed_at timestamptz,
    noticed_by text, -- the program
    why        text,
    said_at    timestamptz,
    said_by    text
);
CREATE UNIQUE INDEX restores_open ON restores ((said_at IS NULL)) WHERE said_at IS NULL;

-- A program has noticed. seen: what was last said when it looked; if somebody has said so since, it looks again.
CREATE FUNCTION restore_noticed(program text, why_ text, seen timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    LOCK TABLE restores IN SHARE ROW EXCLUSIVE MODE;
    IF (SELECT max(said_at) FROM restores) > coalesce(seen, '-infinity') THEN
        RETURN;
    END IF;
    INSERT INTO restores (noticed_at, noticed_by, why) VALUES (clock_timestamp(), program, why_)
    ON CONFLICT ((said_at IS NULL)) WHERE said_at IS NULL DO NOTHING; -- in a database that is only half restored: refused
    PERFORM desk_say('restored', 'PostgreSQL', 'PostgreSQL was restored from a backup, or is new: ' || why_
                     || '; nothing is done until somebody says SELECT database_restored(''your name'')', NULL)
      WHERE NOT EXISTS (SELECT FROM desk WHERE kind = 'restored' AND closed_at IS NULL);
END $$;

-- Verb: it is so, go on. What Kafka remembers of the time that is forgotten is gone through again, as if each call's answer had
-- been lost. May be said before the programs are started.
CREATE FUNCTION database_restored(who text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    LOCK TABLE restores IN SHARE ROW EXCLUSIVE MODE;
    UPDATE restores SET said_at = clock_timestamp(), said_by = who WHERE said_at IS NULL;
    IF NOT FOUND THEN
        INSERT INTO restores (said_at, said_by) VALUES (clock_timestamp(), who);
    END IF;
    UPDATE desk SET closed_at = clock_timestamp(), closed_by = who WHERE kind = 'restored' AND closed_at IS NULL;
    -- so that no epoch which a worker took in the forgotten time is ever current again
    UPDATE partition_owners SET epoch = epoch + 1000000;
    RETURN true;
END $$;

-- Windows of the forgotten time, of which only their messages are left: location_id is '' until the producer that reads their
-- place finds out where they belong.
CREATE INDEX appts_placeless ON appts (source, destination) WHERE location_id = '';
