#!/bin/bash
# source: here: sample.py --interpolate --gif, README
# expected: a folder that sample.py wrote can be evaluated
. "$(dirname "$0")/../lib.sh"
mobilenet; run=$(kept label) || exit 3; mk noise r 12 16 2; sample "$run" --interpolate 3 --to-seed 5 --label cat --gif 4 --out s; [ $rc = 0 ] || untried sampling
evaluate samples s r --extractor mobilenet --out o; [ $rc = 0 ] && fine "evaluated" || fault "refused over interpolation.gif, which sample.py wrote beside them"
