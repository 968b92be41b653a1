"""The training loop of sentence-transformers on a job (see training_trainer.py)."""

import torch
from safetensors.torch import load_file
from torch import nn
from training_trainer import add_lora, run_trainer, training_arguments


def train(job, turns):
    """A route for each encoder, SentenceTransformerTrainer, MultipleNegativesRankingLoss."""
    from datasets import Dataset, Image
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.base.modules import Dense, Router, Transformer
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from sentence_transformers.sentence_transformer.modules import Pooling

    def route(folder, pooling, tower, **dropout):
        keywords = {"attn_implementation": job["kernel"]} if job["like_for_like"] else {}
        config = dropout if job["like_for_like"] else {}
        transformer = Transformer(str(folder), model_kwargs=keywords, config_kwargs=config)
        weight = load_file(job["projections"])[tower]
        dense = Dense(weight.shape[1], weight.shape[0], False, nn.Identity(), init_weight=weight)
        if job["lora"]:
            add_lora(transformer.model, job)
        return [transformer, Pooling(transformer.get_embedding_dimension(), pooling), dense]

    text = route(job["text"], "mean", "text", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    text[0].max_seq_length = job["max_tokens"]
    model = SentenceTransformer(
        modules=[
            Router.for_query_document(
                query_modules=text, document_modules=route(job["image"], "cls", "image")
            )
        ]
    )
    loss = MultipleNegativesRankingLoss(model)
    if job["like_for_like"]:  # Symmetric like CLIP's; this loss does not train the scale.
        loss = MultipleNegativesRankingLoss(
            model,
            scale=float(torch.tensor(job["logit_scale"]).exp()),
            directions=("query_to_doc", "doc_to_query"),
            partition_mode="per_direction",
        )
    rows = Dataset.from_dict({"caption": job["captions"], "picture": job["pictures"]}).cast_column(
        "picture", Image()
    )
    arguments = SentenceTransformerTrainingArguments(
        router_mapping={"caption": "query", "picture": "document"}, **training_arguments(job)
    )
    trainer = SentenceTransformerTrainer(model=model, args=arguments, train_dataset=rows, loss=loss)

    def first():
        return trainer.data_collator([rows[i] for i in range(job["batch_size"])])

    run_trainer(trainer, first, job, turns)
