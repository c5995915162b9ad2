"""Makes the small inputs of the fault scripts: python mk.py WHAT ARGUMENTS.

With numpy, Pillow and safetensors alone.
"""

import json
import sys
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
OPTIM = "optim=Optim(lr=1e-3, warmup=1, ema_decay=0.9)"
DATA = "data=Data(image_size=16, batch_size=4)"
STAGE = """model=KLAutoencoder(
        channels=8, channel_mults=(1, 2), num_res_blocks=1, z_channels=2, norm_groups=4,
        mid_attention=False,
    )"""
CONDITIONS = {
    "plain": ("", 1.0),
    "label": ("Label(dim=16),", 2.0),
    "text": ("Text(dim=16, layers=1, num_heads=2, head_dim=8, length=12, vocab_size=300),", 2.0),
}


def train(steps):
    return f"train=Train(steps={steps}, save_every=2, log_every=1, sample_every=0, num_samples=2)"


def config(kind):
    head = "from ldm_jax.config import *\n\nconfig = "
    if kind == "fs":
        return f"{head}FirstStageExperiment({DATA}, {STAGE}, {OPTIM}, {train(3)})\n"
    if kind == "clip":
        model = """model=CLIPModel(
        dim=16, patch=8, vision_channels=16, vision_layers=1, vision_heads=2, text_channels=16,
        text_layers=1, text_heads=2, length=16, vocab_size=600,
    )"""
        return f"{head}CLIPExperiment({DATA}, {model}, {OPTIM}, {train(3)})\n"
    if kind == "sd":
        return f"""{head}Experiment(
    data=Data(image_size=16),
    first_stage=FirstStageExperiment(
        model=KLAutoencoder(channels=32, channel_mults=(1, 2), num_res_blocks=1)
    ),
    latent_scale=0.18215,
    model=UNet(
        channels=32, channel_mults=(1, 2), num_res_blocks=1, attention_factors=(1,), num_heads=4
    ),
    conditions=(CLIPText(dim=32, layers=2, num_heads=2, head_dim=16, vocab_size=697),),
    diffusion=Diffusion(schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
    sampling=Sampling(steps=3, guidance=7.5),
)
"""
    what, guidance = CONDITIONS[kind]
    return f"""{head}Experiment(
    {DATA},
    first_stage=FirstStageExperiment({STAGE}, {OPTIM}, {train(3)}),
    latent_scale="channels",
    model=UNet(
        channels=8, channel_mults=(1,), num_res_blocks=1, attention_factors=(1,), num_heads=2,
        norm_groups=4,
    ),
    conditions=({what}),
    diffusion=Diffusion(schedule="cosine", prediction="v"),
    sampling=Sampling(steps=3, spacing="trailing", guidance={guidance}),
    {OPTIM},
    {train(4)},
)
"""


def images(n, size=24, seed=0):
    r = np.random.default_rng(seed)
    for _ in range(n):
        a = np.zeros((size, size, 3), np.uint8)
        a[:] = r.integers(0, 256, 3)
        a[: size // 2] = r.integers(0, 256, 3)
        yield Image.fromarray(a)


def plain(root, n=8, size=24, seed=0):
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    for i, p in enumerate(images(int(n), int(size), int(seed))):
        p.save(root / f"{i:02}.png")
    return root


def noise(root, n=12, size=32, seed=0):
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    r = np.random.default_rng(int(seed))
    for i in range(int(n)):
        Image.fromarray(r.integers(0, 256, (int(size), int(size), 3)).astype(np.uint8)).save(
            root / f"{i:03}.png"
        )


def rows(root, field, values, n=8):
    root = plain(root, n)
    with open(root / "metadata.jsonl", "w", encoding="utf-8") as f:
        for i, v in enumerate(values):
            f.write(json.dumps({"file_name": f"{i:02}.png", field: v}, ensure_ascii=False) + "\n")


def drawn(shapes):
    out = {}
    for k, s in shapes.items():
        r = np.random.default_rng(zlib.crc32(k.encode()))
        x = r.normal(0, 0.05, s)
        out[k] = (x + (1.0 if "norm" in k and k.endswith("weight") else 0)).astype(np.float32)
    return out


def known():
    return json.loads((HERE / "sd-tiny.json").read_text())


def tables():
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=np.float64) ** 2
    a = np.cumprod(1 - betas)
    return {"betas": betas.astype(np.float32), "alphas_cumprod": a.astype(np.float32)}


def sd_state(dtype=None):
    shapes = {
        k: s
        for k, s in known()["shapes"]["single"].items()
        if k.startswith(("model.", "first_stage", "cond_stage"))
    }
    state = {**drawn(shapes), **tables()}
    return {k: v.astype(dtype) for k, v in state.items()} if dtype is not None else state


def save(path, state):
    from safetensors.numpy import save_file

    save_file({k: np.ascontiguousarray(v) for k, v in state.items()}, path)


def byte_letters():
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(b) for b in own] + [chr(256 + i) for i in range(256 - len(own))]


def pairs():
    return [(a, b) for a in "abcdefghijklmnopqrstuvwxyz" for b in "aeioust"] + [("ca", "t</w>")]


def merges(path):
    Path(path).write_text(
        "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in pairs()), encoding="utf-8"
    )


def sd_folder(root, added=0, spacing=None):
    root = Path(root)
    k = known()
    shapes = k["shapes"]
    added = int(added)
    for part in shapes:
        if part == "single":
            continue
        (root / part).mkdir(parents=True)
        state = drawn(shapes[part])
        for key in state:
            if "token_embedding" in key and added:
                state[key] = np.concatenate([state[key], state[key][:added]])
        save(
            str(
                root
                / part
                / (
                    "model.safetensors"
                    if part == "text_encoder"
                    else "diffusion_pytorch_model.safetensors"
                )
            ),
            state,
        )
    (root / "scheduler").mkdir()
    (root / "tokenizer").mkdir()
    for name, c in k["configs"].items():
        if name.startswith("text_encoder"):
            c["vocab_size"] += added
        if name.startswith("scheduler") and spacing:
            c = {
                "_class_name": "DDIMScheduler",
                "beta_start": 0.00085,
                "beta_end": 0.012,
                "beta_schedule": "scaled_linear",
                "num_train_timesteps": 1000,
                "prediction_type": "v_prediction",
                "rescale_betas_zero_snr": True,
                "timestep_spacing": spacing,
                "clip_sample": False,
                "set_alpha_to_one": True,
                "steps_offset": 0,
            }
        (root / name).write_text(json.dumps(c))
    t = root / "tokenizer"
    u = byte_letters()
    vocab = (
        u
        + [x + "</w>" for x in u]
        + [a + b for a, b in pairs()]
        + ["<|startoftext|>", "<|endoftext|>"]
    )
    (t / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(vocab)}))
    merges(t / "merges.txt")
    (t / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "CLIPTokenizer",
                "model_max_length": 77,
                "bos_token": "<|startoftext|>",
                "eos_token": "<|endoftext|>",
                "pad_token": "<|endoftext|>",
                "unk_token": "<|endoftext|>",
                "do_lower_case": True,
            }
        )
    )
    if added:
        (t / "added_tokens.json").write_text(
            json.dumps({f"<mine{i}>": len(vocab) + i for i in range(added)})
        )


def torch_file(path, tree):
    """A tree of dicts with float32 arrays as torch.save writes it, without torch."""
    import io
    import pickle
    import types
    import zipfile

    utils, torch = types.ModuleType("torch._utils"), types.ModuleType("torch")

    def _rebuild_tensor_v2(*_):
        pass

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = (
        "torch._utils",
        "_rebuild_tensor_v2",
    )

    class FloatStorage:
        pass

    FloatStorage.__module__, FloatStorage.__qualname__ = "torch", "FloatStorage"
    utils._rebuild_tensor_v2, torch.FloatStorage, torch._utils = (
        _rebuild_tensor_v2,
        FloatStorage,
        utils,
    )
    sys.modules.update({"torch": torch, "torch._utils": utils})
    held = []

    class Tensor:
        def __init__(self, x):
            self.x = np.ascontiguousarray(x, np.float32)

        def __reduce__(self):
            strides = tuple(n // 4 for n in self.x.strides)
            return _rebuild_tensor_v2, (Storage(self.x), 0, self.x.shape, strides, False, {})

    class Storage:
        def __init__(self, x):
            self.x = x

    class Pickler(pickle.Pickler):
        def persistent_id(self, o):
            if not isinstance(o, Storage):
                return None
            held.append(o.x)
            return ("storage", FloatStorage, str(len(held) - 1), "cpu", o.x.size)

    def wrapped(t):
        return (
            {k: wrapped(v) for k, v in t.items()}
            if isinstance(t, dict)
            else Tensor(t)
            if isinstance(t, np.ndarray)
            else t
        )

    data = io.BytesIO()
    Pickler(data, 2).dump(wrapped(tree))
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("a/data.pkl", data.getvalue())
        z.writestr("a/version", "3\n")
        for i, x in enumerate(held):
            z.writestr(f"a/data/{i}", x.tobytes())
    for name in ("torch", "torch._utils"):
        sys.modules.pop(name)


if __name__ == "__main__":
    what, *a = sys.argv[1:]
    if what == "config":
        print(config(a[0]), end="")
    elif what == "plain":
        plain(*a)
    elif what == "noise":
        noise(*a)
    elif what == "classes":
        for i, c in enumerate(a[1:] or ("cat", "dog")):
            plain(f"{a[0]}/{c}", 6, 24, i)
    elif what == "captions":
        rows(a[0], "text", [f"an image, number {i}" for i in range(8)])
    elif what == "rows":
        rows(a[0], a[1], json.loads(a[2]), len(json.loads(a[2])))
    elif what == "sd-file":
        save(a[0], sd_state())
    elif what == "merges":
        merges(a[0])
    elif what == "sd-folder":
        sd_folder(*a)
    else:
        sys.exit(f"unknown {what}")
