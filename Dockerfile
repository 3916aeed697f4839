# The server, and the command `framekeep` beside it.
#
#   docker build --build-arg TORCH_INDEX=<index with CPU builds of torch> -t framekeep .
#
# Without TORCH_INDEX the default package index decides; on x86 it brings CUDA builds: an image of several gigabytes
# instead of about 1.7.
FROM python:3.11-slim AS build
ARG TORCH_INDEX=
WORKDIR /source
RUN python -m venv /opt/framekeep
COPY requirements.lock ./
RUN /opt/framekeep/bin/pip install --no-cache-dir --constraint requirements.lock \
        ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch
COPY pyproject.toml README.md ./
COPY clients/python clients/python
COPY service service
COPY encoder encoder
COPY memory_store memory_store
RUN /opt/framekeep/bin/pip install --no-cache-dir --constraint requirements.lock ./clients/python .

FROM python:3.11-slim
RUN useradd --uid 10001 --no-create-home framekeep && install -d -o framekeep -g framekeep /data
COPY --from=build /opt/framekeep /opt/framekeep
ENV PATH=/opt/framekeep/bin:$PATH PYTHONDONTWRITEBYTECODE=1
USER framekeep
VOLUME /data
EXPOSE 50051
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["python", "-m", "service.probe", "127.0.0.1:50051"]
STOPSIGNAL SIGTERM
# Inside a container "all addresses" is the container's own network; what is published decides who can reach it.
ENTRYPOINT ["framekeep-server", "--data", "/data", "--listen", "0.0.0.0:50051", "--insecure"]
