#!/bin/bash
# source: AUTOMATIC1111/stable-diffusion-webui#6923, #10227, huggingface/diffusers#5103
# expected: status 1 and one line: image 0 is not finite
. "$(dirname "$0")/../lib.sh"
mk merges m.txt; "$PYTHON" - <<P
import sys; sys.path.insert(0, "$HERE"); import mk, numpy as np; s = mk.sd_state(); k = sorted(k for k in s if k.startswith("model.") and k.endswith("weight"))[5]; s[k][...] = np.nan; mk.save("c.safetensors", s)
P
convert c.safetensors r --config "$(cfg sd)" --tokenizer m.txt; [ $rc = 0 ] || fine "refused at import"
sample r --prompt a --steps 1 --out o; [ $rc = 0 ] && fault "a black PNG, and status 0" || fine "rc $rc"
