#!/bin/sh
# Checks this bag with nothing but sh, sha256sum, find, sort, sed and wc. Run it in the bag: sh verify.sh
# It proves that the bag is whole and unchanged since it was sealed, not who sealed it: compare the bundle's own SHA-256
# with one that was kept elsewhere.
LC_ALL=C; export LC_ALL
cd "$(dirname "$0")" || exit 2
bad=0
say() { echo "$*" >&2; bad=1; }

sha256sum -c --strict --quiet tagmanifest-sha256.txt || say "a tag file was changed or removed"
sha256sum -c --strict --quiet manifest-sha256.txt || say "an artifact was changed or removed"

# sha256sum does not see what is not listed
listed=$(sed 's/^[0-9a-f]*  //' manifest-sha256.txt | sort)
there=$(find data ! -type d | sort)
[ "$listed" = "$there" ] || say "the files under data/ are not those of the manifest"
listed=$( { sed 's/^[0-9a-f]*  //' tagmanifest-sha256.txt; echo tagmanifest-sha256.txt; } | sort)
there=$(find . -path ./data -prune -o ! -type d -print | sed 's,^\./,,' | sort)
[ "$listed" = "$there" ] || say "the tag files are not those of the tag manifest"
odd=$(find . ! -type d ! -type f)
[ -z "$odd" ] || say "neither files nor directories: $odd"

# each line of the custody log holds the hash of the line before
prev=0000000000000000000000000000000000000000000000000000000000000000
n=0
while IFS= read -r line; do
  n=$((n + 1))
  case $line in
    *"\"prev\":\"$prev\""*) ;;
    *) say "custody.jsonl line $n does not follow from the line before"; break ;;
  esac
  prev=$(printf '%s' "$line" | sha256sum | cut -d' ' -f1)
done <custody.jsonl

[ $bad = 0 ] && echo "whole: $(wc -l <manifest-sha256.txt) artifacts, $n custody records" || echo "NOT WHOLE" >&2
exit $bad
