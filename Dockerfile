# Textkeep: one image for every process; the command says which one it is. `docker compose build` builds it.
# A tag says which version; where images are mirrored, pin their digests as well (docs/deploy.md).

FROM python:3.11.14-slim-trixie AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_NO_INPUT=1

WORKDIR /src
RUN python -m venv /opt/textkeep \
 && python -m venv /opt/build
COPY requirements-service.lock requirements-build.lock ./
RUN /opt/textkeep/bin/python -m pip install --require-hashes --only-binary :all: -r requirements-service.lock \
 && /opt/build/bin/python -m pip install --require-hashes --only-binary :all: -r requirements-build.lock
COPY pyproject.toml README.md ./
COPY textkeep textkeep
RUN /opt/build/bin/python -m pip wheel --no-build-isolation --no-deps --wheel-dir /opt/wheels . \
 && /opt/textkeep/bin/python -m pip install --no-index --no-deps --find-links /opt/wheels textkeep \
 && /opt/textkeep/bin/python -m pip check \
 && /opt/textkeep/bin/python -m pip uninstall --yes pip setuptools \
 && /opt/textkeep/bin/textkeep --version
COPY deploy/image /opt/textkeep/image

FROM python:3.11.14-slim-trixie

ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="textkeep" \
      org.opencontainers.image.description="A compliance archive for business text messages" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# Whoever runs here owns nothing of the program; what it writes lies in these folders, and volumes are put there.
RUN groupadd --system --gid 10001 textkeep \
 && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin textkeep \
 && install -d -m 0700 -o textkeep -g textkeep \
      /var/lib/textkeep /var/lib/textkeep/data /var/lib/textkeep/keyring \
      /var/lib/textkeep/roots /var/lib/textkeep/consumer \
 && rm -rf /usr/local/lib/python3.11/site-packages/pip /usr/local/lib/python3.11/site-packages/setuptools
COPY --from=build /opt/textkeep /opt/textkeep

ENV PATH=/opt/textkeep/bin:/usr/local/bin:/usr/bin:/bin \
    LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    TEXTKEEP_DATA=/var/lib/textkeep/data \
    HEALTH_URL=http://127.0.0.1:8400/healthz

WORKDIR /var/lib/textkeep
USER 10001:10001
EXPOSE 8400
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=4 \
    CMD ["/opt/textkeep/bin/python", "-I", "-S", "/opt/textkeep/image/healthy.py"]
ENTRYPOINT ["/bin/sh", "/opt/textkeep/image/start.sh"]
CMD ["--help"]
