-- Mail and post are tried each by itself: which way an alert's beginning and its end have gone. told_at and end_told_at say that
-- it has gone every way there is.
ALTER TABLE alerts ADD COLUMN mailed_at timestamptz, ADD COLUMN posted_at timestamptz,
    ADD COLUMN end_mailed_at timestamptz, ADD COLUMN end_posted_at timestamptz;
UPDATE alerts SET mailed_at = told_at, posted_at = told_at, end_mailed_at = end_told_at, end_posted_at = end_told_at;
