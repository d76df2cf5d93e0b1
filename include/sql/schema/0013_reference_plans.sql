-- References are looked up by the few ids that new rows name, however the statement that writes these is planned: a merge
-- that reads rows at once allows itself no nested loops, and all logins or raw batches would be read in their place.

alter function core.refer() set enable_nestloop = on;
