"""The training loop of transformers on the encoders, images and captions of a job.

Every tool's loop follows its own documentation. A job (see training_data.py) holds what all have in common;
where `like_for_like` is false, precision, padding, attention implementation, dropout and objective are the
tool's defaults. A tool calls `turns.begin(bare)` before every epoch and `turns.end(items)` after it.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

EPOCHS = 1000  # For the schedule only: the worker is stopped long before.


def vision_text_dual_encoder(job, turns):
    """As examples/pytorch/contrastive-image-text/run_clip.py: VisionTextDualEncoderModel and Trainer."""
    from datasets import Dataset
    from torchvision.io import ImageReadMode, read_image
    from torchvision.transforms import CenterCrop, ConvertImageDtype, InterpolationMode, Normalize, Resize
    from transformers import AutoTokenizer, Trainer, TrainingArguments

    model = dual_encoder(job)
    tokenizer = AutoTokenizer.from_pretrained(job["text"])
    transform = torch.jit.script(
        nn.Sequential(
            Resize([job["image_size"]], interpolation=InterpolationMode.BICUBIC),
            CenterCrop(job["image_size"]),
            ConvertImageDtype(torch.float),
            Normalize(job["image_mean"], job["image_std"]),
        )
    )
    length = job["max_tokens"] if job["like_for_like"] else 128

    def tokenize(examples):
        return tokenizer(examples["caption"], max_length=length, padding="max_length", truncation=True)

    def read(examples):
        pixels = [transform(read_image(path, mode=ImageReadMode.RGB)) for path in examples["picture"]]
        return examples | {"pixel_values": pixels}

    def collate(examples):
        names = ("input_ids", "attention_mask")
        batch = {name: torch.tensor([example[name] for example in examples]) for name in names}
        return batch | {
            "pixel_values": torch.stack([example["pixel_values"] for example in examples]),
            "return_loss": True,
        }

    rows = Dataset.from_dict({"picture": job["pictures"], "caption": job["captions"]})
    rows = rows.map(tokenize, batched=True, remove_columns=["caption"])
    rows.set_transform(read)
    arguments = TrainingArguments(remove_unused_columns=False, **training_arguments(job))
    trainer = Trainer(model=model, args=arguments, train_dataset=rows, data_collator=collate)
    first = collate([rows[i] for i in range(job["batch_size"])])
    run_trainer(trainer, lambda: first, job, turns)


def trainer_on_tensors(job, turns):
    """The same Trainer on data prepared once instead of in every epoch: its best case."""
    from transformers import Trainer, TrainingArguments

    model, prepared = dual_encoder(job), torch.load(job["tensors"], mmap=False)
    rows = [
        {"pixel_values": pixels, "input_ids": ids[:length]}
        for pixels, ids, length in zip(
            prepared["pixels"], prepared["ids"].tolist(), prepared["lengths"].tolist()
        )
    ]

    def collate(examples):
        length = max(len(example["input_ids"]) for example in examples)
        ids = torch.tensor([e["input_ids"] + [0] * (length - len(e["input_ids"])) for e in examples])
        pixels = torch.stack([example["pixel_values"] for example in examples])
        return {
            "pixel_values": pixels,
            "input_ids": ids,
            "attention_mask": (ids != 0).long(),
            "return_loss": True,
        }

    arguments = TrainingArguments(remove_unused_columns=False, **training_arguments(job))
    trainer = Trainer(model=model, args=arguments, train_dataset=rows, data_collator=collate)
    first = collate(rows[: job["batch_size"]])
    run_trainer(trainer, lambda: first, job, turns)


def dual_encoder(job):
    """VisionTextDualEncoderModel of the two encoders, with mean-pooled text if like for like."""
    from transformers import AutoConfig, AutoModel, BertModel, VisionTextDualEncoderModel

    class MeanPooledBert(BertModel):
        def forward(self, attention_mask=None, **inputs):
            output = super().forward(attention_mask=attention_mask, **inputs)
            weights = attention_mask.to(output.last_hidden_state.dtype)[:, :, None]
            output.pooler_output = (output.last_hidden_state * weights).sum(1) / weights.sum(1)
            return output

    if not job["like_for_like"]:
        return VisionTextDualEncoderModel.from_vision_text_pretrained(
            job["image"], job["text"], projection_dim=job["width"]
        )
    config = AutoConfig.from_pretrained(
        job["text"], hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )
    text = MeanPooledBert.from_pretrained(job["text"], config=config, add_pooling_layer=False)
    model = VisionTextDualEncoderModel(vision_model=AutoModel.from_pretrained(job["image"]), text_model=text)
    for projection, tower in ((model.visual_projection, "image"), (model.text_projection, "text")):
        projection.weight = nn.Parameter(load_file(job["projections"])[tower])
    model.logit_scale.data.fill_(job["logit_scale"])
    for encoder in (model.vision_model, model.text_model):
        encoder.set_attn_implementation(job["kernel"])
        if job["lora"]:
            add_lora(encoder, job)
    return model


def training_arguments(job):
    """Arguments of both trainers; like for like, they include this project's optimiser and schedule."""
    common = {
        "output_dir": str(Path(job["folder"]) / "trainer"),
        "per_device_train_batch_size": job["batch_size"],
        "dataloader_drop_last": True,
        "num_train_epochs": EPOCHS,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
    }
    if not job["like_for_like"]:
        return common
    return common | {
        "bf16": job["precision"] == "bf16",
        "learning_rate": job["learning_rate"],
        "weight_decay": 0.01,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 8,
    }


def run_trainer(trainer, first, job, turns):
    """Train in turns. `first()` gives the inputs of the bare forward and backward pass: the first items."""
    from transformers import TrainerCallback

    class InTurns(TrainerCallback):
        def on_epoch_begin(self, args, state, control, **kwargs):
            turns.begin(bare)

        def on_epoch_end(self, args, state, control, **kwargs):
            turns.end(len(trainer.train_dataset) // job["batch_size"] * job["batch_size"])

    inputs = trainer._prepare_inputs(first())

    def bare():
        trainer.model.zero_grad()
        with trainer.compute_loss_context_manager():
            loss = trainer.compute_loss(trainer.model, {**inputs})
        loss.backward()
        return loss.item()

    trainer.add_callback(InTurns())
    trainer.train()


def add_lora(encoder, job):
    """Add LoRA to query and value of every layer, by peft through transformers; all else is frozen."""
    from peft import LoraConfig

    encoder.requires_grad_(False)
    encoder.add_adapter(
        LoraConfig(r=job["lora"]["r"], lora_alpha=job["lora"]["alpha"], target_modules=["query", "value"])
    )
