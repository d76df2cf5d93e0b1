-- How often a user heard of a category lately, for categories that limit that.

create table notify.recent_deliveries (
    user_id bigint not null,
    category text not null,
    delivery_id bigint not null,
    primary key (user_id, category, delivery_id)
);
comment on table notify.recent_deliveries is
'Finds the latest deliveries of a user, for which the ledger has no index. Rows are written by a claim, of capped categories only, and never change: what became of a delivery is in the ledger. The next claim for the user removes those that are too old to count.';
