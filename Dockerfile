# The server, for a CPU. Written with care, and not run where it was written: no engine was at hand.
#
#   docker build -t oclear .
#   docker run --rm -p 127.0.0.1:8000:8000 -v "$PWD/run/index:/index" -v "$PWD/run/log:/log" \
#       -v "$PWD/keys.json:/run/secrets/keys.json:ro" oclear

FROM python:3.11-slim AS build
WORKDIR /source
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# What changes rarely first: these layers are kept when only our own code changes. Where pip would take torch for CUDA,
# pass the address of torch's CPU wheels: --build-arg PIP_EXTRA_INDEX_URL=...
ARG PIP_EXTRA_INDEX_URL
COPY constraints.txt ./
RUN pip install -c constraints.txt torch==2.13.0 transformers lancedb onnx onnxruntime fastapi uvicorn
COPY pyproject.toml README.md ./
COPY src ./src
# The encoders' weights are in the index folder itself. For an index on a Milvus server: --build-arg EXTRAS=serve,milvus
ARG EXTRAS=serve
RUN pip install -c constraints.txt ".[${EXTRAS}]"

FROM python:3.11-slim
# A fixed id, so that the volumes' owner can be set to it; no home, no shell.
RUN useradd --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin oclear \
    && install -d -o oclear -g oclear /index /log
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 HOME=/tmp
USER oclear
VOLUME ["/index", "/log"]
EXPOSE 8000
# Loading a large index into memory takes a while before it is ready; the process is alive all the time.
HEALTHCHECK --interval=10s --timeout=3s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
# SIGTERM: not ready at once, five seconds for the balancer to see it, then what was accepted is finished.
STOPSIGNAL SIGTERM
ENTRYPOINT ["oclear", "serve", "--index", "/index", "--log", "/log", "--host", "0.0.0.0", "--keys", "/run/secrets/keys.json"]
CMD ["drain_seconds=5"]
