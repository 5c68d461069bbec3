-- What patrons ask for, and what came of it: FOLIO, Wise and OneClick.

-- Who may send requests. The token itself is nowhere: only its SHA-256.
CREATE TABLE callers (
    caller          text PRIMARY KEY CHECK (caller ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
    token_sha256    bytea       NOT NULL UNIQUE CHECK (octet_length(token_sha256) = 32),
    services        text[]      NOT NULL DEFAULT '{folio,wise,oneclick}', -- which it may ask
    callback_secret text, -- what its callbacks are signed with; NULL: it gets none
    made_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    revoked_at      timestamptz
);

-- One row a request. The row decides; a message only triggers.
--   accepted  to be done
--   waiting   it was tried, and the service is not well: waits_for says in a word what for
--   asks      it could be done, but not as it was asked (dearer than allowed, only as an interlibrary loan, only as a hold):
--             nothing was done; outcome says what would be possible
--   done, refused   with the service's answer
--   set_aside       its message is among the dead letters
CREATE TABLE requests (
    request_id  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    caller      text        NOT NULL,
    ref         text        NOT NULL, -- the caller's own id: sent twice, done once
    service     text        NOT NULL CHECK (service IN ('folio', 'wise', 'oneclick')),
    action      text        NOT NULL,
    patron      text        NOT NULL, -- as the service knows the person; two requests of one are done in order
    asked       jsonb       NOT NULL, -- the request as it came, without what stands in columns
    state       text        NOT NULL DEFAULT 'accepted' CHECK (state IN ('accepted', 'waiting', 'asks', 'done', 'refused', 'set_aside')),
    known       jsonb, -- what the steps so far have learned; only a stage reads it
    code        text,  -- the answer in a word
    words       text,  -- the service's own, where they are fit for a patron
    outcome     jsonb, -- for the caller
    waits_for   text,
    waits_since timestamptz,
    accepted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    sent_at     timestamptz, -- when Kafka acknowledged its message
    retry_at    timestamptz, -- to be sent again then: a hold that is to become a loan
    answered_at timestamptz,
    trace_id    text,
    callback_url   text,
    callback_at    timestamptz, -- when to post the answer next; NULL: nothing to post, or posted
    callback_tries integer  NOT NULL DEFAULT 0,
    UNIQUE (caller, ref)
) WITH (fillfactor = 80);
CREATE INDEX requests_unsent ON requests (accepted_at) WHERE sent_at IS NULL AND state IN ('accepted', 'waiting');
CREATE INDEX requests_retry ON requests (retry_at) WHERE retry_at IS NOT NULL;
CREATE INDEX requests_unanswered ON requests (sent_at) WHERE state IN ('accepted', 'waiting');
CREATE INDEX requests_callback ON requests (callback_at) WHERE callback_at IS NOT NULL;
CREATE INDEX requests_patron ON requests (service, patron);
CREATE INDEX requests_answered ON requests (answered_at);

-- What follows from a state: whoever waits for the request hears of it, the caller's callback is due, the desk knows.
CREATE FUNCTION requests_follow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('requests', NEW.request_id::text);
    IF NEW.state NOT IN ('accepted', 'waiting') AND NEW.callback_url IS NOT NULL THEN
        NEW.callback_at := clock_timestamp();
    END IF;
    IF NEW.state = 'set_aside' THEN
        PERFORM desk_say('request_set_aside', NEW.request_id::text, concat_ws(': ', NEW.service || ' ' || NEW.action, NEW.code), NULL);
    ELSIF OLD.state = 'set_aside' THEN
        PERFORM desk_clear('request_set_aside', NEW.request_id::text);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER requests_follow BEFORE UPDATE ON requests FOR EACH ROW
    WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION requests_follow();

-- Verb: what was set aside is tried again, once its cause is mended.
CREATE FUNCTION request_again(id uuid, who text) RETURNS boolean LANGUAGE sql AS $$
    WITH again AS (
        UPDATE requests SET state = 'accepted', sent_at = NULL, code = NULL, words = 'sent again by ' || who
         WHERE request_id = id AND state = 'set_aside' RETURNING 1)
    SELECT count(*) > 0 FROM again;
$$;
