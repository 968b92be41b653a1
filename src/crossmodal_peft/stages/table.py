"""One table of the aggregated results."""

from crossmodal_peft.config import plugins
from crossmodal_peft.config.paths import Layout


def write_table(name: str, layout: Layout) -> None:
    """Render one table from the aggregated results."""
    from crossmodal_peft.report import render
    from crossmodal_peft.report.aggregate import read_aggregated

    module = plugins.module("tables", name)
    drawn = module.table(**read_aggregated(module.INPUTS, layout.results))
    render.write_table(drawn, layout.results / "tables" / name)
