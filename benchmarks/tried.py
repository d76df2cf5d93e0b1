"""What was done to reach goals that are missed, and what stands in the way."""

ORCHESTRATION = (
    "profiled: what workers load in advance (`PRELOADED`) and Dag files that build one Dag made a task of ours a "
    "quarter cheaper and a bare one, too. What is left over a bare task is Airflow's: the label of a mapped task, "
    "which is sent twice, the result that is handed on, the count of siblings, and the scheduler's look at four "
    "steps a chunk."
)
WHOLE_RUN = (
    "profiled: processors waited for the scheduler, up to a second each time that a task ended, and processes of "
    "workers for the end of a task, up to 5 s. The scheduler looks twice a second now, workers attend their tasks, and "
    "the queue `etl` has three slots. What is left is the start of a task, four times a chunk."
)
LIMITED_RUN = (
    "profiled: nobody asked the bank while all slots typed and loaded, and the limit's burst was held back from its "
    "pace. A slot is left for the next download now, and the burst is small. What is left: the last chunk is sealed, "
    "typed and loaded when its last request is answered."
)
BESIDE_DLT = (
    "half of what Sluice takes is what Postgres takes for ready rows in this table (`benchmarks.loading`), whoever "
    "loads it; the two references alone take 1.35 s for 200,000 rows. Profiled and made faster: columns instead of "
    "records, look-ups by key instead of a join that reads the table, no spilling, inserts without `on conflict`. "
    "Not done: to drop the references, which would save a quarter of the time and lose the guarantee."
)
MERCHANTS_AGAIN = (
    "twenty records are read for each row, so that a first load, too, does little but read them; and its log is so "
    "short that 0.2 MB, which the catalog's pages take for the temporary table of any batch, is much beside it. "
    "Not done: to drop the repeated records when they are typed, which would make both loads faster alike."
)
ANSWERED_AT_ONCE = (
    "no bank answers at once; then what counts is the processor time of writing, hashing and compressing each page "
    "beside that of dropping it. Profiled and made faster: pages land without a flush and while the next is asked "
    "for, and are compressed in a thread of their own."
)
MANY_CHUNKS = (
    "a chunk of one login costs what any chunk does, some 50 ms, beside 35 ms for its 1,000 rows. Profiled: two files, "
    "a temporary table and 28 statements, of which none stands out. Through Airflow each chunk costs four starts of a "
    "task besides, more than a second, so that chunks are cut larger anyway."
)
