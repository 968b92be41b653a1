"""One plot of the aggregated results."""

from crossmodal_peft.config import plugins
from crossmodal_peft.config.paths import Layout


def write_plot(name: str, layout: Layout) -> None:
    """Render one plot from the aggregated results."""
    from crossmodal_peft.report import render
    from crossmodal_peft.report.aggregate import read_aggregated

    module = plugins.module("plots", name)
    drawn = module.plot(**read_aggregated(module.INPUTS, layout.results))
    render.write_figure(drawn, layout.results / "plots" / name)
