-- In which language, and at which hours, users want to be written to.

alter table core.users
    add column locale text,
    add column time_zone text;
comment on column core.users.locale is 'A tag of BCP 47, such as de-AT; null if the user said nothing.';
comment on column core.users.time_zone is 'A name of the IANA database, such as Europe/Vienna; null if the user said nothing.';
