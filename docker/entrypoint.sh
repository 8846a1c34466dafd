#!/bin/sh
# Give this container its own writable copy of the compiled code in the image, then become the command.
set -eu
if [ ! -d "$HOME/.cache" ]; then
  mkdir -p "$HOME"
  cp -r "$MEI_WARM_CACHE" "$HOME/.cache"
fi
exec "$@"
