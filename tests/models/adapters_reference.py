"""Writes adapters_reference.safetensors: outputs of the `adapters` library, which needs transformers 4.

Needs its own environment (adapters 1.3.0, transformers 4.57.6):
    python -m venv reference && reference/bin/pip install adapters==1.3.0 torch safetensors
    reference/bin/python tests/models/adapters_reference.py
"""

from pathlib import Path

import adapters
import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertModel

SIZE = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
CONFIG = BertConfig(vocab_size=11, max_position_embeddings=8, hidden_act="gelu", **SIZE)
SHAPE = {"reduction_factor": 2, "original_ln_before": False}
VARIANTS = {
    "houlsby": adapters.DoubleSeqBnConfig(non_linearity="gelu", **SHAPE),
    "pfeiffer": adapters.SeqBnConfig(non_linearity="relu", **SHAPE),
    "parallel": adapters.ParBnConfig(non_linearity="relu", **SHAPE),
}


def main() -> None:
    torch.manual_seed(0)
    base = BertModel(CONFIG, add_pooling_layer=False)
    for parameter in base.parameters():
        parameter.data = 0.3 * torch.randn_like(parameter)
    tensors = {f"base.{name}": p.detach().clone() for name, p in base.named_parameters()}
    tensors["tokens"] = torch.randint(1, 11, (3, 6))
    tensors["lengths"] = torch.tensor([6, 2, 4])
    mask = torch.arange(6) < tensors["lengths"][:, None]
    for variant, config in VARIANTS.items():
        model = BertModel(CONFIG, add_pooling_layer=False).eval()
        model.load_state_dict(base.state_dict())
        adapters.init(model)
        model.add_adapter("it", config=config)
        model.set_active_adapters("it")
        for name, parameter in model.named_parameters():
            if ".adapters.it." in name:
                parameter.data = 0.3 * torch.randn_like(parameter)
                block, _, rest = name.partition(".adapters.it.")
                place = {"adapter_down.0": 0, "adapter_up": 2}[rest.rpartition(".")[0]]
                ours = f"{block}.dense.adapter.{place}.{rest.rpartition('.')[2]}"
                tensors[f"{variant}.{ours}"] = parameter.detach().clone()
        output = model(tensors["tokens"], attention_mask=mask.long()).last_hidden_state
        tensors[f"{variant}.output"] = output.detach()
    save_file(tensors, Path(__file__).with_suffix(".safetensors"))


if __name__ == "__main__":
    main()
