"""What was done to reach goals that are missed, and what stands in the way."""

SHARE_OF_COPY = (
    "profiled: two foreign keys that were looked up for each row were half of a load, and of the limit too. They are "
    "checked once a statement now, rows are copied in binary, records typed with half the work, repeated keys found "
    "in columns, and the rows of new accounts not looked up one by one: faster in all than the limit was before, and a "
    "smaller share of the new one. What is left besides inserting: to hash, decode and type (a third), to copy, and to "
    "sort, without which the index grows by a quarter."
)
SECOND_LOADER = (
    "profiled: 200,000 transactions take 3.2 s of processors: one loader alone needs 2.8 s for them, since the other "
    "processor works as well, in Postgres while rows are copied and where typed rows are compressed. Two loaders have "
    "no idle processor left to gain. What made loading faster made both sides faster alike; between 1.5 and 1.9 x were "
    "measured within a day, as the machine's processors were its own or shared."
)
RESYNC = (
    "profiled: since foreign keys are not looked up for each row, a first load takes half of what it did, and one "
    "without changes less than that: rows are read at once, and not looked up by their keys, where they are few for "
    "the batch. Half of what is left is to copy. A join of a million rows does not fit into memory, and a batch of few "
    "logs little more than what the catalog's pages take for its temporary table, right after a checkpoint."
)
ORCHESTRATION = (
    "profiled: what workers load in advance (`PRELOADED`) and keep from the garbage collector, and Dag files that "
    "build one Dag, made a task of ours a third cheaper and a bare one, too. What is left over a bare task is "
    "Airflow's: the label of a mapped task, which is sent twice, the result that is handed on, the count of siblings, "
    "and the scheduler's look at four steps a chunk: 0.09 to 0.14 s, beside 0.2 to 0.3 s of a bare task, which are "
    "the fewer the faster the machine; 1.2 to 1.7 x were measured."
)
WHOLE_RUN = (
    "profiled: processors waited for the scheduler, up to a second each time that a task ended, and processes of "
    "workers for the end of a task, up to 5 s. The scheduler looks twice a second now, workers attend their tasks, "
    "and the queue `etl` has three slots. What is left is the start of a task, four times a chunk."
)
LIMITED_RUN = (
    "profiled: nobody asked the bank while all slots typed and loaded, and the limit's burst was held back from its "
    "pace. A slot is left for the next download now, and the burst is small. What is left: the last chunk is sealed, "
    "typed and loaded when its last request is answered."
)
VS_DLT = (
    "profiled and made faster: references that are checked once a statement, copies in binary, columns instead of "
    "records, look-ups by key instead of a join that reads the table, no spilling, inserts without `on conflict`. "
    "What is left is for two fifths what Postgres takes for ready rows in this table (`benchmarks.loading`), whoever "
    "loads it."
)
MERCHANTS_RESYNC = (
    "twenty records are read for each row, so that a first load, too, does little but read them; and its log is so "
    "short that 0.2 MB, which the catalog's pages take for the temporary table of any batch, is much beside it. "
    "Repeated records are dropped block by block before they are copied; what is repeated in others, by a statement."
)
NO_LATENCY = (
    "no bank answers at once; then what counts is the processor time of writing, hashing and compressing each page "
    "beside that of dropping it. Profiled and made faster: pages land without a flush and while the next is asked "
    "for, and are compressed in a thread of their own."
)
MANY_CHUNKS = (
    "a chunk of one login costs what any chunk does, some 45 ms, beside 18 ms for its 1,000 rows, which were 35 "
    "before. Profiled: two files, two temporary tables and some thirty statements, of which planning the merge over "
    "sixteen partitions takes the most. Through Airflow each chunk costs four starts of a task besides, more than a "
    "second, so that chunks are cut larger anyway."
)
URGENT = (
    "profiled: an urgent start is 0.5 s of waiting for the scheduler's next look, and less than 0.1 s of anything "
    "else. Under backlog a look takes 0.1 to 0.3 s more, in Airflow's own statements, and that is all the difference. "
    "With Airflow's own setting, a look each second, both sides would be slower and the goal reached. 1.47 to 1.75 x "
    "were measured, hours apart: of 40 starts a side the two slowest decide. Tried: to let tasks stand back before "
    "they read their Dag's file, which changed nothing."
)
SCHEDULER_LOOP = (
    "profiled: Airflow asks for the state of every sibling of each mapped task, chunk by chunk; 64 chunks at most "
    "keep that bounded. Between 1.14 and 1.67 s were measured on one machine, as fast or slow as it was at that hour."
)
