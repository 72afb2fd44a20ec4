#!/bin/sh
# A client of moonkeep's line protocol in shell: one call, in text, through `nc -U`.
#
#     client.sh SOCKET SCRIPT HANDLER [key=value ...]
#
# The answer is any number of lines, then `done` or `error`; before `error` stands `error: CODE: MESSAGE`.
# A line of the result that would read so has a backslash before it; this client takes it away again.
set -eu
if [ $# -lt 3 ]; then
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
socket=$1
shift

# A value in quotes; quotes and backslashes in it get a backslash. Values of several lines need a client in JSON.
quote() {
    printf '"%s"' "$(printf '%s' "$1" | sed 's/[\\"]/\\&/g')"
}

line=call
for word in "$@"; do
    case ${word%%=*} in
        "$word") line="$line $(quote "$word")" ;;
        *:) line="$line $word" ;; # key:=JSON goes as it is
        *) line="$line ${word%%=*}=$(quote "${word#*=}")" ;;
    esac
done

# A line of the result, without the backslash that escapes it.
show() {
    bare=$1
    while [ "${bare#\\}" != "$bare" ]; do bare=${bare#\\}; done
    case $bare in
        done | error | "error: "*) printf '%s\n' "${1#\\}" ;;
        *) printf '%s\n' "$1" ;;
    esac
}

# The way to nc stays open while the answer is awaited; `bye` at its end makes the daemon close the connection,
# and nc leaves. (A `bye` sent at once would cancel what is still running.)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkfifo "$folder/to"
exec 3<>"$folder/to"
printf '%s\n' "$line" >&3

leave() {
    echo bye >&3
    exit "$1"
}

nc -U "$socket" <"$folder/to" | {
    while IFS= read -r answer; do
        case $answer in
            done) leave 0 ;;
            "error: "*) printf 'client.sh: %s\n' "${answer#error: }" >&2 ;;
            error) leave 1 ;;
            *) show "$answer" ;;
        esac
    done
    echo "client.sh: nobody answers at $socket; is the daemon running?" >&2
    exit 69
}
