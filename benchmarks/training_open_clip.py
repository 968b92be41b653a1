"""The training loop of open_clip on a job (see training_trainer.py)."""

from types import SimpleNamespace

import torch
from safetensors.torch import load_file
from torch import nn

EPOCHS = 1000  # For the schedule only: the worker is stopped long before.


def train(job, turns):
    """CustomTextCLIP of a timm and a Hugging Face encoder, trained by open_clip_train's train_one_epoch."""
    from open_clip import ClipLoss, CustomTextCLIP, image_transform
    from open_clip.tokenizer import HFTokenizer
    from open_clip_train.data import get_csv_dataset
    from open_clip_train.params import parse_args
    from open_clip_train.precision import get_autocast
    from open_clip_train.scheduler import cosine_lr
    from open_clip_train.train import train_one_epoch
    from timm.layers import set_fused_attn

    set_fused_attn(job["kernel"] == "sdpa" or not job["like_for_like"])
    vision = {"timm_model_name": "vit_small_patch14_dinov2", "timm_pool": "", "image_size": job["image_size"]}
    text = {
        "hf_model_name": job["text"],
        "hf_pooler_type": "mean_pooler",
        "hf_proj_type": "linear",
        "hf_model_pretrained": True,
    }
    model = CustomTextCLIP(job["width"], vision, text, init_logit_scale=job["logit_scale"], output_dict=True)
    model.visual.set_input_size(job["image_size"])
    model.visual.trunk.load_state_dict(load_file(job["timm"]))
    projections = load_file(job["projections"])
    model.visual.head.proj.weight = nn.Parameter(projections["image"])
    model.text.proj.weight = nn.Parameter(projections["text"])
    if job["like_for_like"]:
        for module in model.text.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        model.text.transformer.set_attn_implementation(job["kernel"])
    transform = image_transform(
        job["image_size"], not job["like_for_like"], mean=job["image_mean"], std=job["image_std"]
    )
    length = job["max_tokens"] if job["like_for_like"] else 77
    bf16 = job["like_for_like"] and job["precision"] == "bf16"
    arguments = parse_args(
        [
            "--train-data",
            job["csv"],
            "--batch-size",
            str(job["batch_size"]),
            "--workers",
            "0",
            "--model",
            "dinov2",
        ]
        + [
            "--precision",
            "amp_bf16" if bf16 else "fp32",
            "--csv-img-key",
            "picture",
            "--csv-caption-key",
            "caption",
        ]
        + (["--grad-clip-norm", "1.0"] if job["like_for_like"] else [])
        + ["--lr", str(job["learning_rate"]), "--warmup", "8", "--device", "cpu"]
    )
    vars(arguments).update(rank=0, local_rank=0, world_size=1, distributed=False, distill=False, wandb=False)
    data = get_csv_dataset(
        arguments, transform, True, tokenizer=HFTokenizer(job["text"], context_length=length)
    )
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": others, "weight_decay": 0.0}, {"params": matrices, "weight_decay": arguments.wd}],
        lr=arguments.lr,
        betas=(arguments.beta1, arguments.beta2),
        eps=arguments.eps,
    )
    schedule = cosine_lr(optimizer, arguments.lr, arguments.warmup, EPOCHS * data.dataloader.num_batches)
    objective, autocast = ClipLoss(), get_autocast(arguments.precision, device_type="cpu")
    rows = [data.dataloader.dataset[i] for i in range(job["batch_size"])]
    pixels, tokens = torch.stack([row[0] for row in rows]), torch.stack([row[1] for row in rows])

    def bare():
        model.zero_grad()
        with autocast():
            loss = objective(**model(pixels, tokens))
        loss.backward()
        return loss.item()

    for epoch in range(EPOCHS):
        turns.begin(bare)
        train_one_epoch(
            model,
            {"train": data},
            objective,
            epoch,
            optimizer,
            None,
            schedule,
            None,
            arguments,
            SimpleNamespace(add_scalar=lambda *_: None),
        )
        turns.end(data.dataloader.num_batches * job["batch_size"])
