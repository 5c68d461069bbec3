-- Where a dead letter's message stood in its topic: "partition/offset/milliseconds", NULL where nobody says. A crash between the
-- acknowledgement of a dead letter and the offset of its message brings it a second time: of two from one place, the second is
-- `discarded` as it comes.
ALTER TABLE dead_letters ADD COLUMN origin text;
CREATE INDEX dead_letters_origin ON dead_letters (topic, origin);
