"""Parameter counts of every method at another scale, without weights."""

from crossmodal_peft.config.paths import Layout
from crossmodal_peft.config.schema import MethodSettings, Modality
from crossmodal_peft.config.settings import EncoderSettings
from crossmodal_peft.files import atomic_write


def count_parameters(
    methods: dict[str, MethodSettings],
    encoders: dict[Modality, EncoderSettings],
    width: int,
    scalars: int,
    layout: Layout,
) -> None:
    """Count every method's parameters on `encoders`, including projections and the scalars of the loss.

    Raises ValueError if an option of a method changes nothing.
    """
    from crossmodal_peft.models.budget import count_on_meta
    from crossmodal_peft.models.trial import check_options

    for name, tuning in methods.items():
        check_options(name, tuning)
    table = count_on_meta(methods, encoders, width, scalars)
    with atomic_write(layout.results / "paper_scale.csv") as path:
        table.to_csv(path, index=False)
