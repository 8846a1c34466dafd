# One image for every service; Compose gives the command. Builds with the legacy builder and with BuildKit.
ARG PYTHON_IMAGE=python:3.11-slim
FROM ${PYTHON_IMAGE}
# Of pyproject.toml: compose.gpu.yml adds `cuda`.
ARG EXTRAS=postgres,cluster,tpe,parquet,live
WORKDIR /app

# Dependencies before sources: an editable install of empty packages brings them, the command and its entry points,
# and stays valid whatever the sources become. The folders of the volumes belong to the default user.
COPY pyproject.toml ./
RUN mkdir -p src/mei services /shared /data /models /cache /research /results \
 && touch README.md src/mei/__init__.py services/__init__.py \
 && pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore --editable ".[${EXTRAS}]" \
 && chown 1000:1000 /shared /data /models /cache /research /results

# Compiled code goes to $HOME/.cache: a volume, so that it is compiled once a version and not at every start.
ENV HOME=/cache PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
COPY . .
RUN python -m compileall -q src services docker

USER 1000:1000
CMD ["mei-backtester", "--help"]
