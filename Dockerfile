# One image for every service; Compose gives the command. Builds with the legacy builder and with BuildKit.
ARG PYTHON_IMAGE=python:3.11-slim
FROM ${PYTHON_IMAGE}
WORKDIR /app

# Dependencies before sources: an editable install of empty packages brings them, the command and its entry points,
# and stays valid whatever the sources become. The folders of the volumes belong to the default user.
COPY pyproject.toml ./
RUN mkdir -p src/mei services /shared /data /models /research /results \
 && touch README.md src/mei/__init__.py services/__init__.py \
 && pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore --editable '.[postgres]' \
 && chown 1000:1000 /shared /data /models /research /results

# HOME lies in the tmpfs that compose.yml mounts: writable for any UID. The entrypoint fills it from MEI_WARM_CACHE.
ENV HOME=/tmp/home \
    MEI_WARM_CACHE=/opt/mei/cache \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
COPY docker ./docker
COPY config ./config
COPY services ./services
COPY src ./src

# Compile what the loop compiles, so that no container waits for it.
RUN python -m compileall -q src services \
 && HOME=/opt/mei python docker/warm_up.py >/dev/null \
 && mv /opt/mei/.cache "${MEI_WARM_CACHE}" \
 && chmod -R a+rX /opt/mei

USER 1000:1000
ENTRYPOINT ["/bin/sh", "/app/docker/entrypoint.sh"]
CMD ["mei-backtester", "--help"]
