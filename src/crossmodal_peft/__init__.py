"""Parameter-efficient fine-tuning methods compared for cross-modal retrieval.

`load` opens a trained model: a folder that `crossmodal-peft export` wrote, or that of a trained cell.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossmodal_peft.inference.model import Model as Model
    from crossmodal_peft.inference.opening import load as load

    __version__: str

__all__ = ["Model", "__version__", "load"]
# Loaded when first used: torch and transformers take seconds.
PLACES = {"load": "crossmodal_peft.inference.opening", "Model": "crossmodal_peft.inference.model"}


def __getattr__(name: str) -> Any:
    """The names above, from where they are."""
    if name == "__version__":
        return import_module("importlib.metadata").version("crossmodal-peft")
    if name in PLACES:
        return getattr(import_module(PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
