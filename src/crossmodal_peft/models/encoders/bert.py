"""BERT and RoBERTa text encoders."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from crossmodal_peft.data.encoder_folder import configuration, load_tokenizer, require_limits

MODALITY = "text"
LAYERS = "encoder.layer"
FINAL: list[str] = []
ROLES = {
    "attention": "attention.self",
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_output": "attention.output.dense",
    "feed_forward_in": "intermediate.dense",
    "feed_forward_out": "output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "feed_forward_norm": "output.LayerNorm",
}


def classes(model_type: str) -> tuple[Any, dict[str, Any]]:
    """The model class for a model type, and its keywords, which leave out the pooler."""
    if model_type == "bert":
        from transformers.models.bert.modeling_bert import BertModel

        return BertModel, {"add_pooling_layer": False}
    if model_type == "roberta":
        from transformers.models.roberta.modeling_roberta import RobertaModel

        return RobertaModel, {"add_pooling_layer": False}
    raise ValueError(f"the family bert loads model types bert and roberta, not {model_type!r}")


def preparer(folder: Path, settings: Any) -> Callable[[list[str]], tuple[np.ndarray, np.ndarray]]:
    """A function from texts to token ids (batch, max_tokens), padded, and token counts (batch,)."""
    config = configuration(folder, classes)
    tokenizer = load_tokenizer(folder, config)
    positions = config.max_position_embeddings
    if config.model_type == "roberta":  # Its positions are counted from the id of the padding.
        positions -= config.pad_token_id + 1
    least = tokenizer.num_special_tokens_to_add() + 1
    require_limits("max_tokens", settings.max_tokens, least, positions, folder)

    def prepare(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        tokens = tokenizer(
            texts, padding="max_length", truncation=True, max_length=settings.max_tokens, return_tensors="np"
        )
        return tokens["input_ids"].astype(np.int32), tokens["attention_mask"].sum(1)

    return prepare


def embed(model: Any, inputs: Tensor) -> Tensor:
    """Token ids (batch, tokens) → (batch, tokens, width)."""
    return model.embeddings(input_ids=inputs.long())


def run_layer(layer: nn.Module, hidden: Tensor, mask: Tensor | None) -> Tensor:
    """Run one layer; `mask` (batch, 1, 1, tokens) is true for keys that are not padding."""
    return layer(hidden, mask)
