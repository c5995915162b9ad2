#!/bin/bash
# source: Stability-AI/stablediffusion#174, basujindal/stable-diffusion#86, huggingface/diffusers#846 (output files)
# expected: files that sample.py did not write stay: refused without report.json of its own, or other names
. "$(dirname "$0")/../lib.sh"
run=$(kept label) || exit 3; mk plain p 1; mkdir mine; for i in $(seq 0 29); do cp p/00.png "mine/$(printf %06d "$i").png"; done
sample "$run" --num 2 --steps 1 --out mine; n=$(ls mine/0*.png | wc -l); [ "$n" = 30 ] && [ $rc = 2 ] && fine "untouched" || fault "30 images of the user's were $n after sample.py --out mine"
