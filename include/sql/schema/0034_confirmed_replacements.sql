-- A person may say that accounts of logins that were linked again are the same, although the later one lacks much of the earlier one.

alter table core.replaced_accounts add column confirmed_at timestamptz;
comment on column core.replaced_accounts.confirmed_at is 'When a person said that the accounts are the same, so that rows which the later login lacks end, however many they are.';
