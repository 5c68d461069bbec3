# Stand-ins of the images that docker-compose.yml takes from a registry, for where there is none (tests/compose.sh): the same
# programs, users, paths and environment names as far as that file relies on them. Apache Kafka is its jars from Maven Central,
# and turns its environment into settings with the very class that the official image does; PostgreSQL and Prometheus are
# Debian's.
FROM debian:trixie-slim AS kafka
RUN apt-get update && apt-get install -y --no-install-recommends openjdk-21-jre-headless && rm -rf /var/lib/apt/lists/* && \
    useradd --create-home --uid 1000 appuser && \
    mkdir -p /etc/kafka/docker /etc/kafka/secrets /var/lib/kafka/data /mnt/shared/config /opt/kafka/config && \
    chown -R appuser /etc/kafka /var/lib/kafka /mnt/shared/config /opt/kafka
COPY jars /opt/kafka/libs
COPY kafka-run /etc/kafka/docker/run
USER appuser
EXPOSE 9092
VOLUME ["/etc/kafka/secrets", "/var/lib/kafka/data", "/mnt/shared/config"]
CMD ["/etc/kafka/docker/run"]

FROM debian:trixie-slim AS postgres
RUN mkdir -p /etc/postgresql-common/createcluster.d /docker-entrypoint-initdb.d && \
    echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.d/none.conf && \
    apt-get update && apt-get install -y --no-install-recommends postgresql-17 && rm -rf /var/lib/apt/lists/* && \
    echo "listen_addresses = '*'" >>/usr/share/postgresql/17/postgresql.conf.sample && \
    install -d -o postgres -g postgres -m 700 /var/lib/postgresql/data
COPY postgres-entrypoint /usr/local/bin/docker-entrypoint.sh
ENV PGDATA=/var/lib/postgresql/data PATH=/usr/lib/postgresql/17/bin:/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8
VOLUME ["/var/lib/postgresql/data"]
ENTRYPOINT ["docker-entrypoint.sh"]
STOPSIGNAL SIGINT
EXPOSE 5432
CMD ["postgres"]

FROM debian:trixie-slim AS prometheus
RUN apt-get update && apt-get install -y --no-install-recommends prometheus && rm -rf /var/lib/apt/lists/* && \
    mkdir -p /prometheus && chown nobody /prometheus
USER nobody
EXPOSE 9090
VOLUME ["/prometheus"]
ENTRYPOINT ["prometheus"]

# Compose v2, as Debian 13 has it
FROM debian:trixie-slim AS compose
RUN apt-get update && apt-get install -y --no-install-recommends docker-compose && rm -rf /var/lib/apt/lists/*
ENTRYPOINT ["docker-compose"]
