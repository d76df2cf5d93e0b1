-- Plain names for the functions of 0012. Triggers refer to a function by its id, so that those of an existing warehouse
-- go on working, as does the setting that 0013 attached to the first function; neither body calls a function by these
-- names.

alter function core.refer() rename to check_references;
comment on function core.check_references is 'Statement trigger, with the new rows as `added`: refuses rows whose references do not exist. Arguments: pairs of a column and the table that it refers to, which has a key column of the same name.';

alter function core.keep_referred() rename to prevent_referenced_delete;
comment on function core.prevent_referenced_delete is 'Trigger after delete or truncate: refuses it while rows still refer to what was deleted. Arguments: the referring table and, for a row trigger, the column that refers.';
