"""Any method of the peft library that acts on linear layers: its type and its own keywords."""

from typing import Any, Literal

from pydantic import Field

from crossmodal_peft.schema import MethodSettings

Role = Literal["query", "key", "value", "attention_output", "feed_forward_in", "feed_forward_out"]


class Settings(MethodSettings):
    """`options` are the keywords of the peft configuration class, for example LoraConfig's `r`."""

    kind: Literal["peft_library"]
    type: str = Field(description="Name in peft.PeftType, for example LORA.")
    target: list[Role] = Field(["query", "value"], description="Linear layers that it acts on.", min_length=1)
    options: dict[str, Any] = Field({}, description="Keywords of the method's configuration class in peft.")


def attach(encoder: Any, layers: range, settings: Settings) -> None:
    """Let peft insert its modules into the encoder, in place.

    Raises ValueError if peft does not know the type, or the type does not know a keyword.
    """
    from peft import inject_adapter_in_model
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    types = {str(key.value): config for key, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    if settings.type not in types:
        raise ValueError(f"peft has no type {settings.type!r}; it has: {', '.join(sorted(types))}")
    unknown = sorted(set(settings.options) - set(types[settings.type].__dataclass_fields__))
    if unknown:
        raise ValueError(f"{settings.type} of peft has no option {', '.join(unknown)}")
    targets = encoder.names_of(settings.target, layers)
    options: dict[str, Any] = {"target_modules": targets, **settings.options}
    inject_adapter_in_model(types[settings.type](**options), encoder.model)
