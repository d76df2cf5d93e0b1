# One image for every part of Sluice; the command of a container selects its part. Target `demo` adds the sandbox bank.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS requirements
ARG REQUIREMENTS=requirements.lock
WORKDIR /build
COPY ${REQUIREMENTS} requirements.lock
# An optional pip.conf, for example with a private index, comes as a build secret; it is not stored in any layer.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=cache,target=/root/.cache/pip \
    python -m venv /opt/venv \
    && /opt/venv/bin/python -m pip install --disable-pip-version-check --no-deps --require-hashes \
        --requirement requirements.lock


FROM ${BASE_IMAGE} AS sluice
LABEL org.opencontainers.image.title="Sluice" \
    org.opencontainers.image.description="Bank accounts, transactions and merchants into Postgres, and notifications to millions, on Apache Airflow and Celery"

# tini sends signals to the worker only, which lets its tasks finish. No version is pinned, since Debian's release fixes it.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 sluice \
    && useradd --uid 10001 --gid sluice --home-dir /tmp --no-create-home --shell /usr/sbin/nologin sluice \
    && install --directory --owner=sluice --group=sluice --mode=0700 /srv/sluice/raw /srv/sluice/logs

COPY --from=requirements /opt/venv /opt/venv
WORKDIR /opt/sluice
COPY pyproject.toml README.md ./
COPY include include
COPY plugins plugins
COPY dags dags
COPY deploy deploy
# airflow.cfg is empty: every setting is in the environment, and Airflow would otherwise generate a full file. Files keep
# the modes of the clone, whose umask may have let nobody but its owner read them.
RUN find . ! -perm -go=r -exec chmod go+rX {} + \
    && /opt/venv/bin/python -m pip install --disable-pip-version-check --no-cache-dir --no-deps --no-build-isolation \
        --no-index --editable . \
    && touch airflow.cfg \
    && /opt/venv/bin/python -m compileall -q include plugins dags deploy

# Only /tmp and /srv/sluice are written to, so the root file system may be read-only.
ENV PATH=/opt/venv/bin:$PATH \
    LANG=C.UTF-8 \
    PYTHONPATH=/opt/sluice/include \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SLUICE_RAW_ROOT=file:///srv/sluice/raw \
    AIRFLOW_HOME=/tmp/airflow \
    AIRFLOW_CONFIG=/opt/sluice/airflow.cfg \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/sluice/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/sluice/plugins \
    AIRFLOW__LOGGING__BASE_LOG_FOLDER=/srv/sluice/logs \
    AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY=/srv/sluice/logs/dag_processor \
    AIRFLOW__LOGGING__COLORED_CONSOLE_LOG=False

# The same as in dev/stack/airflow_environment.py, which gives the reasons; a test compares the two.
ENV AIRFLOW__CORE__EXECUTOR=CeleryExecutor \
    AIRFLOW__CORE__DEFAULT_TIMEZONE=utc \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    AIRFLOW__CORE__PARALLELISM=32 \
    AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL=5 \
    AIRFLOW__CORE__XCOM_BACKEND=sluice_xcom_backend.CappedXCom \
    AIRFLOW__CELERY__CELERY_CONFIG_OPTIONS=sluice_celery_config.CELERY_CONFIG \
    AIRFLOW__CELERY__OPERATION_TIMEOUT=10 \
    AIRFLOW__CELERY__TASK_ACKS_LATE=True \
    AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__QUEUE_ORDER_STRATEGY=priority \
    AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT=86400 \
    AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME=0.5 \
    AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT=90 \
    AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL=15 \
    AIRFLOW__SCHEDULER__NUM_STUCK_IN_QUEUED_RETRIES=10 \
    AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT=60 \
    AIRFLOW__SCHEDULER__PARSING_CLEANUP_INTERVAL=5 \
    AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL=10 \
    AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL=10 \
    AIRFLOW__DAG_PROCESSOR__STALE_DAG_THRESHOLD=15 \
    AIRFLOW__DAG_PROCESSOR__STALE_BUNDLE_CLEANUP_INTERVAL=0 \
    AIRFLOW__API__WORKERS=1 \
    AIRFLOW__LOGGING__NAMESPACE_LEVELS="http.access=WARNING airflow.dag_processing=WARNING airflow.serialization=WARNING airflow.models.dag=WARNING"

USER 10001
# No health check here: each part needs its own (deploy/healthy.py), so the services of the Compose file have them.
ENTRYPOINT ["tini", "--"]
CMD ["airflow", "version"]


FROM requirements AS demo-requirements
COPY requirements-dev.lock .
# Only the mail server's two packages of the development requirements.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=cache,target=/root/.cache/pip \
    sed -nE '/^(aiosmtpd|atpublic)==/,/[^\\]$/p' requirements-dev.lock >requirements.lock \
    && /opt/venv/bin/python -m pip install --disable-pip-version-check --no-deps --require-hashes \
        --target /opt/demo --requirement requirements.lock \
    && rm -r /opt/demo/aiosmtpd/tests


FROM sluice AS demo
COPY --from=demo-requirements /opt/demo /opt/demo
COPY dev dev
ENV PYTHONPATH=/opt/sluice/include:/opt/demo
USER 0
RUN find . ! -perm -go=r -exec chmod go+rX {} + \
    && install --directory --owner=sluice --group=sluice --mode=0700 /srv/sluice/bank /srv/sluice/mails
USER 10001


# The last stage is built if no target is given.
FROM sluice
