#!/bin/bash
# source: pandas writes whole numbers as 1.0 where a row lacks one
# expected: label 2 draws class 2
. "$(dirname "$0")/../lib.sh"
mk rows d label '[0.0,1.0,2.0,3.0,4.0,5.0,6.0,7.0,8.0,9.0,10.0,11.0]'; r=$(kept fs) || exit 3
train "$(cfg label)" --data.path d --workdir r --first-stage.run "$r" --train.steps 1; [ $rc = 2 ] && fine "refused"
sample r --label 2 --num 1 --steps 1 --out o; "$PYTHON" - <<'P' || fault "--label 2 draws class 10.0"
import json; r = json.load(open("o/report.json")); raise SystemExit(not r["classes"][r["request"]["labels"]["label"][0]].startswith("2"))
P
fine "class 2"
