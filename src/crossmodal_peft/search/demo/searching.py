"""Search a dataset with one trained method, or with two side by side."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from crossmodal_peft.config.schema import DatasetSettings
from crossmodal_peft.data.refusals import Unusable
from crossmodal_peft.search.demo import catalogue
from crossmodal_peft.search.demo.queries import NOUNS, Query, ask, refuse

K = 10
ALONE = "—"


def page() -> None:
    """The whole page: choices in the side bar, the query on top, the results below."""
    st.title("Search")
    cells = catalogue.cells()
    if cells.empty:
        st.info(
            f"There are no trained cells under `{catalogue.layout().checkpoints}` yet. Train them with "
            "`make reproduce` (the whole matrix) or `make smoke` (a small slice, in minutes), then reload."
        )
        return
    chosen = choose(cells)
    splits = {catalogue.index(cell).split for cell in chosen}
    if len(splits) > 1:
        st.error(
            f"{' and '.join(chosen)} index different splits; rebuild one with `crossmodal-peft index CELL`."
        )
        return
    query = ask(chosen[0])
    if query is None:
        return
    modalities = list(catalogue.index(chosen[0]).items)
    others = [modality for modality in modalities if modality != query.modality]
    to = str(
        st.segmented_control(
            "Find",
            modalities,
            default=(others or modalities)[-1],
            format_func=NOUNS.__getitem__,
            key=f"find for {query.modality}",
            required=True,
        )
    )
    data = catalogue.settings(chosen[0]).data
    try:
        found = [search(cell, query, to) for cell in chosen]
    except Unusable as error:  # At the size that the encoder sees.
        refuse("picture", error)
        return
    if len(found) == 1:
        draw(data, to, found[0], None, columns=3 if to == "audio" else 5)
        return
    for side, cell, mine, other in zip(st.columns(2, gap="large"), chosen, found, reversed(found)):
        with side:
            st.subheader(cell.split("/")[1])
            draw(data, to, mine, other, columns=2 if to == "audio" else 3)


def choose(cells: pd.DataFrame) -> list[str]:
    """The one or two cells to search with: dataset, methods and seed from the side bar."""
    with st.sidebar:
        dataset = st.selectbox("Dataset", cells["dataset"].unique())
        cells = cells[cells["dataset"] == dataset]
        methods = list(cells["method"].unique())
        first = st.selectbox("Method", methods, methods.index("lora") if "lora" in methods else 0)
        rest = [method for method in methods if method != first]
        second = st.selectbox(
            "Compare with", [ALONE, *rest], help="Both search for the same query, side by side."
        )
        wanted = [first] if second == ALONE else [first, second]
        seeds = [set(cells.loc[cells["method"] == method, "seed"]) for method in wanted]
        seed = st.selectbox("Seed", sorted(set.intersection(*seeds), key=int))
        names = [f"{dataset}/{method}/{seed}" for method in wanted]
        searched(names[0])
    return names


def searched(cell: str) -> None:
    """Show what a cell's index contains."""
    index = catalogue.index(cell)
    sizes = ", ".join(f"{len(items)} {NOUNS[modality]}" for modality, items in index.items.items())
    which = "all items, including the training split" if index.split == "all" else f"the {index.split} split"
    st.caption(f"Searched: {which}; {sizes}.")


def search(cell: str, query: Query, to: str) -> pd.DataFrame:
    """The K best items with a column `relevant`: whether each is, or None if that is unknown."""
    found = catalogue.index(cell).search(query.embedding(cell), to, K)
    return found.assign(relevant=None if query.labels is None else found["labels"].map(query.shares))


def draw(
    data: Mapping[str, DatasetSettings],
    to: str,
    found: pd.DataFrame,
    other: pd.DataFrame | None,
    columns: int,
) -> None:
    """Draw a card per item found, best first; `other`: what the other method found."""
    if found["relevant"].isna().any():
        st.caption("Relevance is known only for queries from the dataset.")
    else:
        st.caption(
            f"{found['relevant'].sum()} of the first {len(found)} are relevant (same caption or label)."
        )
    cards: list[Any] = list(found.itertuples())
    for start in range(0, len(cards), columns):
        for place, card in zip(st.columns(columns), cards[start : start + columns]):
            with place.container(border=True):
                st.markdown(f"**{card.rank}** · {card.score:.3f}{marks(card, other)}")
                catalogue.show(data[card.dataset], to, card.source, card.caption)


def marks(card: Any, other: pd.DataFrame | None) -> str:
    """Badges of a card: relevant, found only by this method, or ranks above or below the other method's."""
    relevant = " :green-badge[relevant]" if card.relevant else ""
    if other is None:
        return relevant
    there = other.loc[other["source"] == card.source, "rank"]
    if there.empty:
        return f"{relevant} :orange-badge[only here]"
    higher = int(there.iloc[0]) - card.rank
    if higher == 0:
        return relevant
    return f"{relevant} :gray-badge[{'▲' if higher > 0 else '▼'} {abs(higher)}]"
