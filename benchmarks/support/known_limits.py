"""For each goal that may be missed: what was done to reach it, and what limits it."""

SHARE_OF_COPY = (
    "profiled: rows of new logins are copied straight into the table, sorted and in binary, which takes as long as "
    "COPY of ready rows does. So half of the time is reading, hashing and decoding the pages, typing the records, and "
    "handing the rows from one task to the next in a file. None of these is larger than a fifth: decoding by msgspec, "
    "arrays of Arrow, the hash and decompression. What remains is to type the next batch while one is copied, which "
    "needs a second processor."
)
SECOND_LOADER = (
    "profiled: 200,000 transactions take 3.2 s of processor time. A single loader needs 2.8 s for them, since the "
    "second processor works as well, in Postgres while rows are copied, and where typed rows are compressed. So two "
    "loaders have no idle processor to use. What made loading faster made both sides equally faster. Between 1.5 and "
    "1.9 x were measured within a day, depending on whether the machine shared its processors."
)
RESYNC = (
    "profiled: rows of new logins are copied and not merged, so that a first load of a feed takes a third less time "
    "than when this goal was set, and a load without changes is a larger share of it: if a table has few rows in "
    "relation to the batch, they are read at once instead of looked up by key. Half of the rest is copying. A small "
    "batch logs little more than the catalog's pages for its temporary table, right after a checkpoint. A snapshot "
    "locks the users whose logins were not compared with their others yet, here all 100,000 each time, since the "
    "logins of this benchmark have no institution; one whose institution is known is compared once."
)
ORCHESTRATION = (
    "profiled: the modules that workers preload (`PRELOADED`) and exclude from garbage collection, and Dag files that "
    "build one Dag, made a task a third cheaper, and a bare task as well. The rest of the difference is Airflow's: the "
    "label of a mapped task, which is sent twice, the returned result, the count of siblings, and the scheduler's work "
    "for four steps per chunk. It takes 0.09 to 0.14 s, against 0.2 to 0.3 s for a bare task, less on faster machines; "
    "1.2 to 1.7 x were measured."
)
WHOLE_RUN = (
    "profiled: processors waited for the scheduler, up to a second after each task, and worker processes waited up to "
    "5 s for the end of a task. Now the scheduler loops twice a second, workers notice at once that a task has ended, "
    "and the queue `etl` has three slots. What remains is the start of a task, four times per chunk."
)
LIMITED_RUN = (
    "profiled: no requests were sent while all slots transformed and loaded, and the rate limit's burst was deducted "
    "from its pace. Now a slot is kept free for the next download, and the burst is small. What remains: the last "
    "chunk is sealed, transformed and loaded after the response to its last request."
)
VS_DLT = (
    "profiled: of 2.1 s in one process, 0.8 s are Postgres' own for ready rows, which both sides need. dlt, when it is "
    "tuned, neither verifies a hash of its input nor stores what it typed for another task, rejects no record, and "
    "decodes with declared types as Sluice does; so it is as fast as one process of Sluice. Faster would be to hand "
    "typed rows from one step to the next in memory, which four tasks cannot."
)
MERCHANTS_RESYNC = (
    "twenty records are read per row, so that the first load too does little but read them. Its log is so short that "
    "0.2 MB, the catalog's pages for the temporary table of any batch, are a large share of it. Repeated records "
    "within a block are dropped before they are copied; those in different blocks are dropped by a statement."
)
NO_LATENCY = (
    "no bank answers at once. Then the processor time for writing, hashing and compressing a page is compared with "
    "that for discarding it. Profiled and made faster: pages are written without a flush, while the next page is "
    "requested, and are compressed in a separate thread."
)
MANY_CHUNKS = (
    "a chunk of one login has a fixed cost of about 28 ms, and 10 ms for its 1,000 rows. Profiled: some 28 statements, "
    "each with its round trip, three flushes of files, and the conversion of small tables between Arrow and pandas. "
    "Through Airflow each chunk also costs four task starts, more than a second, so that chunks are larger anyway."
)
URGENT = (
    "profiled: an urgent start is 0.5 s of waiting for the scheduler's next loop, and less than 0.1 s of everything "
    "else. During the backlog a loop takes 0.1 to 0.3 s longer, in Airflow's own statements, which is the whole "
    "difference. With Airflow's default of one loop per second, both sides would be slower and the goal would be "
    "reached. 1.47 to 1.75 x were measured within hours, since the two slowest of 40 starts decide. Tried without "
    "effect: to lower the priority of task processes before they read their Dag file."
)
SCHEDULER_LOOP = (
    "profiled: Airflow queries the state of every sibling of each mapped task, chunk by chunk; the limit of 64 chunks "
    "bounds this. Between 1.14 and 1.67 s were measured on one machine, depending on its speed at the time."
)
