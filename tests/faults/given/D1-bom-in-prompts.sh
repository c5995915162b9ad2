#!/bin/bash
# source: kohya-ss/sd-scripts#513 (prompt files and encodings); Windows' editor writes a BOM
# expected: the same prompt with a BOM as without (captions are read so)
. "$(dirname "$0")/../lib.sh"
run=$(sd_run) || exit 3; printf '\xef\xbb\xbfa cat\r\n' > a.txt; printf 'a cat\n' > b.txt
sample "$run" --prompts-file a.txt --steps 1 --out a; sample "$run" --prompts-file b.txt --steps 1 --out b
"$PYTHON" -c "import json; raise SystemExit(json.load(open('a/report.json'))['request']['prompts']['prompt'] != json.load(open('b/report.json'))['request']['prompts']['prompt'])" && fine "same" || fault "the first prompt begins with U+FEFF: other tokens, another image"
