-- The clean-up looks for bodies that are old enough to go, a few hundred at a time; most rows have none any more.
CREATE INDEX deliveries_with_body ON deliveries (done_at) WHERE state <> 'waiting' AND LENGTH(body) > 0;
