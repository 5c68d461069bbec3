-- The ids of windows begin with the millisecond they were made in (UUID version 7): what is worked on lies together in every index
-- that has them, and a window costs the same whatever lies there of years before. Ids of before stay as they are.
CREATE FUNCTION uuid_in_order() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
               PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6), 52, 1), 53, 1), 'hex')::uuid
$$;
ALTER TABLE appts ALTER COLUMN appt_id SET DEFAULT uuid_in_order();
