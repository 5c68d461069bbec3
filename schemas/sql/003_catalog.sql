-- OneClick's catalog, as OneClick has it: one row a title.
--
-- Two kinds of fact arrive, in any order, and of each kind the newer one stays: whether the library has the title, with its
-- record (owned_as_of, by this database's clock when OneClick was asked), and whether it can be borrowed (available_as_of, by
-- OneClick's own clock). A title that was removed keeps its row.

-- Words of title, series and people, as every language writes them. (array_to_string is not immutable for every type; for text
-- it is.)
CREATE FUNCTION titles_words(title text, series text, people text[], voices text[]) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT to_tsvector('simple', concat_ws(' ', title, series, array_to_string(people, ' '), array_to_string(voices, ' ')))
$$;

CREATE TABLE titles (
    isbn             text COLLATE "C" PRIMARY KEY CHECK (isbn ~ '^97[89]\d{10}$'),
    owned            boolean     NOT NULL,
    owned_as_of      timestamptz NOT NULL,
    media_type       text, -- eBook, eAudio
    title            text, -- NULL: OneClick was asked for this ISBN, and never had it
    sort_title       text, -- without the article it begins with: "Wind in the Willows" of "The Wind in the Willows"
    series_name      text, -- NULL: none
    series_position  integer,
    series_total     integer,
    authors          text[]      NOT NULL DEFAULT '{}', -- "Hopkins, Ellen", in OneClick's order
    narrators        text[]      NOT NULL DEFAULT '{}',
    genres           text[]      NOT NULL DEFAULT '{}', -- "JUVENILE FICTION / Social Themes / Adolescence"
    primary_genres   text[]      NOT NULL DEFAULT '{}', -- slugs: "juvenile-fiction"
    audience         text,
    language         text, -- its English name: "English"
    publisher        text,
    publication_date date,
    description      text,
    digital_rights   boolean,
    images           jsonb, -- {"small": "http…", …}
    title_id         bigint, -- OneClick's own; ISBNs are what everything is joined on
    available        boolean, -- NULL: OneClick has not said; false when not owned
    available_as_of  timestamptz,
    first_seen       timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_at       timestamptz NOT NULL DEFAULT clock_timestamp(), -- when anything above last changed
    removed_at       timestamptz, -- when it was seen to be gone; NULL while owned
    missed_at        timestamptz, -- when OneClick was last asked for it and did not have it
    -- what oneclick-catalog last sent of its availability, so that what is still in Kafka is not sent again
    sent_available       boolean,
    sent_available_as_of timestamptz,
    words tsvector GENERATED ALWAYS AS (titles_words(title, series_name, authors, narrators)) STORED,
    CHECK (owned OR available IS NOT TRUE)
) WITH (fillfactor = 85);

-- WHERE words @@ websearch_to_tsquery('simple', 'wind willows') AND owned
CREATE INDEX titles_by_words ON titles USING gin (words);
CREATE INDEX titles_on_the_shelf ON titles (media_type, available, sort_title) WHERE owned;
CREATE INDEX titles_by_change ON titles (changed_at);

-- What was sent and may never have been read is due again: Kafka's log was cut short or made anew (see oneclick-catalog).
-- Availability is compared with the rows again; the deltas since the import are read again, as far back as OneClick keeps
-- them; an import that did not arrive whole is said. Returns what it did, a row each.
CREATE FUNCTION catalog_again() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    imported_as_of timestamptz := (SELECT value FROM producer_marks WHERE producer = 'oneclick-catalog' AND mark = 'import as of');
    imported       bigint := (SELECT value FROM producer_marks WHERE producer = 'oneclick-catalog' AND mark = 'import titles');
BEGIN
    UPDATE titles SET sent_available = NULL, sent_available_as_of = NULL
     WHERE sent_available_as_of > coalesce(available_as_of, '-infinity');
    IF FOUND THEN
        RETURN NEXT 'availability';
    END IF;
    UPDATE producer_marks SET value = greatest((imported_as_of AT TIME ZONE 'UTC')::date - 1, current_date - 179)::text
     WHERE producer = 'oneclick-catalog' AND mark = 'delta day'
       AND value > greatest((imported_as_of AT TIME ZONE 'UTC')::date - 1, current_date - 179)::text;
    IF FOUND THEN
        RETURN NEXT 'deltas';
    END IF;
    IF NOT catalog_arrived() THEN
        PERFORM desk_say('import_needed', 'oneclick', 'part of the last import was lost in Kafka: run oneclick-catalog --import --again', NULL);
        RETURN NEXT 'import';
    END IF;
END $$;

-- Whether what the last import sent has been read. A title in a hundred may be late, or have been set aside.
CREATE FUNCTION catalog_arrived() RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT count(*) FILTER (WHERE owned_as_of >= (SELECT value FROM producer_marks WHERE producer = 'oneclick-catalog' AND mark = 'import as of')::timestamptz)
           >= 0.99 * (SELECT value FROM producer_marks WHERE producer = 'oneclick-catalog' AND mark = 'import titles')::bigint
      FROM titles
$$;
