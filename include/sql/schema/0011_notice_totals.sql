-- What came of a run of a notice, once it was summed up.

alter table notify.runs add column totals jsonb;
comment on column notify.runs.totals is 'Chunks, and deliveries by what became of them, as its last report found them; `null` before. The chunks say how it is now.';
