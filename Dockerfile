# docker build -t llm-routing-gateway .
FROM python:3.12-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/venv
# The dependencies are a layer of their own: they change less often than the code.
COPY requirements.lock ./
RUN /opt/venv/bin/pip install --no-deps --require-hashes --only-binary :all: --requirement requirements.lock
# routes.yaml too: the package ships it, by a link to this one.
COPY pyproject.toml README.md LICENSE routes.yaml ./
COPY gateway ./gateway
# What only installs is not needed any more, and what is not there cannot be misused.
RUN /opt/venv/bin/pip install --no-deps --no-build-isolation . \
    && /opt/venv/bin/pip uninstall --yes setuptools pip

FROM python:3.12-slim-bookworm
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONFAULTHANDLER=1 \
    LITELLM_LOCAL_MODEL_COST_MAP=True \
    GATEWAY_DATA_DIR=/data
# By number, so that Kubernetes can see it is not root (runAsNonRoot).
RUN install --directory --owner=10001 --group=10001 --mode=0750 /data
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY routes.yaml ./
USER 10001:10001
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-c", "from http.client import HTTPConnection as C; c = C('127.0.0.1', 8080, timeout=2); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["gateway"]
# Off loopback the gateway starts only when it has keys to ask for, and says so otherwise.
CMD ["serve", "--host", "0.0.0.0"]
