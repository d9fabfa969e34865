#!/bin/sh
# Brings a library of your notes up to date and asks it a question. No service, no timer: indexing takes milliseconds
# when nothing has changed, so it is simply done before every question.
#
#   ask-my-notes.sh 'Which pins are ground?'
#
# NOTES    folder of text, Markdown and HTML files   [default: ~/notes]
# LIBRARY  where the index is kept                   [default: ~/.cache/attar/notes.attarlib]
# ATTAR    the program                               [default: attar]
#
# Exit codes are attar's: 0 answered, 1 no answer found, 2 something is wrong.
set -eu

attar=${ATTAR:-attar}
notes=${NOTES:-$HOME/notes}
library=${LIBRARY:-${XDG_CACHE_HOME:-$HOME/.cache}/attar/notes.attarlib}

if [ $# -eq 0 ]; then
    echo "usage: $0 QUESTION [options of attar ask]" >&2
    exit 2
fi
mkdir -p "$(dirname "$library")"
"$attar" index "$notes" -o "$library" >/dev/null
exec "$attar" ask "$@" --library "$library"
