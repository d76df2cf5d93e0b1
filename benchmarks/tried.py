"""What was done to reach goals that are missed, and what stands in the way."""

ORCHESTRATION = (
    "profiled: what workers load in advance (`PRELOADED`) and Dag files that build one Dag made a task of ours a "
    "quarter cheaper and a bare one, too. What is left over a bare task is Airflow's: the label of a mapped task, "
    "which is sent twice, the result that is handed on, the count of siblings, and the scheduler's look at four "
    "steps a chunk."
)
WHOLE_RUN = (
    "profiled: with two slots the processors wait for the scheduler for a third of the time, a second at most each "
    "time that a task ends. `[scheduler] scheduler_idle_sleep_time = 0.25` gives 1.64 x, but makes an urgent task "
    "wait 2.4 s at p95 under a backlog, instead of 1.55; three slots for the queue `etl` give 1.67 x, but 1.55 x "
    "at an urgent start where 1.5 is allowed (2 slots: 1.36 x)."
)
LIMITED_RUN = (
    "while both slots of the queue `etl` type and load, nobody asks the bank, and what its limit would have "
    "allowed, beyond a burst of 50, is lost; the last chunk is still typed and loaded when its last request is "
    "answered. A third slot would help, at the cost of urgent starts under a backlog (1.55 x instead of 1.36 x)."
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
    "a chunk of one login costs what any chunk does, some 50 ms, beside 35 ms for its 1,000 rows: two files, a "
    "temporary table and a transaction. Rows have become faster, and what a chunk costs has not; nothing was tried."
)
