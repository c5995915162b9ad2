#!/bin/bash
# source: invoke-ai/InvokeAI#7601, huggingface/diffusers#3664, #5103 (scheduler_config.json not read)
# expected: spacing trailing, as the folder's scheduler says: a zero-SNR model begins at T
. "$(dirname "$0")/../lib.sh"
mk sd-folder f 0 trailing; convert f r; [ $rc = 0 ] || untried import; grep -A6 "sampling=" r/config.py | grep -q "spacing='trailing'" && fine trailing || fault "$(grep -A4 'sampling=' r/config.py | grep -o "spacing='[a-z]*'"): its first time is 902 of 1000 at 10 steps"
